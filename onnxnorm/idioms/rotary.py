"""Finds rotary position embeddings, x * cos + rotate(x) * sin.

There rotate joins the halves of x, one of them negated.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, only_reader, producer_of
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["rotary_embeddings"]

_HALVES = frozenset({"Slice", "Split", "Gather"})
_LAYOUT = frozenset({"Reshape", "Squeeze", "Unsqueeze"})


def rotary_embeddings(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find the embeddings of one graph, from the Concat that joins a half of a value and the negated other half."""
    for node in graph:
        if node.op_type == "Concat" and is_standard(node) and len(node.inputs) == 2:
            found = _around(node)
            if found is not None:
                yield Idiom(Kind.ROTARY, found)


def _around(join: ir.Node) -> frozenset[ir.Node] | None:
    makers = [producer_of(value) for value in join.inputs]
    negated = [node for node in makers if node is not None and node.op_type == "Neg" and is_standard(node)]
    if len(negated) != 1:
        return None
    (negation,) = negated
    halves = [_maker(negation.inputs[0]), *(node for node in makers if node is not negation)]
    sources = {None if half is None or half.op_type not in _HALVES else half.inputs[0] for half in halves}
    if None in sources or len(sources) != 1:
        return None
    found = {join, negation}
    turned = _only_reader(join)
    while turned is not None and turned.op_type in _LAYOUT:
        found.add(turned)
        turned = _only_reader(turned)
    total = None if turned is None or turned.op_type != "Mul" else _only_reader(turned)
    if turned is None or total is None or total.op_type != "Add":
        return None
    products = [_maker(value) for value in total.inputs]
    if any(node is None or node.op_type != "Mul" for node in products):
        return None
    return frozenset(found | {total} | {node for node in products if node is not None})


def _maker(value: ir.Value | None) -> ir.Node | None:
    node = producer_of(value)
    return node if node is not None and is_standard(node) else None


def _only_reader(node: ir.Node) -> ir.Node | None:
    reader = only_reader(node.outputs[0])
    return reader if is_standard(reader) else None
