"""Fuses a product of matrices and the bias that is added to it into one Gemm.

Before: MatMul of two matrices -> Add of a vector along the columns.
After: Gemm of the matrices and the vector. Source: ONNX Gemm-13, Y = A * B + C with C broadcast to Y.
Conditions: both operands have rank 2, nobody else reads the product, and the vector does not enlarge the result.
Products of dequantized values stay: runtimes have kernels for them by that pattern.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.edit import set_inputs, splice_out
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import graphs_within
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["FuseGemm"]

_NAME = "fuse_gemm"
# From opset 7 on Gemm broadcasts as other operators do.
_SINCE = 7
_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16})
_QUANTIZED = frozenset({"DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear"})


class FuseGemm(JournaledPass):
    """Turns MatMul and Add of matrices into Gemm."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts, modified = self._facts(model), False
        for graph in graphs_within(model.graph):
            for node in list(graph):
                if node.op_type == "MatMul" and is_standard(node) and facts.opset(node) >= _SINCE:
                    modified |= self._fuse(node, facts)
        return ir.passes.PassResult(model, modified)

    def _fuse(self, product: ir.Node, facts: Facts) -> bool:
        output, uses = product.outputs[0], product.outputs[0].uses()
        if len(uses) != 1 or output.is_graph_output() or output.dtype not in _TYPES:
            return False
        ((total, index),) = uses
        if total.op_type != "Add" or not is_standard(total) or total.graph is not product.graph:
            return False
        bias = total.inputs[1 - index]
        if bias is None or bias is output or not _fits(product, bias, facts) or _is_quantized(product, total):
            return False
        graph = product.graph
        assert graph is not None
        # The bias may be computed behind the product.
        graph.remove(product)
        graph.insert_before(total, product)
        product.op_type = "Gemm"
        set_inputs(product, [*product.inputs, bias])
        splice_out(total, index)
        detail = f"its operand is the bias of the product {product.name!r}"
        self._journal.rewrite(_NAME, total, "Add", detail, into=[product])
        return True


def _fits(product: ir.Node, bias: ir.Value, facts: Facts) -> bool:
    """Whether the operands are matrices and the bias is broadcast along their product's columns."""
    one, other = product.inputs
    if one is None or other is None or facts.rank(one) != 2 or (shape := facts.shape(other)) is None:
        return False
    columns, extents = shape[-1], facts.shape(bias)
    if len(shape) != 2 or extents is None or len(extents) > 2 or bias.dtype is not product.outputs[0].dtype:
        return False
    rows_are_one = len(extents) < 2 or extents[0] == 1
    width = extents[-1] if extents else 1
    return rows_are_one and isinstance(columns, int) and width in (1, columns)


def _is_quantized(product: ir.Node, total: ir.Node) -> bool:
    makers = [value.producer() for node in (product, total) for value in node.inputs if value is not None]
    readers = total.outputs[0].consumers()
    return any(node is not None and node.op_type in _QUANTIZED for node in (*makers, *readers))
