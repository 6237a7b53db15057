"""Tells what became of every normalization of a model that is optimized, so that the records add up to the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxnorm.graph.normalizations import KINDS, kind_of
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.journal import Decline, Effect, Rewrite
from onnxnorm.journal.words import Words, joined, say
from onnxnorm.model.domains import CUSTOM_DOMAIN
from onnxnorm.model.names import fresh_name
from onnxnorm.model.walk import nodes_with_paths
from onnxnorm.optimizer.records import Fate, NormRecord
from onnxnorm.process.gc_pause import collector_paused

if TYPE_CHECKING:
    from onnxnorm.optimizer.result import OptimizeResult

__all__ = ["account"]


@dataclass(frozen=True)
class _Found:
    """A normalization as it is before anything changes."""

    node: ir.Node
    kind: str
    path: str
    op_type: str
    domain: str
    value: ir.Value | None

    @property
    def shape(self) -> tuple[int | str | None, ...] | None:
        """The shape of the tensor that it normalizes, as it is known by now."""
        return _shape_of(self.value)


@collector_paused
def account(
    model: ir.Model, transform: Callable[[ir.Model], OptimizeResult], *, told_shapes: bool = False
) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
    """Run `optimize`, or a variant of it, and tell what became of every normalization.

    Args:
        model: as `load` returns it.
        transform: is given the model, which it may change.
        told_shapes: take the shapes that the model states and those that `transform` finds; otherwise they are inferred
            first, in place.

    Returns:
        the result of `transform`, and the records as `inspect` returns them.
    """
    if not told_shapes:
        infer_shapes(model)
    found = tuple(_normalizations(model))
    renamed = _name_apart(model, found)
    names = {entry.node: entry.node.name or "" for entry in found}
    result = transform(model)
    after = result.ir_model
    books = _Books(result, after)
    records = []
    for entry in found:
        for name in result.copies.get(names[entry.node], (names[entry.node],)):
            records.append(books.record(entry, name))
    records += books.come()
    records += books.raised_and_gone({record.node for record in records})
    records += books.written_out()
    _name_back(renamed, found, after)
    return result, tuple(records)


class _Books:
    """The books of a result: rewrites and declines by the node, and the nodes that are there in the end."""

    def __init__(self, result: OptimizeResult, after: ir.Model) -> None:
        self._rewrites = _by_node(result.rewrites)
        self._declined = {decline.node: decline for decline in result.declined}
        self._written_out = {decline.node: decline for decline in result.declined if decline.kind is not None}
        self._standing: dict[str, list[_Found]] = {}
        for entry in _normalizations(after):
            self._standing.setdefault(entry.node.name or "", []).append(entry)
        self._remaining = {node.name: node.op_type for node, _ in nodes_with_paths(after)}

    def record(self, entry: _Found, name: str) -> NormRecord:
        """Make the record of a node of the original."""
        rewrites = self._rewrites.get(name, ())
        same = self._standing.get(name)
        new = same.pop(0) if same else None
        fate = self._fate(entry, name, rewrites, new)
        reason = _told(rewrites) or "nothing reads its result"
        decline = self._declined.get(name) if new is not None else None
        if fate is Fate.LEFT:
            # Where a part of it went is told too: a cheaper node may be all that is left.
            left = "" if rewrites else "no pass that looks at it was run"
            if decline is not None:
                left = decline.reason
            reason = joined("; ", (text for text in (reason if rewrites else "", left) if text))
        elif fate is Fate.PARTLY and not rewrites:
            reason = f"is left as {self._remaining.get(name)}, since a neighbour was moved into it"
        record = _record(entry, name, fate, reason, is_there=new is not None)
        if new is not None and fate is not Fate.LEFT:
            record = replace(record, kind=new.kind, op_type=new.op_type, domain=new.domain, shape=new.shape)
        if fate is Fate.PARTLY and rewrites:
            last = rewrites[-1]
            record = replace(record, code=last.code, blocker=last.blocker, remedy=last.remedy, bound=last.bound)
        if fate is Fate.LEFT:
            record = _with_evidence(record, decline)
            # Part of one that has another name as a whole, such as the InstanceNormalization inside a GroupNorm.
            whole = self._written_out.pop(name, None)
            if whole is not None:
                record = replace(record, kind=whole.kind or record.kind, shape=whole.shape)
        return record

    def _fate(self, entry: _Found, name: str, rewrites: Sequence[Rewrite], new: _Found | None) -> Fate:
        effects = [rewrite.effect for rewrite in rewrites]
        if new is not None:
            if Effect.RAISED in effects:
                return Fate.RECOGNIZED
            # A LayerNormalization that was written out has left its name to no node that normalizes.
            return Fate.ACCELERATED if new.op_type != entry.op_type and Effect.REFORMED in effects else Fate.LEFT
        if Effect.REFORMED in effects:
            return Fate.WRITTEN_OUT
        if name in self._remaining or (effects and effects[-1] is Effect.PARTLY):
            return Fate.PARTLY
        return Fate.MERGED if effects and effects[-1] is Effect.MERGED else Fate.ABSORBED

    def come(self) -> Iterator[NormRecord]:
        """Yield a record of each node of the result that was none of the original."""
        for name, entries in self._standing.items():
            steps = self._rewrites.get(name, ())
            raised = any(step.effect is Effect.RAISED for step in steps)
            for entry in entries:
                if raised:
                    reason: str = _told(steps)
                    record = _record(entry, name, Fate.RECOGNIZED, reason, is_there=True)
                else:
                    decline = self._declined.get(name)
                    reason = "holds what is left of others that were moved"
                    if decline is not None:
                        reason = say("{}; {}", reason, decline.reason)
                    record = _with_evidence(_record(entry, name, Fate.NEW, reason, is_there=True), decline)
                yield replace(record, node_before=False)
            entries.clear()

    def raised_and_gone(self, known: Container[str]) -> Iterator[NormRecord]:
        """Yield a record of each normalization that was written out, became one node and is none in the result."""
        for name, steps in self._rewrites.items():
            kind = KINDS.get(("", steps[0].op_type)) or KINDS.get((CUSTOM_DOMAIN, steps[0].op_type))
            if steps[0].effect is not Effect.RAISED or kind is None or name in known:
                continue
            reason = _told(steps)
            fate = Fate.ABSORBED
            if steps[-1].effect is Effect.REFORMED:
                # Written out again, in a faster form, it is still there.
                fate = Fate.WRITTEN_OUT
            elif name in self._remaining or steps[-1].effect is Effect.PARTLY:
                fate = Fate.PARTLY
            elif steps[-1].effect is Effect.MERGED:
                fate = Fate.MERGED
            yield NormRecord(
                kind, name, None, fate, reason, steps[0].op_type, "", "", node_before=False, node_after=False
            )

    def written_out(self) -> Iterator[NormRecord]:
        """Yield a record of each normalization that is written out, and left so."""
        for name, decline in self._written_out.items():
            if name in self._remaining:
                yield _written_out(decline)


def _told(steps: Sequence[Rewrite]) -> Words:
    """Tell what was done; where a part was left that a later step took up, why it was left is told no more."""
    first = max((number for number, step in enumerate(steps[:-1], 1) if step.effect is Effect.PARTLY), default=0)
    told = joined("; ", (step.detail for step in steps[first:]))
    return say("in {} steps, the last of them: {}", str(len(steps)), told) if first else told


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
        node_before=False,
        node_after=False,
    )
    return _with_evidence(record, decline)


def _normalizations(model: ir.Model) -> Iterator[_Found]:
    opset = model.opset_imports.get("")
    for node, path in nodes_with_paths(model):
        kind = kind_of(node, opset)
        if kind is not None:
            yield _Found(node, kind, path, node.op_type, node.domain, node.inputs[0] if node.inputs else None)


def _name_apart(model: ir.Model, found: Iterable[_Found]) -> dict[str, str]:
    """Give every normalization a name that no other node has, as the account of the passes goes by names.

    Return the names given in place of others, with those others.
    """
    renamed = {}
    uses = Counter(node.name for node, _ in nodes_with_paths(model))
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


def _name_back(renamed: Mapping[str, str], found: Iterable[_Found], after: ir.Model) -> None:
    """Give nodes the names that they had, and where several of the result had one, names much like it."""
    nodes = [node for node, _ in nodes_with_paths(after)]
    taken = {node.name for node in nodes if node.name and node.name not in renamed}
    for node in nodes:
        if (name := renamed.get(node.name or "")) is not None:
            node.name = fresh_name(name or node.op_type, taken)
    for entry in found:
        if (name := renamed.get(entry.node.name or "")) is not None:
            entry.node.name = name


def _by_node(rewrites: Iterable[Rewrite]) -> dict[str, list[Rewrite]]:
    groups: dict[str, list[Rewrite]] = {}
    for rewrite in rewrites:
        groups.setdefault(rewrite.node, []).append(rewrite)
    return groups


def _record(entry: _Found, name: str, fate: Fate, reason: str, *, is_there: bool) -> NormRecord:
    return NormRecord(
        kind=entry.kind,
        node=name,
        shape=entry.shape,
        fate=fate,
        reason=reason,
        op_type=entry.op_type,
        domain=entry.domain,
        path=entry.path,
        node_after=is_there,
    )


def _shape_of(value: ir.Value | None) -> tuple[int | str | None, ...] | None:
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
