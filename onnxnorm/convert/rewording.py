"""What a node says in terms of its own opset, said in those of an older one, where that is a matter of writing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused
from onnxnorm.graph.facts import Facts

__all__ = ["ATTRIBUTES", "REDUCTIONS", "SOFT", "put_plainly"]

REDUCTIONS = frozenset(
    f"Reduce{what}" for what in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
)
SOFT = frozenset({"Hardmax", "LogSoftmax", "Softmax"})
# The attribute that is an operand from this version on.
ATTRIBUTES = {
    **dict.fromkeys(REDUCTIONS, ("axes", 18)),
    "ReduceSum": ("axes", 13),
    "Split": ("split", 13),
    "Squeeze": ("axes", 13),
    "Unsqueeze": ("axes", 13),
}


def put_plainly(node: ir.Node, opset: int, facts: Facts) -> None:
    """Says what a node says in terms that the older definition has too, where that is a matter of writing."""
    if node.domain not in ("", "ai.onnx") or not node.inputs or node.inputs[0] is None:
        return
    shape, graph = facts.shape(node.inputs[0]), node.graph
    if node.op_type in SOFT and opset < 13 and shape is not None:
        # Until then all axes from this one on were one: of the last axis it means the same.
        given = node.attributes.get("axis")
        if (-1 if given is None else given.as_int()) in (-1, len(shape) - 1):
            node.attributes["axis"] = ir.AttrInt64("axis", len(shape) - 1)
    elif node.op_type == "Dropout" and opset < 12 and not any(output.uses() for output in node.outputs[1:]):
        training = node.inputs[2] if len(node.inputs) > 2 else None
        array = facts.constant(training)
        if training is None or (array is not None and not array.any()):
            node.op_type = "Identity"
            node.attributes.clear()
            node.resize_inputs(1)
            node.resize_outputs(1)
    elif node.op_type == "Split" and opset < 18 and len(node.inputs) == 1 and "num_outputs" in node.attributes:
        given = node.attributes.get("axis")
        axis = 0 if given is None else given.as_int()
        extent = None if shape is None or not -len(shape) <= axis < len(shape) else shape[axis]
        count = node.attributes["num_outputs"].as_int()
        if isinstance(extent, int) and graph is not None and -(-extent // count) * (count - 1) < extent:
            size = -(-extent // count)
            sizes = np.array([size] * (count - 1) + [extent - size * (count - 1)], np.int64)
            name = facts.fresh_name(f"{node.outputs[0].name}_split")
            node.resize_inputs(2)
            node.replace_input_with(1, add_constant(graph, name, sizes, ir.DataType.INT64, facts))
            del node.attributes["num_outputs"]
    _take_attribute(node, opset, facts)


def _take_attribute(node: ir.Node, opset: int, facts: Facts) -> None:
    """A constant operand that was an attribute before becomes one."""
    attribute, since = ATTRIBUTES.get(node.op_type, ("", 0))
    if opset >= since or len(node.inputs) < 2 or node.inputs[1] is None or node.inputs[0] is None:
        return
    array, shape = facts.constant(node.inputs[1]), facts.shape(node.inputs[0])
    if array is None or shape is None:
        return
    rank = len(shape) + (array.size if node.op_type == "Unsqueeze" else 0)
    numbers = [int(n) + (rank if attribute == "axes" and int(n) < 0 else 0) for n in array.ravel()]
    if numbers or not node.attributes.get_int("noop_with_empty_axes", 0):
        if numbers:
            node.attributes[attribute] = ir.AttrInt64s(attribute, numbers)
        operand = node.inputs[1]
        node.resize_inputs(1)
        drop_if_unused(operand, facts)
