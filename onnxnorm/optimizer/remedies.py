"""Tries remedies on copies of a model, so that what is offered is known to help."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.io.model_source import ModelSource
from onnxnorm.journal import Remedy
from onnxnorm.model.walk import nodes_with_paths
from onnxnorm.optimizer.accounted import accounted
from onnxnorm.optimizer.fixed_shapes import fix_shapes
from onnxnorm.optimizer.records import Fate, NormRecord

__all__ = ["LEAST_SECONDS", "with_tried_remedies"]

LEAST_SECONDS = 1.0
"""The time that trying may take for any model, however small."""

_STAYS = frozenset({Fate.LEFT, Fate.PARTLY, Fate.NEW})


def with_tried_remedies(
    source: ModelSource,
    records: Iterable[NormRecord],
    options: Mapping[str, Any],
    *,
    took: float = 0.0,
    seconds: float = float("inf"),
) -> tuple[NormRecord, ...]:
    """Return the records, with those remedies tried that `optimize` can carry out or that leave an output out.

    One that does not do by itself is not offered any more: it has no options and names no output. Those for which the
    time does not suffice stay untried; remedies for many normalizations are tried first.

    Args:
        source: the model that the records are of.
        records: what became of its normalizations.
        options: the options of `accounted` with which it was optimized, and `fix_shapes`.
        took: how many seconds of the processor's time that took, which is what each try is expected to take.
        seconds: how many seconds of it all tries together may take, or `LEAST_SECONDS` where that is more.
    """
    told = tuple(records)
    counts = Counter(each.remedy for each in told if each.remedy is not None and each.remedy.is_definite)
    gone: dict[Remedy, frozenset[str]] = {}
    begun, longest, room = time.process_time(), took, max(seconds, LEAST_SECONDS)
    for remedy, _ in counts.most_common():
        now = time.process_time()
        if now - begun + longest > room:
            break
        gone[remedy] = _gone_by(remedy, source, options, told)
        longest = max(longest, time.process_time() - now)
    return tuple(
        record
        if record.remedy is None or record.remedy not in gone
        else replace(record, remedy=_judged(record.remedy, record.where in gone[record.remedy]))
        for record in told
    )


def _judged(remedy: Remedy, helps: bool) -> Remedy:
    return replace(remedy, tried=True) if helps else Remedy(remedy.text, tried=False)


def _gone_by(
    remedy: Remedy, source: ModelSource, options: Mapping[str, Any], before: Sequence[NormRecord]
) -> frozenset[str]:
    """Return those of the normalizations that are not left once the remedy is applied; none where it cannot be."""
    work, chosen = source.graph(), {**options}
    shapes: dict[str, Sequence[int | str]] = dict(chosen.pop("fix_shapes", None) or {})
    words = list(remedy.options)
    while words:
        word = words.pop(0)
        if word == "--freeze-inputs":
            chosen["freeze_inputs"] = True
        elif word == "--opset":
            chosen["opset"] = int(words.pop(0))
        elif word == "--max-growth":
            chosen["max_growth"] = float(words.pop(0))
        elif word == "--fix-shape":
            name, _, dims = words.pop(0).rpartition(":")
            shapes[name] = tuple(int(dim) if dim.isdecimal() else dim for dim in dims.split(","))
    try:
        if shapes:
            fix_shapes(work, shapes, source.name)
        if remedy.output:
            _leave_out(work.graph, remedy.output)
        result, records = accounted(work, **chosen)
    except OnnxNormError:
        return frozenset()
    stays = {record.where for record in records if record.fate in _STAYS}
    known = {record.where for record in records}
    there = {node.name for node, _ in nodes_with_paths(result.ir_model)}
    return frozenset(
        each.where for each in before if each.where not in stays and (each.where in known or _is_gone(each, there))
    )


def _is_gone(record: NormRecord, there: Container[str | None]) -> bool:
    """Whether a normalization without a record is gone: a new node, or one of those that spell one.

    What becomes one node may have the name of another of the nodes that spelled it.
    """
    spelled = not (record.node_before or record.node_after)
    return record.fate is Fate.NEW or (spelled and record.node not in there)


def _leave_out(graph: ir.Graph, name: str) -> None:
    if len(graph.outputs) > 1:
        graph.outputs[:] = [value for value in graph.outputs if value.name != name]
