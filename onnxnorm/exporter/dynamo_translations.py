"""Translates each normalization for an exported graph: to one node, wherever the opset has one for it.

Two places decide. `OneNodeMode` (`onnxnorm.exporter.intercept`) catches the calls that PyTorch would take apart while
it traces (both LRNs); `translations` says how the dynamo exporter writes the ATen operators that a trace keeps whole.
What modules compute step by step, such as torchvision's `FrozenBatchNorm2d`, is recognized in the graph
(`onnxnorm.passes.recognize`).

| PyTorch | ONNX |
|---|---|
| `local_response_norm`, rank 4, odd size, float or float16 | `LRN` |
| `local_response_norm` otherwise, `InterChannelLRN` likewise | `onnxnorm.InterChannelLRN`, between two flips of \
the channels where the window is mirrored |
| `IntraChannelLRN` | `onnxnorm.IntraChannelLRN` |
| `batch_norm` with running statistics, `instance_norm` with them | `BatchNormalization` |
| `batch_norm` on the statistics of the batch | `InstanceNormalization` with the batch among the positions |
| `instance_norm` | `InstanceNormalization` |
| `layer_norm` | `LayerNormalization` |
| `group_norm` | `GroupNormalization` from opset 21; before: Reshape, InstanceNormalization, Reshape, Mul, Add |
| `rms_norm` | `RMSNormalization` from opset 23; before: its mean square written out |

A convolution without bias is written without one; the exporter's own rule computes a bias of zeros at run time, into
which no runtime folds a BatchNormalization.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Optional, TypeAlias, TypeVar, Union

import numpy as np
import onnx_ir as ir
import onnxscript
import torch
from onnxscript import BFLOAT16, DOUBLE, FLOAT, FLOAT16

__all__ = ["translations"]

# The exporter reads the annotations below at run time, in the forms it knows: T is the type of the input, S that of the
# statistics, weight and bias. The values are the exporter's symbols, not arrays, so to a type checker they are Any.
if TYPE_CHECKING:
    T: TypeAlias = Any
    S: TypeAlias = Any
else:
    T = TypeVar("T", bound=Union[FLOAT, DOUBLE, FLOAT16, BFLOAT16])  # noqa: UP007
    S = TypeVar("S", bound=Union[FLOAT, DOUBLE, FLOAT16, BFLOAT16])  # noqa: UP007

opset18: Any = onnxscript.opset18
opset21: Any = onnxscript.opset21
opset23: Any = onnxscript.opset23

aten = torch.ops.aten


def translations(opset: int) -> dict[Any, Callable[..., Any]]:
    """Return the exporter's `custom_translation_table` for an opset."""
    table: dict[Any, Callable[..., Any]] = {
        aten._native_batch_norm_legit_no_training.default: _batch_norm,
        aten._native_batch_norm_legit.no_stats: _batch_norm_without_statistics,
        aten.instance_norm.default: _instance_norm,
        aten.layer_norm.default: _layer_norm,
        aten.conv1d.default: _conv1d,
        aten.conv2d.default: _conv2d,
        aten.conv3d.default: _conv3d,
    }
    table[aten.group_norm.default] = _group_norm if opset >= 21 else _grouped_instance_norm
    if opset >= 23:
        table[aten.rms_norm.default] = _rms_norm
    return table


def _batch_norm(
    input: T,
    weight: Optional[S],  # noqa: UP045
    bias: Optional[S],  # noqa: UP045
    running_mean: S,
    running_var: S,
    momentum: float,
    eps: float,
) -> tuple[T, S, S]:
    return _and_two_unused(_batch_normalization(input, weight, bias, running_mean, running_var, eps))


def _batch_normalization(input: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float) -> Any:
    scale, shift = (_given_or(given, value, mean.dtype, mean.shape) for given, value in ((weight, 1.0), (bias, 0.0)))
    return _first(opset18.BatchNormalization(input, scale, shift, mean, variance, epsilon=eps))


def _batch_norm_without_statistics(
    input: T,
    weight: Optional[S],  # noqa: UP045
    bias: Optional[S],  # noqa: UP045
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[T, S, S]:
    """Write BatchNormalization on the batch's statistics: the batch becomes one more position of a single sample."""
    order = [1, 0, *range(2, len(input.shape))]
    swapped = opset18.Transpose(input, perm=order)
    single = opset18.Reshape(swapped, opset18.Constant(value_ints=[1, *_static(input.shape[1:2]), -1]))
    y = opset18.InstanceNormalization(single, *_channel_affine(input, weight, bias), epsilon=eps)
    y = opset18.Transpose(opset18.Reshape(y, opset18.Shape(swapped)), perm=order)
    return _and_two_unused(y)


def _instance_norm(
    input: T,
    weight: Optional[S],  # noqa: UP045
    bias: Optional[S],  # noqa: UP045
    running_mean: Optional[S],  # noqa: UP045
    running_var: Optional[S],  # noqa: UP045
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> T:
    if not use_input_stats:
        return _batch_normalization(input, weight, bias, running_mean, running_var, eps)
    return opset18.InstanceNormalization(input, *_channel_affine(input, weight, bias), epsilon=eps)


def _layer_norm(
    input: T,
    normalized_shape: Sequence[int],
    weight: Optional[S] = None,  # noqa: UP045
    bias: Optional[S] = None,  # noqa: UP045
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> T:
    axis = -len(normalized_shape)
    scale = weight if weight is not None else _ones_of_trailing(input, axis)
    stash_type = _stash_type(input)
    return _first(opset18.LayerNormalization(input, scale, bias, axis=axis, epsilon=eps, stash_type=stash_type))


def _group_norm(
    input: T,
    num_groups: int,
    weight: Optional[S] = None,  # noqa: UP045
    bias: Optional[S] = None,  # noqa: UP045
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> T:
    scale, shift = _channel_affine(input, weight, bias)
    stash_type = _stash_type(input)
    return opset21.GroupNormalization(input, scale, shift, num_groups=num_groups, epsilon=eps, stash_type=stash_type)


def _grouped_instance_norm(
    input: T,
    num_groups: int,
    weight: Optional[S] = None,  # noqa: UP045
    bias: Optional[S] = None,  # noqa: UP045
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> T:
    """Write GroupNorm as InstanceNormalization: a group becomes a channel.

    Weight and bias follow, one for each channel.
    """
    grouped = opset18.Reshape(input, opset18.Constant(value_ints=[0, num_groups, -1]))
    ones, zeros = (_filled(value, input.dtype, [num_groups]) for value in (1.0, 0.0))
    y = opset18.Reshape(opset18.InstanceNormalization(grouped, ones, zeros, epsilon=eps), opset18.Shape(input))
    spread = opset18.Constant(value_ints=[-1, *[1] * (len(input.shape) - 2)])
    y = y if weight is None else opset18.Mul(y, opset18.Reshape(weight, spread))
    return y if bias is None else opset18.Add(y, opset18.Reshape(bias, spread))


def _rms_norm(
    input: T,
    normalized_shape: Sequence[int],
    weight: Optional[S] = None,  # noqa: UP045
    eps: Optional[float] = None,  # noqa: UP045
) -> T:
    axis = -len(normalized_shape)
    if eps is None:
        # PyTorch takes the epsilon of the type it computes in, float32 for the half types.
        eps = float(np.finfo(np.float64 if input.dtype == ir.DataType.DOUBLE else np.float32).eps)
    scale = weight if weight is not None else _ones_of_trailing(input, axis)
    return opset23.RMSNormalization(input, scale, axis=axis, epsilon=eps, stash_type=_stash_type(input))


def _conv1d(
    input: T,
    weight: T,
    bias: Optional[T] = None,  # noqa: UP045
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> T:
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def _conv2d(
    input: T,
    weight: T,
    bias: Optional[T] = None,  # noqa: UP045
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> T:
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def _conv3d(
    input: T,
    weight: T,
    bias: Optional[T] = None,  # noqa: UP045
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] = (0, 0, 0),
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
) -> T:
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv(axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    strides, pads, dilations = (list(v) if len(v) == axes else list(v) * axes for v in (stride, padding, dilation))
    single = len(input.shape) == axes + 1
    x = opset18.Unsqueeze(input, opset18.Constant(value_ints=[0])) if single else input
    y = opset18.Conv(x, weight, bias, strides=strides, pads=pads * 2, dilations=dilations, group=groups)
    return opset18.Squeeze(y, opset18.Constant(value_ints=[0])) if single else y


def _first(outputs: Any) -> Any:
    """Return Y of an operator that has more outputs, which nothing uses."""
    return outputs[0] if isinstance(outputs, Sequence) else outputs


def _and_two_unused(y: Any) -> tuple[Any, Any, Any]:
    """Return Y and two empty places: ATen's batch normalizations return the statistics for the gradient as well."""
    return y, opset18.Constant(value_floats=[]), opset18.Constant(value_floats=[])


def _channel_affine(input: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    shape = input.shape[1:2]
    return _given_or(weight, 1.0, input.dtype, shape), _given_or(bias, 0.0, input.dtype, shape)


def _given_or(tensor: Any, value: float, dtype: ir.DataType, shape: Sequence[Any]) -> Any:
    return tensor if tensor is not None else _filled(value, dtype, shape)


def _filled(value: float, dtype: ir.DataType, shape: Sequence[Any]) -> Any:
    values = np.full(_static(shape), value).astype(dtype.numpy())
    return opset18.Constant(value=ir.tensor(values, dtype=dtype))


def _ones_of_trailing(input: Any, axis: int) -> Any:
    shape = tuple(input.shape)[axis:]
    if all(isinstance(n, int) for n in shape):
        return _filled(1.0, input.dtype, shape)
    one = ir.tensor(np.ones(1, dtype=input.dtype.numpy()), dtype=input.dtype)
    return opset18.ConstantOfShape(opset18.Shape(input, start=axis), value=one)


def _static(shape: Sequence[Any]) -> list[int]:
    if not all(isinstance(n, int) for n in shape):
        raise ValueError("the number of channels of a normalization must be fixed, not dynamic")
    return [int(n) for n in shape]


def _stash_type(input: Any) -> int:
    """Return the type in which statistics are computed: double for doubles, float32 for all else."""
    return int(ir.DataType.DOUBLE if input.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT)
