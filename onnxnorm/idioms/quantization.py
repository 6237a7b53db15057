"""Finds products of integers whose results are scaled back: what quantization leaves of a product in floating point."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["dynamic_quantizations", "quantized_arithmetic"]

_BIAS = "Add"


def dynamic_quantizations(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find the dynamic quantizations of one graph: product, Cast, product with the scales, and the bias.

    Those of MatMulInteger alone: no runtime has one node for what stands behind a ConvInteger.
    """
    for node in graph:
        if is_standard(node) and node.op_type == "MatMulInteger":
            inner, outer = _after(node, facts)
            yield Idiom(Kind.DYNAMIC_QUANTIZATION, frozenset(inner), frozenset(outer))


def quantized_arithmetic(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find sums and products of two dequantized values whose result is quantized again."""
    for node in graph:
        if node.op_type not in ("Add", "Mul") or not is_standard(node) or len(node.outputs[0].consumers()) != 1:
            continue
        (reader,) = node.outputs[0].consumers()
        makers = [producer_of(value) for value in node.inputs]
        if reader.op_type == "QuantizeLinear" and all(
            maker is not None and maker.op_type == "DequantizeLinear" for maker in makers
        ):
            yield Idiom(Kind.QUANTIZED_ARITHMETIC, frozenset({node}))


def _after(product: ir.Node, facts: Facts) -> tuple[set[ir.Node], set[ir.Node]]:
    inner, outer, node = {product}, set[ir.Node](), product
    for op_types in (("Cast",), ("Mul",), (_BIAS,)):
        users = node.outputs[0].consumers()
        if len(users) != 1 or users[0].op_type not in op_types or not is_standard(users[0]):
            break
        (node,) = users
        if node.op_type == _BIAS:
            if any(map(facts.is_constant, node.inputs)):
                outer.add(node)
            break
        inner.add(node)
        if node.op_type == "Mul":
            # The scale of the input times that of the weight.
            makers = [value.producer() for value in node.inputs if value is not None]
            inner |= {maker for maker in makers if maker is not None and maker.op_type == "Mul" and is_standard(maker)}
    return inner, outer
