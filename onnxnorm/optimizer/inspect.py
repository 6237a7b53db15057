"""Lists every normalization of a model: which, where, of what shape, and what optimizing makes of it."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxnorm.graph.normalizations import KINDS, kind_of
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.io.load_and_save import load
from onnxnorm.journal import Effect
from onnxnorm.journal.reasons import Code, Cost, Remedy
from onnxnorm.model.source import ModelLike, name_of
from onnxnorm.optimizer.optimize import OptimizeResult, transform
from onnxnorm.passes import Decline, Rewrite
from onnxnorm.process.gc_pause import collector_paused

__all__ = ["Fate", "NormRecord", "account", "examine", "inspect"]


class Fate(str, enum.Enum):
    """The fate of a normalization when the model is optimized."""

    ABSORBED = "absorbed"
    """The node disappears: its constants go into those of its neighbours, or it does nothing."""
    MERGED = "merged"
    """The node disappears together with a parallel branch that merges with others."""
    RAISED = "raised"
    """The nodes that spell it become the one node that stands for it."""
    LEFT = "left"
    """The node stays, as it is or in a faster form, for the reason that the record gives."""


_FATES = {
    Effect.GONE: Fate.ABSORBED,
    Effect.MERGED: Fate.MERGED,
    Effect.RAISED: Fate.RAISED,
    Effect.REFORMED: Fate.LEFT,
}


@dataclass(frozen=True)
class NormRecord:
    """The record of one normalization of a model.

    Attributes:
        kind: the normalization by its name in the field, such as "BatchNormalization" or "LRN (inter-channel)".
        node: the node's name; where it has none its operator and its place in the graph, such as "LRN_3"; where other
            nodes bear the same name `#2`, `#3` and so on stand behind it.
        shape: of the tensor it normalizes: an integer, a symbolic dimension's name, or None where unknown, for each
            axis; None where not even the rank is known.
        fate: what `optimize` makes of it.
        reason: where it was absorbed, and through what; or why it is left.
        op_type: the operator.
        domain: the operator's domain, "" for ONNX's own.
        path: where the graph that holds it stands: empty for the main graph, otherwise the nodes and attributes (or
            the function) down to it, such as "if_3/then_branch".
        code: the stable code of the reason why it is left, which a page of docs/reasons/ explains; None where it is
            not left.
        blocker, blocker_op_type: the name of the node that is in the way, and its operator; "" where none is.
        value: the name of the value at which it is in the way; "" where none is.
        readers: who else reads that value: the names of nodes, `graph output` for the caller.
        remedy: what makes the reason go away; None where it is not left.
        cost: the figures, where cost decided.
        bound: what is known of how many must stay, as a sentence; "" where nothing is.
    """

    kind: str
    node: str
    shape: tuple[int | str | None, ...] | None
    fate: Fate
    reason: str
    op_type: str
    domain: str
    path: str
    code: Code | None = None
    blocker: str = ""
    blocker_op_type: str = ""
    value: str = ""
    readers: tuple[str, ...] = ()
    remedy: Remedy | None = None
    cost: Cost | None = None
    bound: str = ""

    @property
    def where(self) -> str:
        """The path and the node in one text."""
        return f"{self.path}/{self.node}" if self.path else self.node


_OWN_DOMAIN = "onnxnorm"


@dataclass(frozen=True)
class _Found:
    """A normalization as it is before anything changes."""

    node: ir.Node
    kind: str
    path: str
    op_type: str
    domain: str
    shape: tuple[int | str | None, ...] | None


def inspect(model: ModelLike) -> tuple[NormRecord, ...]:
    """Find every normalization of a model and what `optimize` makes of it, which is tried on a copy.

    Args:
        model: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one; never changed.

    Returns:
        A record for each normalization node of the main graph, its subgraphs and the model-local functions (the
        portable bodies of this project's own operators aside), in the order of the graph; then one for each
        normalization that is spelled out in other operators and recognized.

    Raises:
        OnnxNormError: the model cannot be read.
    """
    return examine(model)[1]


def examine(model: ModelLike) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
    """Optimize a copy of the model; return the result and the records of `inspect`."""
    name = name_of(model)
    return account(load(model), lambda loaded: transform(loaded, name=name))


@collector_paused
def account(
    model: ir.Model, transform: Callable[[ir.Model], OptimizeResult]
) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
    """Run `optimize`, or a variant of it, and tell what became of every normalization.

    Args:
        model: as `load` returns it; its shapes are inferred in place.
        transform: is given the model, which it may change.

    Returns:
        the result of `transform`, and the records as `inspect` returns them.
    """
    infer_shapes(model)
    found = tuple(_normalizations(model))
    renamed = _name_apart(model, found)
    names = [entry.node.name or "" for entry in found]
    result = transform(model)
    after = result.ir_model
    rewrites = _by_node(result.rewrites)
    declined = {decline.node: decline for decline in result.declined}
    written_out = {decline.node: decline for decline in result.declined if decline.kind is not None}
    becomes = {entry.node.name: entry for entry in _normalizations(after)}
    remaining = {node.name: node.op_type for node, _ in _nodes(after)}
    records = []
    for entry, name in zip(found, names, strict=True):
        record = _record(entry, name, rewrites.get(name, ()), declined, remaining.get(name))
        # Part of one that has another name as a whole, such as the InstanceNormalization inside a GroupNorm.
        whole = written_out.pop(name, None)
        if whole is not None and record.fate is Fate.LEFT:
            record = replace(record, kind=whole.kind or record.kind, shape=whole.shape)
        new = becomes.get(name)
        if record.fate is Fate.RAISED and new is not None:
            record = replace(record, kind=new.kind, op_type=new.op_type, domain=new.domain, shape=new.shape)
        records.append(record)
    known = set(names)
    for entry in _normalizations(after):
        name = entry.node.name or ""
        raised = [rewrite for rewrite in rewrites.get(name, ()) if _fate_of(rewrite) is Fate.RAISED]
        if name not in known and raised:
            records.append(_record(entry, name, raised, declined, entry.op_type))
    records += _raised_and_gone(rewrites, known, remaining)
    records += [_written_out(decline) for name, decline in written_out.items() if name in remaining]
    for node in (*(entry.node for entry in found), *(node for node, _ in _nodes(after))):
        if node.name in renamed:
            node.name = renamed[node.name]
    return result, tuple(records)


def _raised_and_gone(
    rewrites: Mapping[str, Sequence[Rewrite]], known: Container[str], remaining: Container[str | None]
) -> Iterator[NormRecord]:
    """Yield a record of each normalization that was written out, became one node and was then folded or made faster."""
    for name, steps in rewrites.items():
        kind = KINDS.get(("", steps[0].op_type))
        if _fate_of(steps[0]) is Fate.RAISED and kind is not None and name not in known and name not in remaining:
            reason = "; ".join(step.detail for step in steps)
            # Written out again, in a faster form, it is still there.
            fate = Fate.RAISED if _fate_of(steps[-1]) is Fate.LEFT else Fate.ABSORBED
            yield NormRecord(kind, name, None, fate, reason, steps[0].op_type, "", "")


def _with_evidence(record: NormRecord, decline: Decline | None) -> NormRecord:
    """Return the record with what the decline says of the reason beside its sentence."""
    if decline is None:
        return record
    return replace(
        record,
        code=decline.code,
        blocker=decline.blocker,
        blocker_op_type=decline.blocker_op_type,
        value=decline.value,
        readers=decline.readers,
        remedy=decline.remedy,
        cost=decline.cost,
        bound=decline.bound,
    )


def _written_out(decline: Decline) -> NormRecord:
    record = NormRecord(
        kind=decline.kind or "",
        node=decline.node,
        shape=decline.shape,
        fate=Fate.LEFT,
        reason=decline.reason,
        op_type=decline.op_type,
        domain="",
        path="",
    )
    return _with_evidence(record, decline)


def _nodes(model: ir.Model) -> Iterator[tuple[ir.Node, str]]:
    """Yield every node with the path of its graph, in the order of the graphs."""
    yield from _nodes_below(model.graph, "")
    for function in model.functions.values():
        if function.domain != _OWN_DOMAIN:
            yield from _nodes_below(function.graph, f"{function.domain}::{function.name}")


def _nodes_below(graph: ir.Graph, path: str) -> Iterator[tuple[ir.Node, str]]:
    for node in graph:
        yield node, path
        prefix = f"{path}/" if path else ""
        for attribute in node.attributes.values():
            if attribute.is_ref():
                continue
            below = f"{prefix}{node.name}/{attribute.name}"
            if attribute.type is ir.AttributeType.GRAPH:
                yield from _nodes_below(attribute.as_graph(), below)
            elif attribute.type is ir.AttributeType.GRAPHS:
                for index, subgraph in enumerate(attribute.as_graphs()):
                    yield from _nodes_below(subgraph, f"{below}[{index}]")


def _normalizations(model: ir.Model) -> Iterator[_Found]:
    for node, path in _nodes(model):
        kind = kind_of(node)
        if kind is not None:
            shape = _shape_of(node.inputs[0] if node.inputs else None)
            yield _Found(node, kind, path, node.op_type, node.domain, shape)


def _name_apart(model: ir.Model, found: Iterable[_Found]) -> dict[str, str]:
    """Give every normalization a name that no other node has, as the account of the passes goes by names.

    Return the names given in place of others, with those others.
    """
    renamed = {}
    uses = Counter(node.name for node, _ in _nodes(model))
    for entry in found:
        name = wanted = entry.node.name or entry.node.op_type
        number = 1
        while uses[wanted] > (wanted == entry.node.name):
            number += 1
            wanted = f"{name}#{number}"
        if wanted != entry.node.name:
            renamed[wanted] = entry.node.name or ""
            uses[wanted] += 1
            entry.node.name = wanted
    return renamed


def _by_node(rewrites: Iterable[Rewrite]) -> dict[str, list[Rewrite]]:
    groups: dict[str, list[Rewrite]] = {}
    for rewrite in rewrites:
        groups.setdefault(rewrite.node, []).append(rewrite)
    return groups


def _fate_of(rewrite: Rewrite) -> Fate:
    return _FATES[rewrite.effect]


def _record(
    entry: _Found, name: str, rewrites: Sequence[Rewrite], declined: Mapping[str, Decline], remains_as: str | None
) -> NormRecord:
    fate = _fate_of(rewrites[-1]) if rewrites else Fate.ABSORBED
    reason = "; ".join(rewrite.detail for rewrite in rewrites) or "nothing reads its result"
    if remains_as is not None and fate is not Fate.RAISED:
        fate = Fate.LEFT
        changed = f"is left as {remains_as}, since a neighbour was moved into it"
        unchanged = "no pass that looks at it was run"
        otherwise = "" if rewrites else changed if remains_as != entry.op_type else unchanged
        left = declined[name].reason if name in declined else otherwise
        # Where a part of it went is told too: a cheaper node may be all that is left.
        reason = "; ".join(text for text in (reason if rewrites else "", left) if text)
    record = NormRecord(
        kind=entry.kind,
        node=name,
        shape=entry.shape,
        fate=fate,
        reason=reason,
        op_type=entry.op_type,
        domain=entry.domain,
        path=entry.path,
    )
    return _with_evidence(record, declined.get(name) if fate is Fate.LEFT else None)


def _shape_of(value: ir.Value | None) -> tuple[int | str | None, ...] | None:
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
