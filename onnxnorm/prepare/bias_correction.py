"""Corrects biases for the mean error that weights rounded to int8 bring.

Before: y = W x + b, of which a quantizer makes y' = W' x + b, where W' is W rounded. After: y = W x + b - m, with
m = E[(W' - W) x] for each output channel, so that y' = W' x + b - m has the mean that W x + b has in float.
Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2.

The mean is taken over samples and positions, by running the operator itself with W' - W as its weight: borders, groups
and strides count as they are. Conditions: a weight of float32 that is constant, and a bias that is constant or that the
operator may have; a MatMul has that of the Add behind it. W' is what onnxruntime's quantizer makes for int8: symmetric,
from -127 to 127, with one scale for the tensor or for each output channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from onnxnorm.graph.edit import add_constant, drop_if_unused, set_inputs
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, only_reader
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.io.load_and_save import to_proto
from onnxnorm.runtime.unoptimized import open_session

if TYPE_CHECKING:
    from onnxnorm.prepare.observe import Samples

__all__ = ["Correction", "correct_biases", "rounded_to_int8"]

_STEPS = 127.0
_REDUCED_AXES_ARE_INPUT_FROM = 18
_PLACE_OF_BIAS = 2

_Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Correction:
    """The account of a correction.

    Attributes:
        layers: how many operators have a new bias.
        left: how many with a constant weight have no bias that could be corrected.
        before, after: the relative error of the outputs with rounded weights, without and with the correction.
        change: the relative change of the outputs of the float model.
    """

    layers: int
    left: int
    before: float
    after: float
    change: float

    @property
    def helps(self) -> bool:
        """Whether the outputs come nearer to those of the float model."""
        return self.layers > 0 and self.after < self.before


@dataclass(eq=False)
class _Layer:
    """A linear operator with the constants that matter.

    Attributes:
        node: the operator.
        axes: those of its result over which a bias is the same.
        error: what rounding adds to its weight.
        holder, place: the node that has the bias, and where.
        bias: None where there is none yet.
        factor: of the bias in the result.
    """

    node: ir.Node
    axes: tuple[int, ...]
    error: _Array
    holder: ir.Node
    place: int
    bias: _Array | None
    factor: float = 1.0

    @property
    def name(self) -> str:
        return self.node.outputs[0].name or ""


def rounded_to_int8(weight: npt.NDArray[Any], axis: int | None) -> _Array:
    """Return the weight as int8 with its scale reads it: one scale along an axis, or one for the tensor."""
    wide = np.asarray(weight, np.float32)
    others = None if axis is None else tuple(each for each in range(wide.ndim) if each != axis % wide.ndim)
    scale = np.abs(wide).max(axis=others, keepdims=True) / np.float32(_STEPS)
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(1.0), scale)
    return np.asarray(np.clip(np.rint(wide / scale), -_STEPS, _STEPS) * scale, np.float32)


def correct_biases(model: ir.Model, samples: Samples, *, per_channel: bool = False) -> Correction:
    """Correct the biases of the model itself; tell what that brings on the samples.

    Args:
        model: in float32, folded and equalized.
        samples: of its inputs.
        per_channel: whether each output channel of a weight has a scale of its own in int8.
    """
    infer_shapes(model)
    facts = Facts(model)
    found = [_layer_of(node, facts, per_channel) for node in model.graph]
    layers = [layer for layer in found if isinstance(layer, _Layer)]
    left = sum(layer is not None for layer in found) - len(layers)
    if not layers:
        return Correction(0, left, 0.0, 0.0, 0.0)
    message = to_proto(model)
    opset = facts.opset_of(model.graph)
    means = _means(_showing_errors(message, layers, opset, facts), samples)
    corrected = 0
    for layer, mean in zip(layers, means, strict=True):
        corrected += _correct(layer, mean, model.graph, facts)
    wanted = _outputs(message, samples)
    after = to_proto(model)
    errors = [
        _error(wanted, _outputs(each, samples))
        for each in (_rounded(message, layers, facts), _rounded(after, layers, facts), after)
    ]
    return Correction(corrected, left, *errors)


def _layer_of(node: ir.Node, facts: Facts, per_channel: bool) -> _Layer | str | None:
    """Return the operator as a layer; why it has no bias to correct, or None where there is nothing to round."""
    if not is_standard(node) or node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or value.dtype is not ir.DataType.FLOAT or not facts.is_constant(value):
        return None
    weight = facts.constant(value)
    if weight is None or weight.ndim < 2 or not weight.size or not np.isfinite(weight).all():
        return None
    if node.op_type.startswith("Conv"):
        axis = 0 if node.op_type == "Conv" else 1
        axes = (0, *range(2, weight.ndim))
    else:
        rank = facts.rank(node.outputs[0])
        if weight.ndim != 2 or rank is None or rank < 2:
            return "of a rank that has no channels"
        axis = 0 if node.op_type == "Gemm" and _attribute(node, "transB", 0) else 1
        axes = tuple(range(rank - 1))
    holder, place, factor = node, _PLACE_OF_BIAS, 1.0
    if node.op_type == "MatMul":
        reader = only_reader(node.outputs[0])
        if reader is None or reader.op_type != "Add" or not is_standard(reader):
            return "without a bias"
        holder, place = reader, int(reader.inputs[0] is node.outputs[0])
    elif node.op_type == "Gemm":
        factor = float(_attribute(node, "beta", 1.0))
    held = holder.inputs[place] if len(holder.inputs) > place else None
    bias = None if held is None else facts.constant(held)
    if held is not None and (bias is None or not facts.is_constant(held) or held.dtype is not ir.DataType.FLOAT):
        return "whose bias is not constant"
    if factor == 0.0 or (bias is not None and not _is_along_channels(bias)):
        return "whose bias is none of channels"
    error = rounded_to_int8(weight, axis if per_channel else None) - np.asarray(weight, np.float32)
    own = None if bias is None else np.asarray(bias, np.float32)
    return _Layer(node, axes, error, holder, place, own, factor)


def _is_along_channels(bias: npt.NDArray[Any]) -> bool:
    return bias.ndim == 0 or bias.shape[-1] == bias.size


def _attribute(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.value)


def _showing_errors(message: onnx.ModelProto, layers: Sequence[_Layer], opset: int, facts: Facts) -> onnx.ModelProto:
    """Return a copy whose outputs are the means of (W' - W) x of the layers."""
    shown = _copy(message)
    makers = {name: node for node in shown.graph.node for name in node.output}
    del shown.graph.output[:]
    for layer in layers:
        name = facts.fresh_name(f"{layer.name}_rounding")
        node = onnx.NodeProto()
        node.CopyFrom(makers[layer.name])
        node.name, node.output[:] = name, [name]
        operands = [node.input[0], _add(shown, f"{name}_weight", layer.error)]
        if layer.node.op_type == "Gemm" and layer.bias is not None:
            operands.append(_add(shown, f"{name}_bias", np.zeros_like(layer.bias)))
        node.input[:] = operands
        if opset < _REDUCED_AXES_ARE_INPUT_FROM:
            mean = helper.make_node("ReduceMean", [name], [f"{name}_mean"], axes=layer.axes, keepdims=0)
        else:
            axes = _add(shown, f"{name}_axes", np.array(layer.axes, np.int64))
            mean = helper.make_node("ReduceMean", [name, axes], [f"{name}_mean"], keepdims=0)
        shown.graph.node.extend([node, mean])
        shown.graph.output.append(helper.make_empty_tensor_value_info(f"{name}_mean"))
    return shown


def _copy(message: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(message)
    return copy


def _add(message: onnx.ModelProto, name: str, array: npt.NDArray[Any]) -> str:
    message.graph.initializer.append(numpy_helper.from_array(array, name))
    if message.ir_version < 4:
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        message.graph.input.append(helper.make_tensor_value_info(name, element, array.shape))
    return name


def _means(shown: onnx.ModelProto, samples: Samples) -> list[npt.NDArray[np.float64]]:
    """Return the outputs of the model, each as its mean over the samples."""
    session = open_session(shown, "off")
    runs = [session.run(None, dict(feeds)) for feeds in samples]
    return [np.mean([np.asarray(run[place], np.float64) for run in runs], axis=0) for place in range(len(runs[0]))]


def _correct(layer: _Layer, mean: npt.NDArray[np.float64], graph: ir.Graph, facts: Facts) -> bool:
    """Take the mean off the bias; return whether that was done."""
    old = np.zeros(1) if layer.bias is None else layer.bias.astype(np.float64)
    new = (old - mean / layer.factor).astype(np.float32)
    if not mean.any() or not np.isfinite(new).all():
        return False
    held = layer.holder.inputs[layer.place] if layer.bias is not None else None
    wish = f"{layer.name}_bias" if held is None or not held.name else f"{held.name}_corrected"
    value = add_constant(graph, facts.fresh_name(wish), new, ir.DataType.FLOAT, facts)
    operands = list(layer.holder.inputs)
    operands[layer.place : layer.place + 1] = [value]
    set_inputs(layer.holder, operands)
    drop_if_unused(held, facts)
    return True


def _rounded(message: onnx.ModelProto, layers: Sequence[_Layer], facts: Facts) -> onnx.ModelProto:
    """Return a copy whose weights are rounded."""
    copy = _copy(message)
    makers = {name: node for node in copy.graph.node for name in node.output}
    for layer in layers:
        weight = facts.constant(layer.node.inputs[1])
        assert weight is not None
        name = facts.fresh_name(f"{layer.name}_weight_rounded")
        makers[layer.name].input[1] = _add(copy, name, np.asarray(weight, np.float32) + layer.error)
    return copy


def _outputs(message: onnx.ModelProto, samples: Samples) -> list[list[Any]]:
    session = open_session(message, "off")
    return [session.run(None, dict(feeds)) for feeds in samples]


def _error(wanted: Sequence[Sequence[Any]], got: Sequence[Sequence[Any]]) -> float:
    """Return the root mean square of the relative errors of all outputs that are real numbers."""
    found = [share for own, other in zip(wanted, got, strict=True) for share in _shares(own, other)]
    return float(np.sqrt(np.mean(found))) if found else 0.0


def _shares(wanted: Sequence[Any], got: Sequence[Any]) -> Iterator[float]:
    for own, other in zip(wanted, got, strict=True):
        if not isinstance(own, np.ndarray) or own.dtype.kind != "f" or own.shape != other.shape:
            continue
        finite = np.isfinite(own) & np.isfinite(other)
        exact = own[finite].astype(np.float64)
        if exact.size and (size := float(np.mean(exact**2))):
            yield float(np.mean((other[finite] - exact) ** 2)) / size
