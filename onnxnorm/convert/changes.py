"""Carries nodes over the steps between opsets at which an operator's meaning or its spelling changed.

The table names the versions whose difference the definitions' types, attributes and defaults do not show, or where what
was an attribute is an operand. `tests/convert/test_forms.py` goes through every version that ONNX defines, and
`python -m bench suites` holds the table against ONNX's own models and their expected outputs. `crosses` rewrites the
node where it can, and tells whether the node means the same on the other side.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from onnxnorm.convert import changes_of_axes as axes
from onnxnorm.convert import changes_of_norms as norms
from onnxnorm.convert import changes_of_sampling as sampling
from onnxnorm.convert.operands import REDUCTIONS, Moved, axes_of_reduction, axes_of_squeeze, moved, steps_of_one
from onnxnorm.convert.step import Change, Step

__all__ = ["crosses", "is_rewritten"]

_ARITHMETIC = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
_AXES_OF_UNSQUEEZE = 13
_SOFT = ("Hardmax", "LogSoftmax", "Softmax")


def crosses(step: Step, version: int) -> bool | str:
    """Tell whether the node means the same across `version`, rewritten if need be; a text says why not."""
    change = _CHANGES.get((step.node.op_type, version))
    return True if change is None else change(step)


def is_rewritten(op_type: str) -> bool:
    """Tell whether the table has steps of this operator."""
    return op_type in _REWRITTEN


def _broadcast_7(step: Step) -> bool | str:
    """Broadcast of two operands since opset 7: before, the second lay along the axes of the first from one on."""
    node = step.node
    broadcasts, axis = step.whole("broadcast", 0), node.attributes.get("axis")
    node.attributes.pop("broadcast", None)
    if axis is None or not broadcasts:
        node.attributes.pop("axis", None)
        return True
    rank, own = step.rank(), step.rank(1)
    if rank is None or own is None or axis.is_ref():
        return "broadcasts along axes of tensors of unknown rank"
    behind = rank - own - axis.as_int() % rank
    if behind < 0:
        return False
    del node.attributes["axis"]
    return behind == 0 or _add_axes(step, range(own, own + behind))


def _add_axes(step: Step, places: Iterable[int]) -> bool:
    """Give the second operand axes of one element at these places."""
    value, numbers = step.operand(1), list(places)
    if value is None:
        return False
    known = step.known(1)
    if known is not None and value.dtype is not None:
        step.put(1, step.constant(np.expand_dims(known, tuple(numbers)), value.dtype, "operand"))
    elif step.opset < _AXES_OF_UNSQUEEZE:
        node = ir.node("Unsqueeze", [value], attributes={"axes": numbers})
        step.put(1, _typed(step.insert(node), value))
    else:
        axes = step.constant(numbers, ir.DataType.INT64, "axes")
        step.put(1, _typed(step.insert(ir.node("Unsqueeze", [value, axes])), value))
    return True


def _typed(value: ir.Value, like: ir.Value) -> ir.Value:
    value.type = like.type
    return value


def _cast_6(step: Step) -> bool | str:
    """Cast since opset 6: before, the type was told by its name."""
    given = step.node.attributes.get("to")
    if given is not None and given.type is ir.AttributeType.STRING and not given.is_ref():
        dtype = ir.DataType.__members__.get(given.as_string().upper())
        if dtype is None:
            return "is told a type that there is not"
        step.node.attributes["to"] = ir.AttrInt64("to", int(dtype))
    return True


def _gemm_7(step: Step) -> bool | str:
    step.node.attributes.pop("broadcast", None)
    return True


def _extremes_8(step: Step) -> bool | str:
    """Max, Mean, Min and Sum since opset 8: until then they took tensors of one shape."""
    shapes = [step.shape(index) for index in range(len(step.node.inputs))]
    if step.up or len(shapes) == 1:
        return True
    first = shapes[0]
    if first is None or None in first or any(shape is None or tuple(shape) != tuple(first) for shape in shapes):
        return "takes tensors of several shapes, or of shapes that are not known, which it does since opset 8"
    return True


def _gemm_11(step: Step) -> bool | str:
    if not step.up and step.operand(2) is None:
        dtype = step.dtype()
        if dtype is None:
            return False
        step.put(2, step.constant(np.zeros(1), dtype, "bias"))
    return True


def _pow_12(step: Step) -> bool | str:
    """Pow since opset 12: until then the exponent had the type of the base."""
    base, exponent = step.dtype(), step.dtype(1)
    if step.up or base == exponent:
        return True
    known = step.known(1)
    if base is not None and known is not None:
        cast = known.astype(base.numpy())
        if np.array_equal(cast.astype(np.float64), known.astype(np.float64)):
            step.put(1, step.constant(cast, base, "exponent"))
            return True
    return "has an exponent of another type than its base, which it does since opset 12"


def _constant_12(step: Step) -> bool | str:
    """Constant since opset 12: before, numbers and strings were tensors."""
    if step.up:
        return True
    for name in list(step.node.attributes):
        given = step.node.attributes[name]
        if not name.startswith("value_"):
            continue
        if given.is_ref():
            return False
        if name.startswith("value_string"):
            values = given.as_strings() if name.endswith("s") else [given.as_string()]
            array = np.array([value.encode() for value in values], object)
            tensor: ir.TensorProtocol = ir.StringTensor(array if name.endswith("s") else array.reshape(()))
        else:
            tensor = ir.tensor(np.array(given.value, np.float32 if "float" in name else np.int64))
        del step.node.attributes[name]
        step.node.attributes["value"] = ir.AttrTensor("value", tensor)
    return True


def _quantized_13(step: Step) -> bool | str:
    """Quantization since opset 13: until then there was one scale for the whole tensor."""
    return step.up or step.shape(1) == () or "has a scale for each slice, which it has since opset 13"


def _quantize_21(step: Step) -> bool | str:
    """QuantizeLinear since opset 21: until then the zero point alone told the type of the result."""
    to = step.whole("output_dtype", 0)
    if step.up or to == 0:
        return True
    if step.operand(2) is None:
        shape = step.shape(1)
        if shape is None or not all(isinstance(extent, int) for extent in shape):
            return "is told its type by an attribute, and the shape of its scale is not known"
        step.put(2, step.constant(np.zeros([int(extent or 0) for extent in shape]), ir.DataType(to), "zero_point"))
    del step.node.attributes["output_dtype"]
    return True


def _quantize_23(step: Step) -> bool | str:
    return _type_of_scale(step, "precision")


def _dequantize_23(step: Step) -> bool | str:
    return _type_of_scale(step, "output_dtype")


def _type_of_scale(step: Step, name: str) -> bool | str:
    if step.up or (told := step.whole(name, 0)) == 0:
        return True
    if step.dtype(1) != ir.DataType(told):
        return f"has {name} of another type than its scale, which it has since opset 23"
    del step.node.attributes[name]
    return True


def _mod_28(step: Step) -> bool | str:
    """Mod since opset 28: until then fmod = 0 was for integers alone."""
    dtype = step.dtype()
    if step.up or (dtype is not None and not dtype.is_floating_point()) or step.whole("fmod", 0) == 1:
        return True
    return "takes the remainder of floats with the sign of the divisor, which Mod does from opset 28 on alone"


def _prelu_7(step: Step) -> bool | str:
    """PRelu since opset 7: before, slopes were one for all, or one a channel."""
    shape, rank = step.shape(1), step.rank()
    if shape is None or rank is None or len(shape) > 1:
        return "has slopes of unknown shape"
    return shape in ((), (1,)) or rank <= 2 or _add_axes(step, range(1, rank - 1))


def _thresholded_relu_10(step: Step) -> bool | str:
    """ThresholdedRelu since opset 10: before, it is a choice between x and zero, by whether x is above alpha."""
    node, x, dtype = step.node, step.operand(0), step.dtype()
    alpha = node.attributes.get("alpha")
    if step.up:
        return True
    if x is None or dtype is None or (alpha is not None and alpha.is_ref()):
        return False
    limit = step.constant(1.0 if alpha is None else alpha.as_float(), dtype, "alpha")
    above = step.insert(ir.node("Less", [limit, x]))
    above.type = ir.TensorType(ir.DataType.BOOL)
    zero = step.constant(0.0, dtype, "zero")
    node.op_type = "Where"
    node.attributes.clear()
    node.resize_inputs(3)
    for index, value in enumerate((above, x, zero)):
        node.replace_input_with(index, value)
    return True


def _scatter_11(step: Step) -> bool | str:
    step.node.op_type = "ScatterElements"
    return True


_INT, _FLOAT, _FLOATS = ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.FLOATS
_CHANGES: dict[tuple[str, int], Change] = {
    **{(op, 7): _broadcast_7 for op in _ARITHMETIC},
    **{(op, 8): _extremes_8 for op in ("Max", "Mean", "Min", "Sum")},
    **{
        (op, 11): axes.counted_from_the_front
        for op in (
            *(*REDUCTIONS, *_SOFT, "ArgMax", "ArgMin", "Compress", "Concat", "Flatten", "OneHot", "Scan"),
            *("Split", "Squeeze", "TopK", "Unsqueeze"),
        )
    },
    **{(op, 13): axes.soft_13 for op in _SOFT},
    **{(op, 18): moved(Moved("axes", 1), before=axes_of_reduction) for op in REDUCTIONS if op != "ReduceSum"},
    **{(op, 22): sampling.pool_22 for op in ("AveragePool", "LpPool", "MaxPool")},
    ("BatchNormalization", 7): norms.batch_norm_7,
    ("BatchNormalization", 9): norms.batch_norm_9,
    ("BatchNormalization", 14): norms.batch_norm_14,
    ("Cast", 6): _cast_6,
    ("Clip", 11): moved(Moved("min", 1, _FLOAT, like_first=True), Moved("max", 2, _FLOAT, like_first=True)),
    ("Constant", 12): _constant_12,
    ("DFT", 20): axes.dft_20,
    ("DequantizeLinear", 13): _quantized_13,
    ("DequantizeLinear", 23): _dequantize_23,
    ("Dropout", 7): norms.dropout_7,
    ("Dropout", 10): norms.dropout_10,
    ("Dropout", 12): norms.dropout_12,
    ("Gemm", 7): _gemm_7,
    ("Gemm", 11): _gemm_11,
    ("GridSample", 20): sampling.grid_sample_20,
    ("GroupNormalization", 21): norms.group_norm_21,
    ("Mod", 28): _mod_28,
    ("PRelu", 7): _prelu_7,
    ("Pad", 11): moved(Moved("pads", 1), Moved("value", 2, _FLOAT, like_first=True)),
    ("Pad", 18): axes.pad_18,
    ("Pow", 12): _pow_12,
    ("QuantizeLinear", 13): _quantized_13,
    ("QuantizeLinear", 21): _quantize_21,
    ("QuantizeLinear", 23): _quantize_23,
    ("ReduceSum", 13): moved(Moved("axes", 1), before=axes_of_reduction),
    ("Reshape", 5): moved(Moved("shape", 1)),
    ("Reshape", 14): axes.reshape_14,
    ("Resize", 10): sampling.resize_10,
    ("Resize", 11): sampling.resize_11,
    ("Resize", 13): sampling.resize_13,
    ("Resize", 18): sampling.resize_18,
    ("RoiAlign", 16): sampling.roi_align_16,
    ("Scan", 9): axes.scan_9,
    ("Scatter", 11): _scatter_11,
    ("Shape", 15): axes.shape_15,
    ("Slice", 10): moved(Moved("starts", 1), Moved("ends", 2), Moved("axes", 3), before=steps_of_one),
    ("Slice", 11): axes.slice_11,
    ("Split", 13): moved(Moved("split", 1)),
    ("Split", 18): axes.split_18,
    ("Squeeze", 13): moved(Moved("axes", 1), before=axes_of_squeeze),
    ("ThresholdedRelu", 10): _thresholded_relu_10,
    ("TopK", 10): moved(Moved("k", 1, _INT)),
    ("Unsqueeze", 13): moved(Moved("axes", 1)),
    ("Upsample", 9): moved(Moved("scales", 1, _FLOATS)),
    ("Upsample", 10): sampling.upsample_10,
}
_REWRITTEN = frozenset(op_type for op_type, _ in _CHANGES)
