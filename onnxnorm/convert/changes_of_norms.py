"""Changes of batch and group normalization and of Dropout."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.convert.step import Step
from onnxnorm.numerics.batch_norm import EPSILON

__all__ = ["batch_norm_7", "batch_norm_9", "batch_norm_14", "dropout_7", "dropout_10", "dropout_12", "group_norm_21"]

_STATISTICS = ("mean", "variance", "saved_mean", "saved_variance")


def batch_norm_7(step: Step) -> bool | str:
    """BatchNormalization since opset 7: before, it was in training mode without is_test = 1.

    From then on further outputs say so, whether or not anything reads them.
    """
    node = step.node
    if step.up and step.whole("is_test", 0) != 1:
        node.attributes.pop("is_test", None)
        node.resize_outputs(5)
        for output, what in zip(node.outputs[1:], _STATISTICS, strict=True):
            output.name = output.name or step.facts.fresh_name(f"{node.outputs[0].name}_{what}")
    return True


def batch_norm_9(step: Step) -> bool | str:
    """BatchNormalization since opset 9: it has no statistics of every place of a sample any more.

    Such a node is a Mul and an Add.
    """
    node = step.node
    if not step.up or step.whole("spatial", 1) == 1:
        return True
    x, known = step.operand(0), [step.facts.constant(value) for value in node.inputs[1:5]]
    if x is None or x.dtype is None or any(array is None for array in known) or len(known) != 4:
        return "has statistics for every place of a sample that are no constants"
    if any(output.name for output in node.outputs[1:]):
        return "is in training mode; export the model in eval mode"
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in known)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else EPSILON
    scale = gamma / np.sqrt(variance + epsilon)
    product = step.insert(ir.node("Mul", [x, step.constant(scale, x.dtype, "scale")]))
    product.type, product.shape = x.type, x.shape
    shift = step.constant(beta - mean * scale, x.dtype, "shift")
    node.attributes.clear()
    node.resize_outputs(1)
    node.resize_inputs(2)
    node.op_type = "Add"
    node.replace_input_with(0, product)
    node.replace_input_with(1, shift)
    return True


def batch_norm_14(step: Step) -> bool | str:
    """BatchNormalization since opset 14: before, further outputs put it in training mode, now an attribute does."""
    node = step.node
    if step.up and any(output.name for output in node.outputs[1:]):
        if step.reads_beyond(1):
            return "is in training mode, and its statistics are read; export the model in eval mode"
        node.attributes["training_mode"] = ir.AttrInt64("training_mode", 1)
        # The running mean and variance have to be there.
        node.resize_outputs(3)
    return True


def dropout_7(step: Step) -> bool | str:
    """Dropout since opset 7: before, it was in training mode without is_test = 1."""
    return step.whole("is_test", 0) == 1 or "is in training mode, as it is without is_test = 1"


def dropout_10(step: Step) -> bool | str:
    """Dropout since opset 10: before, the mask was of the type of the data."""
    return not step.reads_beyond(1) or "gives its mask, which has another type since opset 10"


def dropout_12(step: Step) -> bool | str:
    """Dropout since opset 12: at inference it hands on what it gets.

    Before, it was told in another way whether it trains.
    """
    node = step.node
    if step.up:
        if step.reads_beyond(1):
            return "gives its mask, of which it says since opset 12 alone that it is all true at inference"
        given = node.attributes.get("ratio")
        if given is not None and not given.is_ref():
            step.put(1, step.constant(given.as_float(), ir.DataType.FLOAT, "ratio"))
            del node.attributes["ratio"]
        return given is None or not given.is_ref()
    training = step.known(2)
    if step.operand(2) is not None and (training is None or training.any()):
        return "is in training mode; export the model in eval mode"
    if step.reads_beyond(1):
        return "gives its mask, which is all true at inference"
    node.op_type = "Identity"
    node.attributes.clear()
    node.resize_outputs(1)
    step.cut(1)
    return True


def group_norm_21(step: Step) -> bool | str:
    """GroupNormalization since opset 21: one scale and bias a group became one a channel."""
    if not step.up:
        return False
    x = step.operand(0)
    groups = step.whole("num_groups", 1)
    if x is None or groups < 1:
        return False
    shape, ints = step.shape(), ir.DataType.INT64
    channels = None if shape is None or len(shape) < 2 else shape[1]
    each: ir.Value | None = None
    for index in (1, 2):
        weights = step.operand(index)
        if weights is None:
            return False
        known = step.known(index)
        if isinstance(channels, int) and known is not None and weights.dtype is not None and known.size == groups:
            repeated = np.repeat(known.ravel(), channels // groups)
            step.put(index, step.constant(repeated, weights.dtype, ("scale", "bias")[index - 1]))
            continue
        if each is None:
            whole = step.insert(ir.node("Shape", [x]))
            place = step.constant([1], ints, "place")
            extent = step.insert(ir.node("Gather", [whole, place], attributes={"axis": 0}))
            share = step.insert(ir.node("Div", [extent, step.constant([groups], ints, "groups")]))
            one = step.constant([1], ints, "one")
            each = step.insert(ir.node("Concat", [one, share], attributes={"axis": 0}))
            for value in (whole, extent, share, each):
                value.type = ir.TensorType(ints)
        column = step.insert(ir.node("Reshape", [weights, step.constant([groups, 1], ints, "column")]))
        spread = step.insert(ir.node("Expand", [column, each]))
        flat = step.insert(ir.node("Reshape", [spread, step.constant([-1], ints, "flat")]))
        for value in (column, spread, flat):
            value.type = weights.type
        step.put(index, flat)
    return True
