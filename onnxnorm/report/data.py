"""The facts of a report as plain data: what the page shows, what the summary tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.journal import Rewrite
from onnxnorm.optimizer.records import Account, Fate, NormRecord
from onnxnorm.report.algebra import algebra_of, formula_of
from onnxnorm.report.costs import costs_of, opened, operators
from onnxnorm.report.picture import Block, Picture, picture_of
from onnxnorm.report.places import Norm, norms_of
from onnxnorm.report.ranges import ranges
from onnxnorm.report.texts import number, operator, shown

if TYPE_CHECKING:
    from onnxnorm.verification.layers import LayerError
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["Subject", "data_of"]

_FATES = tuple(Fate)
# Weights of more bytes than this are not looked through.
_MANY_BYTES = 1_500_000_000
_LONGEST_REASON = 600
# So many normalizations are put in numbers, and so many values have their errors drawn.
_ALGEBRAS = 4000
_MOST_LAYERS = 4000


@dataclass(frozen=True)
class Subject:
    """Two models and all that is known of the way from the one to the other.

    Attributes:
        name, name_after: what the page calls them.
        before, after: the models, with their shapes inferred.
        records: what `inspect` tells of each normalization.
        rewrites, notes: as in an `OptimizeResult`.
        verification: the verdict, or None where nothing was compared.
        layers: errors along the depth, in the order of the graph.
        latency: milliseconds of a run before and after, or None where they were not measured.
    """

    name: str
    name_after: str
    before: ir.Model
    after: ir.Model
    records: Sequence[NormRecord]
    rewrites: Sequence[Rewrite] = ()
    notes: Sequence[str] = ()
    verification: VerifyReport | None = None
    layers: Sequence[LayerError] = field(default=())
    latency: tuple[float, float] | None = None


class _Texts:
    """A table of texts, each once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def __call__(self, text: str | None) -> int:
        return -1 if text is None else self._places.setdefault(text, len(self._places))

    def listed(self) -> list[str]:
        return list(self._places)


def data_of(subject: Subject) -> dict[str, Any]:
    """Return all that the page shows, in types that JSON has; every text of the models is cut and cleaned."""
    facts, facts_after = Facts(subject.before), Facts(subject.after)
    picture = picture_of(
        subject.before.graph,
        subject.after.graph,
        lambda value: (facts if value.graph is subject.before.graph else facts_after).is_constant(value),
    )
    norms = norms_of(subject.records, subject.rewrites, picture)
    running = [opened(model) for model in (subject.before, subject.after)]
    costs = [
        costs_of(model, known if model is known_of else Facts(model))
        for model, known_of, known in zip(running, (subject.before, subject.after), (facts, facts_after), strict=True)
    ]
    notes = [shown(note, _LONGEST_REASON) for note in subject.notes]
    with_numbers = max(cost["bytes"] for cost in costs) <= _MANY_BYTES
    spread: dict[str, Any] = {"count": [0, 0], "poor": [0, 0], "weights": []}
    if with_numbers:
        spread = ranges(picture, subject.before.graph, subject.after.graph, facts, facts_after)
    else:
        notes.append("Weights of this size are not looked through: their ranges and values are left out.")
    texts = _Texts()
    account = Account.of(subject.records)
    return {
        "version": _version(),
        "before": shown(subject.name),
        "after": shown(subject.name_after),
        "fates": [fate.value for fate in _FATES],
        "account": [account.before, account.after],
        "nodes": _nodes(picture, norms, facts, facts_after, texts),
        "edges": [each for edge in picture.edges for each in edge],
        "blocks": [_block(block) for block in picture.blocks],
        "texts": texts.listed(),
        "norms": [
            _norm(norm, picture, facts, facts_after, with_numbers and place < _ALGEBRAS)
            for place, norm in enumerate(norms)
        ],
        "operators": operators(*running),
        "costs": costs,
        "ranges": spread,
        "layers": [
            [shown(each.value), number(each.error_original), number(each.error_result), number(each.size)]
            for each in subject.layers[:_MOST_LAYERS]
        ],
        "latency": None if subject.latency is None else {"median": [number(each) for each in subject.latency]},
        "verification": _verification(subject.verification),
        "notes": notes,
    }


def _version() -> str:
    from onnxnorm.runtime.doctor import own_version

    return str(own_version())


def _block(block: Block) -> list[Any]:
    return [block.start, block.end, [_block(part) for part in block.parts]]


def _nodes(picture: Picture, norms: Sequence[Norm], facts: Facts, facts_after: Facts, texts: _Texts) -> list[list[Any]]:
    fates = {norm.node: _FATES.index(norm.record.fate) for norm in reversed(norms) if norm.node is not None}
    entries = []
    for index in range(len(picture)):
        old, new = picture.before[index], picture.after[index]
        entries.append(
            [
                shown(picture.node(index).name, 120),
                -1 if old is None else texts(operator(old.op_type, old.domain)),
                -1 if new is None else texts(operator(new.op_type, new.domain)),
                fates.get(index, -1),
                int(old is not None and new is not None and _changed(old, new)),
                -1 if old is None else texts(_shape(old, facts)),
                -1 if new is None else texts(_shape(new, facts_after)),
            ]
        )
    return entries


def _changed(old: ir.Node, new: ir.Node) -> bool:
    """Whether a constant of the node, or its operator, is another than before."""
    if old.op_type != new.op_type or len(old.inputs) != len(new.inputs):
        return True
    return any(_differ(a, b) for a, b in zip(old.inputs, new.inputs, strict=True))


def _differ(a: ir.Value | None, b: ir.Value | None) -> bool:
    first = None if a is None else a.const_value
    second = None if b is None else b.const_value
    if first is None or second is None or first is second:
        return False
    if first.dtype != second.dtype or first.size != second.size:
        return True
    # A fold touches every channel: the beginning tells.
    if first.size > 1 << 22:
        return a is not None and b is not None and a.name != b.name
    return not np.array_equal(first.numpy().reshape(-1)[:4096], second.numpy().reshape(-1)[:4096])


def _shape(node: ir.Node, facts: Facts) -> str | None:
    shape = facts.shape(node.outputs[0]) if node.outputs else None
    return None if shape is None else shape_text(shape)


def _read_shape(node: ir.Node, facts: Facts) -> Sequence[int | str | None] | None:
    return facts.shape(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None


def shape_text(shape: Sequence[int | str | None] | None) -> str:
    """Return a shape as people write it, with question marks for what is not known."""
    if shape is None:
        return "?"
    return " \u00d7 ".join("?" if dim is None else shown(str(dim), 30) for dim in shape) or "scalar"


def _norm(norm: Norm, picture: Picture, facts: Facts, facts_after: Facts, with_numbers: bool) -> dict[str, Any]:
    record = norm.record
    node = picture.before[norm.node] if norm.node is not None and not record.path else None
    place = -1 if norm.node is None else norm.node
    taker = next(((each, picture.before[each]) for each in norm.takers if picture.before[each] is not None), None)
    algebra = None
    if node is not None and with_numbers:
        pair = None if taker is None or taker[1] is None else (taker[1], picture.after[taker[0]])
        algebra = algebra_of(node, facts, pair, facts_after, upstream=taker is not None and taker[0] < place)
    after = picture.after[norm.node] if norm.node is not None and not record.path else None
    told = node if node is not None and formula_of(node) and node.op_type == record.op_type else after
    return {
        "node": norm.node,
        "where": shown(record.where),
        "kind": shown(record.kind, 60),
        "shape": shape_text(record.shape if record.shape is not None or node is None else _read_shape(node, facts)),
        "fate": _FATES.index(norm.record.fate),
        "reason": shown(record.reason, _LONGEST_REASON),
        "formula": "" if told is None or told.op_type != record.op_type else formula_of(told),
        "takers": list(norm.takers),
        "path": list(norm.path),
        "blocker": norm.blocker,
        **_told(record),
        "algebra": algebra,
    }


def _told(record: NormRecord) -> dict[str, Any]:
    """Return what stands in the way of a normalization, and what can be done about it."""
    return {
        "code": "" if record.code is None else record.code.value,
        "remedy": "" if record.remedy is None else shown(str(record.remedy), _LONGEST_REASON),
        "label": "" if record.remedy is None else record.remedy.label,
        "bound": shown(record.bound, _LONGEST_REASON),
        "readers": [shown(reader) for reader in record.readers[:20]],
        "cost": None if record.cost is None else [record.cost.saves, record.cost.pays],
    }


def _verification(report: VerifyReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    outputs = [
        {
            "name": shown(output.name),
            "passed": output.passed,
            "error_original": number(output.error_original),
            "error_result": number(output.error_result),
            "excess": number(output.excess),
            "optimizations": output.optimizations,
        }
        for output in report.outputs[:500]
    ]
    notes = [shown(note, _LONGEST_REASON) for note in (*report.notes, *report.unreached)]
    return {"passed": report.passed, "text": shown(str(report), _LONGEST_REASON), "outputs": outputs, "notes": notes}
