"""Flattens the operand of a matrix product instead of its result, so that the product has a place for a bias.

Before: x (..., K) -> MatMul W (K, N) -> Reshape to (rows, N) -> affine.
After: x -> Reshape to (-1, K) -> MatMul W -> affine.
Algebra: a matrix product acts on the last axis alone, so it does not matter when the others are flattened.
Conditions: W is a constant matrix, nobody else reads the product, the Reshape keeps the last axis whole.
MatMul of rank 2 becomes Gemm when it takes a shift; of higher rank it would leave an Add over the whole tensor.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.affine import is_affine
from onnxnorm.graph.edit import add_constant
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import graphs_within
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["FlattenProducts"]

_NAME = "flatten_products"


class FlattenProducts(JournaledPass):
    """Moves Reshape before MatMul where an affine follows."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts = self._facts(model)
        modified = False
        for graph in graphs_within(model.graph):
            for node in list(graph):
                if node.op_type == "MatMul" and is_standard(node):
                    modified |= self._move(node, graph, facts)
        return ir.passes.PassResult(model, modified)

    def _move(self, product: ir.Node, graph: ir.Graph, facts: Facts) -> bool:
        x, weight = product.inputs
        output = product.outputs[0]
        users = output.consumers()
        if x is None or len(users) != 1 or output.is_graph_output() or users[0].op_type != "Reshape":
            return False
        reshape = users[0]
        flat = reshape.outputs[0]
        matrix = facts.constant(weight)
        rank, shape, request = facts.rank(x), facts.shape(flat), facts.constant(reshape.inputs[1])
        if (
            reshape.graph is not graph
            or not is_standard(reshape)
            or reshape.inputs[0] is not output
            or (rank or 0) < 3
            or matrix is None
            or matrix.ndim != 2
            or shape is None
            or len(shape) != 2
            or request is None
            or matrix.shape[1] not in (shape[1], request[-1])
            or flat.is_graph_output()
            or [is_affine(user) for user in flat.consumers()] != [True]
        ):
            return False
        request_name = facts.fresh_name(f"{product.name}_shape")
        new_request = add_constant(
            graph, request_name, np.array([-1, matrix.shape[0]], np.int64), ir.DataType.INT64, facts
        )
        flatten = ir.node("Reshape", [x, new_request], name=f"{product.name}_flatten")
        rows = flatten.outputs[0]
        rows.name, rows.type = facts.fresh_name(f"{product.name}_rows"), x.type
        rows.shape = ir.Shape([shape[0], matrix.shape[0]])
        graph.insert_before(product, flatten)
        product.replace_input_with(0, rows)
        # The product takes over the value that the Reshape made, name and shape with it.
        name = flat.name
        flat.replace_all_uses_with(output)
        graph.remove(reshape, safe=True)
        flat.name = None
        output.name, output.shape = name, ir.Shape([shape[0], matrix.shape[1]])
        self._journal.rewrite(_NAME, product, "MatMul", "flattened before it, so that it can take a bias")
        return True
