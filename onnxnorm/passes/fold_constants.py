"""What depends on no input is computed once, now.

Before: nodes whose inputs are all constants (weights behind Transpose or Cast, biases computed by Shape and Expand,
standardized weights). After: their results as initializers, unless that would make the file larger by more than
`_MAX_GROWTH`: a large constant that is written down as its recipe stays so.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused
from onnxnorm.graph.facts import Facts
from onnxnorm.journal import Journal
from onnxnorm.model.walk import graphs_within

__all__ = ["FoldConstants"]

_NAME = "fold_constants"
_MAX_GROWTH = 2**16


class FoldConstants(ir.passes.InPlacePass):
    """Constant folding by `Facts`, which knows what may be taken for a constant."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts = Facts(model)
        modified = False
        for graph in graphs_within(model.graph):
            for node in list(graph):
                modified |= self._fold(node, graph, facts)
        return ir.passes.PassResult(model, modified)

    def _fold(self, node: ir.Node, graph: ir.Graph, facts: Facts) -> bool:
        if node.op_type == "Constant" or len(node.outputs) != 1 or node.outputs[0].is_graph_output():
            return False
        output = node.outputs[0]
        if output.dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
            # Its elements have no fixed size, and no arithmetic is done with it.
            return False
        own = sum(
            operand.const_value.nbytes
            for operand in node.inputs
            if operand is not None and operand.const_value is not None and len(operand.uses()) == 1
        )
        itemsize = output.dtype.itemsize if output.dtype is not None else 4
        if facts.elements(output) * itemsize > own + _MAX_GROWTH:
            return False
        array = facts.constant(output)
        if array is None or array.nbytes > own + _MAX_GROWTH:
            return False
        name, operands = output.name or facts.fresh_name(node.name or "constant"), list(node.inputs)
        dtype = output.dtype or ir.DataType.from_numpy(array.dtype)
        output.name = None
        value = add_constant(graph, name, array, dtype, facts)
        output.replace_all_uses_with(value)
        graph.remove(node, safe=True)
        for operand in operands:
            drop_if_unused(operand, facts)
        self._journal.rewrite(_NAME, node, node.op_type, "computed once: it depends on no input")
        return True
