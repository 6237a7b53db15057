"""Finds biases behind products of matrices: runtimes run the sum with the product, or with what follows."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["biases"]


def biases(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find sums of a product by a constant matrix, for it alone, with a constant vector along its last axis."""
    for node in graph:
        if node.op_type == "Add" and is_standard(node) and len(node.inputs) == 2 and _is_bias(node, facts):
            yield Idiom(Kind.BIAS, frozenset({node}))


def _is_bias(node: ir.Node, facts: Facts) -> bool:
    first, second = node.inputs
    for data, other in ((first, second), (second, first)):
        maker = producer_of(data)
        if data is None or maker is None or maker.op_type != "MatMul" or not is_standard(maker):
            continue
        if len(data.uses()) != 1 or data.is_graph_output() or not facts.is_constant(maker.inputs[1]):
            continue
        constant = facts.constant(other)
        return constant is not None and constant.ndim > 0 and constant.size == constant.shape[-1] > 0
    return False
