"""Weights of a normalization that are no constants: inputs of the graph, or computed from other inputs.

Before: LayerNormalization or RMSNormalization with a scale of ones, whose result is multiplied with a tensor of just
the normalized shape, and to which, for LayerNormalization, another one is added.
After: these tensors are the node's scale and bias, and the Mul and the Add are gone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import drop_if_unused, set_inputs, splice_out
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard

__all__ = ["take_computed_weights"]

_WITH_SCALE = frozenset({"LayerNormalization", "RMSNormalization"})


def take_computed_weights(node: ir.Node, facts: Facts) -> list[str]:
    """Give the node the scale and the bias that follow it, in place; return the roles that it took up.

    Args:
        node: a normalization that has just taken the place of other nodes.
        facts: what is known of its model.
    """
    if node.op_type not in _WITH_SCALE or not is_standard(node):
        return []
    taken = []
    ones = node.inputs[1]
    if len(node.inputs) == 2 and np.all(facts.constant(ones) == 1):
        scale = _operand_behind(node, "Mul", facts)
        if scale is not None:
            _take(node, [node.inputs[0], scale])
            drop_if_unused(ones, facts)
            taken.append("scale")
    if node.op_type == "LayerNormalization" and len(node.inputs) == 2:
        bias = _operand_behind(node, "Add", facts)
        if bias is not None:
            _take(node, [*node.inputs, bias])
            taken.append("bias")
    return taken


def _operand_behind(node: ir.Node, op_type: str, facts: Facts) -> ir.Value | None:
    """Return the computed tensor of the normalized shape that is the other operand of the node's only reader."""
    output, axis = node.outputs[0], node.attributes.get("axis")
    readers = output.uses()
    if len(readers) != 1 or output.is_graph_output() or len(node.outputs) > 1:
        return None
    ((reader, index),) = readers
    shape = facts.shape(output) or (None if node.inputs[0] is None else facts.shape(node.inputs[0]))
    if reader.op_type != op_type or not is_standard(reader) or reader.graph is not node.graph or shape is None:
        return None
    other = reader.inputs[1 - index]
    if other is None or other.dtype is None or other.dtype is not output.dtype or facts.is_constant(other):
        return None
    normalized = shape[-1 if axis is None else axis.as_int() :]
    is_whole = all(isinstance(extent, int) for extent in normalized)
    return other if is_whole and facts.shape(other) == normalized else None


def _take(node: ir.Node, inputs: list[ir.Value | None]) -> None:
    (reader,) = node.outputs[0].consumers()
    graph = node.graph
    assert graph is not None
    # The operand may be computed behind the node.
    graph.remove(node)
    graph.insert_before(reader, node)
    set_inputs(node, inputs)
    splice_out(reader, 0 if reader.inputs[0] is node.outputs[0] else 1)
