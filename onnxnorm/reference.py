"""Computes every normalization by its textbook formula, in float64 NumPy: the oracle for the rest of the project.

Each function takes anything NumPy can turn into an array, computes in float64 and returns a new float64 array. Values
follow IEEE arithmetic (0/0 is NaN, 1/0 is infinity) and no NumPy warning leaves a function. Impossible shapes and
windows are an `OnnxNormError`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from onnxnorm.errors import OnnxNormError

__all__ = [
    "alexnet_lrn",
    "batch_norm",
    "batch_statistics",
    "group_norm",
    "instance_norm",
    "inter_channel_lrn",
    "intra_channel_lrn",
    "layer_norm",
    "lp_norm",
    "mean_variance_norm",
    "per_activation_batch_norm",
    "rms_norm",
]

Array = npt.NDArray[np.float64]


def _float64(values: npt.ArrayLike, what: str, *, min_rank: int = 0) -> Array:
    try:
        array = np.asarray(values).astype(np.float64, casting="same_kind" if np.iscomplexobj(values) else "unsafe")
    except (TypeError, ValueError) as error:
        raise OnnxNormError(f"{what} cannot be read as an array of real numbers: {error}") from None
    if array.ndim < min_rank:
        raise OnnxNormError(f"{what} must have rank {min_rank} or more, not shape {array.shape}")
    return array


def _axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise OnnxNormError(f"axis {axis} is out of range for rank {rank}")
    return axis % rank


def _at_least_one(value: SupportsIndex, what: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise OnnxNormError(f"{what} must be a whole number, not {value!r}") from None
    if number < 1:
        raise OnnxNormError(f"{what} must be at least 1, not {number}")
    return number


def _of_shape(values: npt.ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    array = _float64(values, what)
    if array.shape != shape:
        raise OnnxNormError(f"{what} must have shape {shape}, not {array.shape}")
    return array


def _window_sum(x: Array, axis: int, back: int, ahead: int) -> Array:
    """Sum of x[i - back .. i + ahead] along `axis`, cut at the border: every window is summed afresh."""
    length = x.shape[axis]
    if length == 0:
        return x.copy()
    back, ahead = min(back, length - 1), min(ahead, length - 1)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (back, ahead)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, padding), back + ahead + 1, axis=axis)
    return np.asarray(windows.sum(axis=-1), dtype=np.float64)


def _reach(size: int) -> tuple[int, int]:
    return (size - 1) // 2, size // 2


def inter_channel_lrn(x: npt.ArrayLike, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Array:
    """Local response normalization across channels, as ONNX `LRN` defines it.

    y[n,c,...] = x[n,c,...] / (bias + alpha / size * S) ** beta, where S is the sum of x[n,i,...]**2 over
    c - floor((size-1)/2) <= i <= c + ceil((size-1)/2), cut at the first and last channel.

    x: shape (N, C, ...), rank 2 or more. Source: ONNX operator specification, LRN-13; Krizhevsky, Sutskever and Hinton,
    "ImageNet Classification with Deep Convolutional Neural Networks" (2012), section 3.3.
    """
    values = _float64(x, "the input of inter_channel_lrn", min_rank=2)
    size = _at_least_one(size, "size")
    with np.errstate(all="ignore"):
        total = _window_sum(values**2, 1, *_reach(size))
        return np.asarray(values / (bias + alpha / size * total) ** beta)


def intra_channel_lrn(
    x: npt.ArrayLike, kernel_shape: Sequence[int], alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """Local response normalization over a spatial window within each channel.

    y = x / (bias + alpha / prod(kernel_shape) * S) ** beta, where S is the sum of x**2 over the window. Along a
    spatial axis a window of n reaches floor((n-1)/2) back and ceil((n-1)/2) ahead; it is cut at the border and the
    divisor stays prod(kernel_shape).

    x: shape (N, C, D1, ..., Dk); kernel_shape: k entries, each at least 1. Source: the WITHIN_CHANNEL region of Caffe's
    LRN layer; the even window follows ONNX `LRN`.
    """
    values = _float64(x, "the input of intra_channel_lrn", min_rank=3)
    kernel = [_at_least_one(n, "each entry of kernel_shape") for n in kernel_shape]
    if len(kernel) != values.ndim - 2:
        raise OnnxNormError(f"kernel_shape has {len(kernel)} entries and the input {values.ndim - 2} spatial axes")
    with np.errstate(all="ignore"):
        total = values**2
        for axis, n in enumerate(kernel, start=2):
            total = _window_sum(total, axis, *_reach(n))
        return np.asarray(values / (bias + alpha / math.prod(kernel) * total) ** beta)


def alexnet_lrn(x: npt.ArrayLike, n: int, k: float, alpha: float, beta: float) -> Array:
    """Local response normalization across channels, as the AlexNet paper writes it.

    b[i] = a[i] / (k + alpha * sum of a[j]**2 for j from max(0, i - n/2) to min(N - 1, i + n/2)) ** beta, with n/2
    rounded down: an even n gives a window of n + 1 channels. The paper's own constants are n = 5, k = 2, alpha = 1e-4,
    beta = 0.75.

    x: shape (N, C, ...), rank 2 or more. Source: Krizhevsky, Sutskever and Hinton (2012), section 3.3.
    """
    values = _float64(x, "the input of alexnet_lrn", min_rank=2)
    half = _at_least_one(n, "n") // 2
    with np.errstate(all="ignore"):
        return np.asarray(values / (k + alpha * _window_sum(values**2, 1, half, half)) ** beta)


def batch_norm(
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    bias: npt.ArrayLike,
    mean: npt.ArrayLike,
    variance: npt.ArrayLike,
    epsilon: float = 1e-5,
) -> Array:
    """Batch normalization with given statistics (inference), one of each for a channel.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias.

    x: shape (N, C, ...); scale, bias, mean, variance: shape (C,). Source: Ioffe and Szegedy, "Batch Normalization"
    (2015), arXiv 1502.03167; ONNX BatchNormalization-15 with training_mode = 0.
    """
    values = _float64(x, "the input of batch_norm", min_rank=2)
    channels = values.shape[1]
    broadcast = (channels,) + (1,) * (values.ndim - 2)
    g, b, m, v = (
        _of_shape(c, (channels,), what).reshape(broadcast)
        for c, what in ((scale, "scale"), (bias, "bias"), (mean, "mean"), (variance, "variance"))
    )
    with np.errstate(all="ignore"):
        return np.asarray((values - m) / np.sqrt(v + epsilon) * g + b)


def per_activation_batch_norm(
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    bias: npt.ArrayLike,
    mean: npt.ArrayLike,
    variance: npt.ArrayLike,
    epsilon: float = 1e-5,
) -> Array:
    """Batch normalization with given statistics, one of each for every position of a sample.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias.

    x: shape (N, ...), rank 2 or more; scale, bias, mean, variance: the shape of one sample, x.shape[1:]. Source: Ioffe
    and Szegedy (2015), algorithm 1 applied to each activation; ONNX BatchNormalization-7 with spatial = 0.
    """
    values = _float64(x, "the input of per_activation_batch_norm", min_rank=2)
    g, b, m, v = (
        _of_shape(c, values.shape[1:], what)
        for c, what in ((scale, "scale"), (bias, "bias"), (mean, "mean"), (variance, "variance"))
    )
    with np.errstate(all="ignore"):
        return np.asarray((values - m) / np.sqrt(v + epsilon) * g + b)


def batch_statistics(x: npt.ArrayLike, *, per_activation: bool = False) -> tuple[Array, Array]:
    """Compute the mean and the population variance that batch normalization takes of a batch.

    The divisor of the variance is the number of values.

    x: shape (N, C, ...). Per channel both results have shape (C,) and are taken over the batch and all positions; with
    `per_activation` they have shape x.shape[1:] and are taken over the batch alone. Source: Ioffe and Szegedy (2015),
    algorithm 1.
    """
    values = _float64(x, "the input of batch_statistics", min_rank=2)
    axes = (0,) if per_activation else (0, *range(2, values.ndim))
    mean, variance = _moments(values, axes)
    return mean.squeeze(axes), variance.squeeze(axes)


def _moments(values: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    count = math.prod(values.shape[a] for a in axes)
    with np.errstate(all="ignore"):
        mean = np.asarray(values.sum(axis=axes, keepdims=True) / np.float64(count))
        variance = np.asarray(((values - mean) ** 2).sum(axis=axes, keepdims=True) / np.float64(count))
    return mean, variance


def _trailing(values: npt.ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    array = _float64(values, what)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise OnnxNormError(f"{what} of shape {array.shape} does not broadcast to {shape}") from None


def layer_norm(
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Array:
    """Layer normalization over `axis` and all axes after it.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias, mean and population variance over x.shape[axis:].

    scale and bias broadcast to x. Source: Ba, Kiros and Hinton, "Layer Normalization" (2016), arXiv 1607.06450; ONNX
    LayerNormalization-17.
    """
    values = _float64(x, "the input of layer_norm", min_rank=1)
    axes = tuple(range(_axis_of(axis, values.ndim), values.ndim))
    g = _trailing(scale, values.shape, "scale")
    b = _trailing(0.0 if bias is None else bias, values.shape, "bias")
    mean, variance = _moments(values, axes)
    with np.errstate(all="ignore"):
        return np.asarray((values - mean) / np.sqrt(variance + epsilon) * g + b)


def rms_norm(x: npt.ArrayLike, scale: npt.ArrayLike, axis: int = -1, epsilon: float = 1e-5) -> Array:
    """Root mean square normalization over `axis` and all axes after it.

    y = x / sqrt(mean of x**2 over x.shape[axis:] + epsilon) * scale.

    scale broadcasts to x. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), arXiv 1910.07467;
    ONNX RMSNormalization-23, which puts epsilon under the root.
    """
    values = _float64(x, "the input of rms_norm", min_rank=1)
    axes = tuple(range(_axis_of(axis, values.ndim), values.ndim))
    g = _trailing(scale, values.shape, "scale")
    with np.errstate(all="ignore"):
        count = np.float64(math.prod(values.shape[a] for a in axes))
        return np.asarray(values / np.sqrt((values**2).sum(axis=axes, keepdims=True) / count + epsilon) * g)


def group_norm(
    x: npt.ArrayLike, num_groups: int, scale: npt.ArrayLike, bias: npt.ArrayLike, epsilon: float = 1e-5
) -> Array:
    """Group normalization: a sample's channels in `num_groups` groups, each normalized over its channels and positions.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias, with scale and bias for each channel.

    x: shape (N, C, ...), C a multiple of num_groups; scale, bias: shape (C,). Source: Wu and He, "Group Normalization"
    (2018), arXiv 1803.08494; ONNX GroupNormalization-21 (18 has a scale for each group instead).
    """
    values = _float64(x, "the input of group_norm", min_rank=2)
    samples, channels = values.shape[:2]
    groups = _at_least_one(num_groups, "num_groups")
    if channels % groups:
        raise OnnxNormError(f"{channels} channels cannot be split into {groups} equal groups")
    broadcast = (channels,) + (1,) * (values.ndim - 2)
    g, b = (_of_shape(c, (channels,), what).reshape(broadcast) for c, what in ((scale, "scale"), (bias, "bias")))
    grouped = values.reshape(samples, groups, channels // groups, *values.shape[2:])
    mean, variance = _moments(grouped, tuple(range(2, grouped.ndim)))
    with np.errstate(all="ignore"):
        return np.asarray(((grouped - mean) / np.sqrt(variance + epsilon)).reshape(values.shape) * g + b)


def instance_norm(x: npt.ArrayLike, scale: npt.ArrayLike, bias: npt.ArrayLike, epsilon: float = 1e-5) -> Array:
    """Instance normalization: each channel of each sample normalized over its positions.

    y = (x - mean) / sqrt(variance + epsilon) * scale + bias.

    x: shape (N, C, D1, ...), rank 3 or more; scale, bias: shape (C,). Source: Ulyanov, Vedaldi and Lempitsky, "Instance
    Normalization" (2016), arXiv 1607.08022; ONNX InstanceNormalization-6.
    """
    values = _float64(x, "the input of instance_norm", min_rank=3)
    return group_norm(values, max(values.shape[1], 1), scale, bias, epsilon)


def lp_norm(x: npt.ArrayLike, axis: int = -1, p: int = 2) -> Array:
    """Normalization to length 1 along `axis`: y = x / (sum of |x|**p) ** (1/p), and 0 where that length is 0.

    p: 1 or 2. Source: ONNX LpNormalization-22, which also defines the result at length 0.
    """
    values = _float64(x, "the input of lp_norm", min_rank=1)
    if p not in (1, 2):
        raise OnnxNormError(f"p must be 1 or 2, not {p!r}")
    where = _axis_of(axis, values.ndim)
    with np.errstate(all="ignore"):
        length = np.linalg.norm(values, ord=p, axis=where, keepdims=True)
        return np.where(length == 0, 0.0, values / length)


def mean_variance_norm(x: npt.ArrayLike, axes: Sequence[int] = (0, 2, 3), epsilon: float = 1e-9) -> Array:
    """Mean and variance normalization over `axes`: y = (x - mean) / (sqrt(variance) + epsilon).

    The population variance is taken about the mean. Source: ONNX MeanVarianceNormalization-13, whose function body adds
    1e-9 to the deviation (its text has no epsilon).
    """
    values = _float64(x, "the input of mean_variance_norm", min_rank=1)
    where = tuple(sorted({_axis_of(axis, values.ndim) for axis in axes}))
    mean, variance = _moments(values, where)
    with np.errstate(all="ignore"):
        return np.asarray((values - mean) / (np.sqrt(variance) + epsilon))
