"""Finds layer and RMS normalizations that are written out, and stay so at opsets without the node, in any spelling.

Before their end come a product with gamma and a sum with beta. These may take other values; the rest stays. Where no
extent proves that these two do not enlarge the tensor, they belong to it all the same: runtimes go by the nodes alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, only_reader
from onnxnorm.idioms.idiom import Idiom, Kind
from onnxnorm.recognize import FAMILIES, Proposal, Reading, candidates
from onnxnorm.recognize.families import Found
from onnxnorm.recognize.families.answers import Named
from onnxnorm.recognize.families.layer_norm import trailing
from onnxnorm.recognize.monomials import Unreadable
from onnxnorm.recognize.selection import roots_of

__all__ = ["written_out_normalizations"]

_KINDS = {"LayerNormalization": Kind.LAYER_NORM, "RMSNormalization": Kind.RMS_NORM}
_ROOTS = frozenset({"Sqrt", "Pow", "Reciprocal"})


def written_out_normalizations(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find the written-out normalizations of one graph."""
    if not any(node.op_type in _ROOTS for node in graph):
        return
    taken: set[ir.Node] = set()
    for x in candidates(graph):
        try:
            reading = Reading(x, graph, facts)
        except Unreadable:
            continue
        for kind, cone in _largest(reading, taken):
            taken |= cone
            yield _idiom(kind, cone, facts)


def _largest(reading: Reading, taken: set[ir.Node]) -> Iterator[tuple[Kind, frozenset[ir.Node]]]:
    """Find the normalizations of one tensor, which may have several side by side, the largest first.

    Nodes in `taken` belong to others.
    """
    for found in roots_of(reading):
        if found.quotient is None:
            continue
        cone = frozenset(found.cone)
        if not cone & taken and (kind := _kind(found)) is not None:
            yield kind, cone


def _kind(found: Found) -> Kind | None:
    for family in FAMILIES:
        answer = family(found)
        kind = None
        if isinstance(answer, Proposal):
            kind = _KINDS.get(answer.op_type)
        elif isinstance(answer, Named) and found.statistic is not None and trailing(found.statistic.axes, found.rank):
            # No one node can be written where an extent is not known; runtimes go by the order of the nodes alone.
            kind = _KINDS.get(answer.kind)
        if kind is not None and found.reading.escape(found.root, found.cone) is None:
            return kind
    return None


def _idiom(kind: Kind, cone: frozenset[ir.Node], facts: Facts) -> Idiom:
    outer: set[ir.Node] = set()
    beyond: set[ir.Node] = set()
    tail = _tail(cone, facts)
    # In their order: a product with gamma, then a sum with beta. What follows is no part of the normalization.
    gamma = next((node for node in tail if node.op_type in ("Mul", "Div")), None)
    for node in tail:
        if node is gamma:
            outer.add(node)
        elif node.op_type in ("Add", "Sub") and not any(each.op_type == node.op_type for each in outer):
            outer.add(node)
            beyond = set(tail[tail.index(node) + 1 :])
            break
        else:
            beyond = set(tail[tail.index(node) :])
            break
    inner = cone - outer - beyond
    if not beyond:
        outer |= _behind(inner, outer, facts)
    return Idiom(kind, inner, frozenset(outer))


def _behind(inner: frozenset[ir.Node], outer: set[ir.Node], facts: Facts) -> set[ir.Node]:
    """Find gamma and beta behind the rest, where no extent proves that they do not enlarge the tensor."""
    found: set[ir.Node] = set()
    own = inner | outer
    last = [node for node in own if not any(user in own for user in node.outputs[0].consumers())]
    node = last[0] if len(last) == 1 else None
    for op_type in ("Mul", "Add"):
        if node is None or any(each.op_type in (op_type, "Add", "Sub") for each in outer):
            continue
        reader = only_reader(node.outputs[0])
        if reader is not None and reader.op_type == op_type and is_standard(reader) and _by_vector(reader, facts):
            found.add(reader)
            node = reader
    return found


def _by_vector(node: ir.Node, facts: Facts) -> bool:
    constants = [array for value in node.inputs if (array := facts.constant(value)) is not None]
    return len(constants) == 1 and constants[0].ndim == 1


def _tail(cone: frozenset[ir.Node], facts: Facts) -> list[ir.Node]:
    """Return the affines by constants at the end, in their order."""
    last = [node for node in cone if not any(user in cone for user in node.outputs[0].consumers())]
    tail: list[ir.Node] = []
    node = last[0] if len(last) == 1 else None
    while node is not None and is_standard(node) and node.op_type in ("Mul", "Div", "Add", "Sub"):
        data = [value for value in node.inputs if value is not None and not facts.is_constant(value)]
        if len(data) != 1 or len(node.inputs) != 2:
            break
        tail.insert(0, node)
        maker = data[0].producer()
        node = maker if maker in cone else None
    return tail
