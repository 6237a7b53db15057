"""Gathers the evidence for a refusal: who else reads the value, what would help, and the figures of cost."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.affine.refusals import operator_of
from onnxnorm.affine.region import Refusal
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import ADVICE, Code, Cost, Evidence, Remedy
from onnxnorm.model.dtypes import FLOATS

__all__ = ["evidence_of", "remedy_for"]

# By rank extents that stand for those that only the user knows: of pictures, and of volumes, which are smaller.
_EXTENTS = {4: 224, 5: 32}
_READERS = 8


def evidence_of(node: ir.Node, why: Refusal, facts: Facts, cost: Cost | None = None, bound: str = "") -> Evidence:
    """Return the evidence for the refusal, for which `node` is left."""
    blocker = why.node
    return Evidence(
        blocker="" if blocker is None or blocker is node else blocker.name or "",
        op_type="" if blocker is None or blocker is node else operator_of(blocker),
        value="" if why.value is None else why.value.name or "",
        readers=() if why.value is None else tuple(_readers(why.value, node)),
        remedy=remedy_for(why.code, why.value, facts, has_more=why.has_more),
        cost=cost,
        bound=bound,
    )


def remedy_for(code: Code, value: ir.Value | None, facts: Facts, *, has_more: bool = False) -> Remedy:
    """Return what would help against a reason of this kind at the value.

    Where other obstacles are known there is nothing that could be carried out by itself.
    """
    advice = ADVICE[code]
    name = "" if value is None else value.name or ""
    if code is Code.GRAPH_OUTPUT and (value is None or not _can_be_left_out(value, facts)):
        return Remedy("put a linear layer between the normalization and the output")
    if has_more:
        acts = code in (Code.GRAPH_OUTPUT, Code.OVERRIDABLE_WEIGHT, Code.UNKNOWN_SHAPE)
        return Remedy(f"{advice}; the other obstacles have to go too" if acts else advice)
    if code is Code.GRAPH_OUTPUT and name:
        return Remedy(f"leave the output {name!r} out of the graph, where nobody needs it", output=name)
    if code is Code.OVERRIDABLE_WEIGHT:
        return Remedy(advice, ("--freeze-inputs",))
    if code is Code.UNKNOWN_SHAPE:
        shapes = tuple(_fixed_shapes(facts))
        options = tuple(word for shape in shapes for word in ("--fix-shape", shape))
        return Remedy(f"{advice}, such as {' '.join(options)}" if options else advice, options)
    return Remedy(advice)


def _can_be_left_out(value: ir.Value, facts: Facts) -> bool:
    """Whether the value is one output of several that the model has, and something else reads it."""
    graph = value.graph
    is_main = graph is not None and facts.owner(graph) is None
    return graph is not None and is_main and len(graph.outputs) > 1 and bool(value.consumers())


def _readers(value: ir.Value, node: ir.Node) -> Iterator[str]:
    others = dict.fromkeys(reader for reader in value.consumers() if reader is not node)
    for number, reader in enumerate(others):
        if number == _READERS:
            yield f"{len(others) - _READERS} more"
            break
        yield reader.name or reader.op_type
    if value.is_graph_output():
        yield "graph output"


def _fixed_shapes(facts: Facts) -> Iterator[str]:
    """Yield, for each input of the model of unknown extents, a shape in which all but the first axis are numbers."""
    for value in facts.inputs:
        if value.is_initializer() or value.dtype not in FLOATS or value.shape is None:
            continue
        dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
        if all(isinstance(dim, int) for dim in dims[1:]):
            continue
        words = [
            dim if isinstance(dim, int) else (_EXTENTS.get(len(dims), 128) if axis >= 1 else dim or "N")
            for axis, dim in enumerate(dims)
        ]
        yield f"{value.name}:{','.join(map(str, words))}"
