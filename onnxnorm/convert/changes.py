"""The steps between opsets at which an operator's meaning or its spelling changed, and how a node crosses each.

The table names the versions whose difference the definitions' types, attributes and defaults do not show, or where what
was an attribute is an operand. `python -m bench suites` holds it against ONNX's own models and their expected outputs.
`crosses` rewrites the node where it can, and tells whether the node means the same on the other side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm.convert.rewording import REDUCTIONS, SOFT
from onnxnorm.graph.edit import add_constant
from onnxnorm.graph.facts import Facts
from onnxnorm.numerics.batch_norm import EPSILON

__all__ = ["Step", "crosses"]


@dataclass(frozen=True)
class Step:
    """A node on its way across one version of its operator.

    Attributes:
        up: whether it goes to that version, or to the one before.
    """

    node: ir.Node
    facts: Facts
    up: bool
    opset: int

    def whole(self, name: str, default: int) -> int:
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def rank(self, index: int = 0) -> int | None:
        value = self.operand(index)
        return None if value is None else self.facts.rank(value)

    def operand(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def constant(self, values: object, dtype: ir.DataType, what: str) -> ir.Value:
        graph = self.node.graph
        assert graph is not None
        name = self.facts.fresh_name(f"{self.node.name or self.node.op_type}_{what}")
        return add_constant(graph, name, np.array(values).astype(dtype.numpy()), dtype, self.facts)

    def put(self, index: int, value: ir.Value | None) -> None:
        if len(self.node.inputs) <= index:
            self.node.resize_inputs(index + 1)
        self.node.replace_input_with(index, value)

    def insert(self, node: ir.Node, *, after: bool = False) -> ir.Value:
        """Put a node before this one, or behind; its result gets a name."""
        graph, output = self.node.graph, node.outputs[0]
        assert graph is not None
        output.name = self.facts.fresh_name(f"{self.node.name or self.node.op_type}_{node.op_type.lower()}")
        node.name = output.name
        (graph.insert_after if after else graph.insert_before)(self.node, node)
        return output


def crosses(step: Step, version: int) -> bool | str:
    """Tell whether the node means the same across `version`, rewritten if need be; a text says why not."""
    change = _CHANGES.get((step.node.op_type, version))
    return True if change is None else change(step)


def _operands(*attributes: tuple[str, int, ir.DataType | None]) -> Callable[[Step], bool | str]:
    """What were attributes are operands at these places, of these types (None: that of the first operand)."""

    def change(step: Step) -> bool | str:
        if not step.up:
            return True  # Rewritten before, where that can be; what is left does not fit.
        for name, index, dtype in attributes:
            if (given := step.node.attributes.get(name)) is None:
                continue
            x = step.operand(0)
            kind = dtype or (None if x is None else x.dtype)
            if given.is_ref() or kind is None:
                return f"is told its {name} in a way that cannot be put into an operand"
            step.put(index, step.constant(given.value, kind, name))
            del step.node.attributes[name]
        return True

    return change


def _soft(step: Step) -> bool | str:
    rank = step.rank()
    if not step.up:
        given = step.node.attributes.get("axis")
        return rank is not None and given is not None and given.as_int() == rank - 1
    axis = step.whole("axis", 1)
    if rank is not None and axis in (-1, rank - 1):
        step.node.attributes["axis"] = ir.AttrInt64("axis", rank - 1)
        return True
    if step.node.op_type == "Hardmax":
        return "chooses over several axes, which Hardmax does not since opset 13"
    x, y = step.operand(0), step.node.outputs[0]
    if x is None:
        return False
    flat = step.insert(ir.node("Flatten", [x], attributes={"axis": axis}))
    flat.type = x.type
    shape = step.insert(ir.node("Shape", [x]))
    shape.type = ir.TensorType(ir.DataType.INT64)
    step.put(0, flat)
    step.node.attributes["axis"] = ir.AttrInt64("axis", -1)
    back = ir.node("Reshape", [y, shape])
    again = step.insert(back, after=True)
    again.type, again.shape = y.type, y.shape
    y.replace_all_uses_with(again, replace_graph_outputs=True)
    back.replace_input_with(0, y)
    y.name, again.name, y.shape = again.name, y.name, None
    return True


def _counted_from_the_front(step: Step) -> bool | str:
    if step.up:
        return True
    axes = [step.node.attributes[name] for name in ("axis", "axes") if name in step.node.attributes]
    return all(n >= 0 for a in axes for n in (a.as_ints() if a.type is ir.AttributeType.INTS else [a.as_int()]))


def _pool(step: Step) -> bool | str:
    """Rounded up, a last window that would begin in the padding counts, or counts otherwise, in older definitions."""
    ceil = step.node.attributes.get("ceil_mode")
    if step.up or ceil is None or (not ceil.is_ref() and ceil.as_int() == 0):
        return True
    x = step.operand(0)
    shape = None if x is None else step.facts.shape(x)
    if ceil.is_ref() or shape is None or step.whole("count_include_pad", 0):
        return False
    kernel = list(step.node.attributes["kernel_shape"].as_ints())
    strides, dilations, pads = (
        list(step.node.attributes[name].as_ints()) if name in step.node.attributes else default
        for name, default in (
            ("strides", [1] * len(kernel)),
            ("dilations", [1] * len(kernel)),
            ("pads", [0] * 2 * len(kernel)),
        )
    )
    for i, (extent, k, stride, dilation) in enumerate(zip(shape[2:], kernel, strides, dilations, strict=False)):
        if not isinstance(extent, int):
            return False
        over = extent + pads[i] + pads[len(kernel) + i] - (k - 1) * dilation - 1
        if -(-over // stride) * stride >= extent + pads[i]:
            return False
    return True


def _batch_norm_7(step: Step) -> bool | str:
    if step.up and step.whole("is_test", 0) != 1:
        return "is in training mode, as it is without is_test = 1; export the model in eval mode"
    return True


def _batch_norm_9(step: Step) -> bool | str:
    """Statistics of every place of a sample, which BatchNormalization has no more, are a Mul and an Add."""
    node = step.node
    if not step.up or step.whole("spatial", 1) == 1:
        return True
    x, known = step.operand(0), [step.facts.constant(value) for value in node.inputs[1:5]]
    if x is None or x.dtype is None or any(array is None for array in known) or len(known) != 4:
        return "has statistics for every place of a sample that are no constants"
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
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


def _batch_norm_14(step: Step) -> bool | str:
    if step.up and any(output.name for output in step.node.outputs[1:]):
        return "is in training mode; export the model in eval mode"
    return True


def _dropout_7(step: Step) -> bool | str:
    return step.whole("is_test", 0) == 1 or "is in training mode, as it is without is_test = 1"


def _dropout_10(step: Step) -> bool | str:
    return not any(output.uses() or output.is_graph_output() for output in step.node.outputs[1:])


def _prelu_7(step: Step) -> bool | str:
    slope = step.operand(1)
    shape = None if slope is None else step.facts.shape(slope)
    return shape is not None and all(extent == 1 for extent in shape)


def _scan_9(step: Step) -> bool | str:
    return "goes over a batch, which Scan does not since opset 9"


def _upsample_10(step: Step) -> bool | str:
    step.node.op_type = "Resize"
    if "mode" in step.node.attributes and step.node.attributes["mode"].as_string() == "bilinear":
        step.node.attributes["mode"] = ir.AttrString("mode", "linear")
    step.node.metadata_props.setdefault(_ENLARGES, "")
    return True


_ENLARGES = "onnxnorm.upsample"


def _resize_11(step: Step) -> bool | str:
    """Samples lay from the first one on; the nearest was the one before where it enlarged, behind where it reduced."""
    node = step.node
    enlarges = node.metadata_props.pop(_ENLARGES, None) is not None
    if not step.up:
        return False
    scales = step.operand(1)
    nearest = "mode" not in node.attributes or node.attributes["mode"].as_string() == "nearest"
    if nearest and not enlarges:
        known = step.facts.constant(scales)
        factors = None if known is None else np.asarray(known, np.float64)
        if factors is None or not (np.all(factors >= 1) or np.all(factors <= 1)):
            return "takes the nearest sample at scales that are not known, or both enlarges and reduces"
        enlarges = bool(np.all(factors >= 1))
    node.attributes["coordinate_transformation_mode"] = ir.AttrString("coordinate_transformation_mode", "asymmetric")
    if nearest:
        node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "floor" if enlarges else "ceil")
    node.resize_inputs(3)
    node.replace_input_with(2, scales)
    roi = None if step.opset >= 13 else step.constant(np.zeros(0), ir.DataType.FLOAT, "roi")
    node.replace_input_with(1, roi)
    return True


def _scatter_11(step: Step) -> bool | str:
    step.node.op_type = "ScatterElements"
    return True


def _quantized_13(step: Step) -> bool | str:
    """Until then there was one scale for the whole tensor."""
    if step.up:
        return True
    scale = step.operand(1)
    shape = None if scale is None else step.facts.shape(scale)
    return shape == ()


def _mod_28(step: Step) -> bool | str:
    """Until then fmod = 0 was for integers alone."""
    x = step.operand(0)
    floats = x is None or x.dtype is None or x.dtype.is_floating_point()
    if step.up or not floats or step.whole("fmod", 0) == 1:
        return True
    return "takes the remainder of floats with the sign of the divisor, which Mod does from opset 28 on alone"


def _roi_align_16(step: Step) -> bool | str:
    name = "coordinate_transformation_mode"
    if step.up:
        step.node.attributes[name] = ir.AttrString(name, "output_half_pixel")
        return True
    given = step.node.attributes.get(name)
    if given is None or given.is_ref() or given.as_string() != "output_half_pixel":
        return False
    del step.node.attributes[name]
    return True


def _split_18(step: Step) -> bool | str:
    node = step.node
    if step.up and step.operand(1) is None and "num_outputs" not in node.attributes:
        node.resize_inputs(1)
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))
    return True


def _grid_sample_20(step: Step) -> bool | str:
    words = {"bilinear": "linear", "bicubic": "cubic"}
    renamed = words if step.up else {new: old for old, new in words.items()}
    given = step.node.attributes.get("mode")
    if given is not None and given.is_ref():
        return False
    word = ("bilinear" if step.up else "linear") if given is None else given.as_string()
    step.node.attributes["mode"] = ir.AttrString("mode", renamed.get(word, word))
    return True


def _dft_20(step: Step) -> bool | str:
    node = step.node
    if step.up:
        axis = step.whole("axis", 1)
        node.attributes.pop("axis", None)
        step.put(2, step.constant(axis, ir.DataType.INT64, "axis"))
        return True
    rank = step.rank()
    known = np.array(-2) if step.operand(2) is None else step.facts.constant(step.operand(2))
    if known is None or rank is None:
        return False
    if len(node.inputs) > 2:
        node.resize_inputs(2)
    node.attributes["axis"] = ir.AttrInt64("axis", int(known.ravel()[0]) % rank)
    return True


def _group_norm_21(step: Step) -> bool | str:
    """From one scale and bias a group to one a channel."""
    if not step.up:
        return False
    x = step.operand(0)
    groups = step.whole("num_groups", 1)
    if x is None or groups < 1:
        return False
    shape, ints = step.facts.shape(x), ir.DataType.INT64
    channels = None if shape is None or len(shape) < 2 else shape[1]
    each: ir.Value | None = None
    for index in (1, 2):
        weights = step.operand(index)
        if weights is None:
            return False
        known = step.facts.constant(weights)
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


_INTS, _FLOATS = ir.DataType.INT64, ir.DataType.FLOAT
_CHANGES: dict[tuple[str, int], Callable[[Step], bool | str]] = {
    **{(op, 13): _soft for op in SOFT},
    **{
        (op, 11): _counted_from_the_front
        for op in (*REDUCTIONS, *SOFT, *("ArgMax", "ArgMin", "Concat", "Flatten", "Split", "Squeeze", "Unsqueeze"))
    },
    **{(op, version): _pool for op in ("AveragePool", "LpPool", "MaxPool") for version in (11, 12, 18, 19, 22)},
    **{(op, 18): _operands(("axes", 1, _INTS)) for op in REDUCTIONS if op != "ReduceSum"},
    **{(op, 13): _operands(("axes", 1, _INTS)) for op in ("ReduceSum", "Squeeze", "Unsqueeze")},
    ("BatchNormalization", 7): _batch_norm_7,
    ("BatchNormalization", 9): _batch_norm_9,
    ("BatchNormalization", 14): _batch_norm_14,
    ("Clip", 11): _operands(("min", 1, None), ("max", 2, None)),
    ("DFT", 20): _dft_20,
    ("DequantizeLinear", 13): _quantized_13,
    ("Dropout", 7): _dropout_7,
    ("Dropout", 10): _dropout_10,
    ("Dropout", 12): _operands(("ratio", 1, _FLOATS)),
    ("GridSample", 20): _grid_sample_20,
    ("GroupNormalization", 21): _group_norm_21,
    ("Mod", 28): _mod_28,
    ("PRelu", 7): _prelu_7,
    ("Pad", 11): _operands(("pads", 1, _INTS), ("value", 2, None)),
    ("QuantizeLinear", 13): _quantized_13,
    ("Resize", 11): _resize_11,
    ("RoiAlign", 16): _roi_align_16,
    ("Scan", 9): _scan_9,
    ("Scatter", 11): _scatter_11,
    ("Slice", 10): _operands(("starts", 1, _INTS), ("ends", 2, _INTS), ("axes", 3, _INTS)),
    ("Split", 13): _operands(("split", 1, _INTS)),
    ("Split", 18): _split_18,
    ("TopK", 10): _operands(("k", 1, _INTS)),
    ("Upsample", 9): _operands(("scales", 1, _FLOATS)),
    ("Upsample", 10): _upsample_10,
}
