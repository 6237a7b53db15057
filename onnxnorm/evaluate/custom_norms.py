"""The normalizations of this project's domain in float64, by their formulas, for the float64 evaluator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxnorm import reference

__all__ = ["CUSTOM_NORMS", "activated"]

Array = npt.NDArray[Any]

_erf = np.frompyfunc(math.erf, 1, 1)


def activated(x: Array, activation: int, alpha: float = 0.0, beta: float = 0.0) -> Array:
    """Apply the activation of that number (`onnxnorm.ops.operators.ACTIVATIONS`)."""
    with np.errstate(all="ignore"):
        if activation == 1:
            return np.asarray(np.maximum(x, 0.0))
        if activation == 2:
            return np.asarray(x * _sigmoid(x))
        if activation == 3:
            return np.asarray(0.5 * x * (1.0 + _erf(x / np.sqrt(2.0)).astype(np.float64)))
        if activation == 4:
            return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))
        if activation == 5:
            return np.where(x < 0, alpha * x, x)
        if activation == 6:
            return np.minimum(np.maximum(x, alpha), beta)
        if activation == 7:
            return x * np.minimum(np.maximum(x / 6.0 + 0.5, 0.0), 1.0)
    return x


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def _along(values: Array, axis: int, rank: int) -> Array:
    return values.reshape((-1,) + (1,) * (rank - 1 - axis % rank))


def _finish(
    normal: Array,
    scale: Array,
    bias: Array,
    residual: Array,
    activation: int = 0,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> Array:
    with np.errstate(all="ignore"):
        return activated(normal * scale + bias + residual, activation, alpha, beta)


def group_norm(
    node: object,
    x: Array,
    scale: Array,
    bias: Array,
    residual: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    **bend: Any,
) -> Array:
    """GroupNorm: weights for all channels alike, for each group, or for each channel."""
    channels = x.shape[1]
    one = np.ones(channels)
    normal = reference.group_norm(x, num_groups, one, np.zeros(channels), epsilon)
    each = [np.repeat(values.ravel(), channels // max(values.size, 1)) for values in (scale, bias)]
    return _finish(normal, _along(each[0], 1, x.ndim), _along(each[1], 1, x.ndim), residual, **bend)


def _channel_norm(
    normalize: Callable[[Array, int, float, int], Array],
    node: object,
    x: Array,
    scale: Array,
    bias: Array,
    residual: Array,
    *,
    axis: int = 1,
    epsilon: float | None = None,
    p: int = 2,
    **bend: Any,
) -> Array:
    with np.errstate(all="ignore"):
        normal = normalize(x.astype(np.float64), axis, _default(normalize) if epsilon is None else epsilon, p)
    return _finish(normal, _along(scale, axis, x.ndim), _along(bias, axis, x.ndim), residual, **bend)


def _default(normalize: object) -> float:
    return 0.0 if normalize is _lp else 1e-5


def _layer(x: Array, axis: int, epsilon: float, p: int) -> Array:
    centred = x - x.mean(axis=axis, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=axis, keepdims=True) + epsilon))


def _rms(x: Array, axis: int, epsilon: float, p: int) -> Array:
    return np.asarray(x / np.sqrt((x**2).mean(axis=axis, keepdims=True) + epsilon))


def _lp(x: Array, axis: int, epsilon: float, p: int) -> Array:
    size = np.abs(x).sum(axis=axis, keepdims=True) if p == 1 else np.sqrt((x**2).sum(axis=axis, keepdims=True))
    size = np.maximum(size, epsilon)
    return x / np.where(size == 0, 1.0, size)


def _response(x: Array, axis: int, epsilon: float, p: int) -> Array:
    axes = tuple(i for i in range(1, x.ndim) if i != axis % x.ndim)
    length = np.sqrt((x**2).sum(axis=axes, keepdims=True))
    return np.asarray(x * (length / (length.mean(axis=axis, keepdims=True) + epsilon)))


def _itself(x: Array, axis: int, epsilon: float, p: int) -> Array:
    return x


def global_response_norm(
    node: object, x: Array, scale: Array, bias: Array, residual: Array, *, epsilon: float = 1e-6, **options: Any
) -> Array:
    """GlobalResponseNorm: the input itself is added behind the weights."""
    return _channel_norm(_response, node, x, scale, bias, x + residual, epsilon=epsilon, **options)


def mean_variance_norm(
    node: object,
    x: Array,
    scale: Array,
    bias: Array,
    residual: Array,
    *,
    axes: Sequence[int],
    epsilon: float = 1e-9,
    **bend: Any,
) -> Array:
    """MeanVarianceNorm: epsilon is added to the deviation."""
    return _finish(reference.mean_variance_norm(x, axes, epsilon), scale.ravel(), bias.ravel(), residual, **bend)


CUSTOM_NORMS: dict[tuple[str, str], Callable[..., Any]] = {
    ("onnxnorm", "GroupNorm"): group_norm,
    ("onnxnorm", "ChannelLayerNorm"): partial(_channel_norm, _layer),
    ("onnxnorm", "ChannelRMSNorm"): partial(_channel_norm, _rms),
    ("onnxnorm", "ChannelLpNorm"): partial(_channel_norm, _lp),
    ("onnxnorm", "MeanVarianceNorm"): mean_variance_norm,
    ("onnxnorm", "GlobalResponseNorm"): global_response_norm,
    ("onnxnorm", "ChannelAffine"): partial(_channel_norm, _itself),
}
"""The function for each (domain, operator)."""
