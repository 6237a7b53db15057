"""The normalizations of ONNX in float64, by the formulas of `onnxnorm.reference`, for the float64 evaluator.

Where a docstring speaks of the reference, it is the reference evaluator of onnx 1.23 that the function replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference.op_run import OpRun

from onnxnorm import reference
from onnxnorm.evaluate.custom_norms import CUSTOM_NORMS

__all__ = ["NORMALIZATIONS", "Node"]

Array = npt.NDArray[Any]


class Node:
    """The facts about a node that its replacement may ask for: opset and number of outputs."""

    def __init__(self, run: OpRun) -> None:
        self.opset: int = run.run_params["opsets"].get(run.onnx_node.domain, 1)
        self.outputs: int = len(run.onnx_node.output)


def lrn(node: Node, x: Array, *, size: int, alpha: float, beta: float, bias: float) -> Array:
    """LRN, along the batch axis; the reference walks the channels (onnx issue 7805)."""
    return reference.inter_channel_lrn(x, size, alpha, beta, bias)


def intra_channel_lrn(
    node: Node, x: Array, *, kernel_shape: Sequence[int], alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """IntraChannelLRN of this project's domain, by its formula."""
    return reference.intra_channel_lrn(x, kernel_shape, alpha, beta, bias)


def inter_channel_lrn(
    node: Node, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """InterChannelLRN of this project's domain, by its formula."""
    return reference.inter_channel_lrn(x, size, alpha, beta, bias)


def batch_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    is_test: int | None = None,
    **_: Any,
) -> tuple[Array, ...]:
    """BatchNormalization; before opset 14 the reference takes the batch's own statistics, and it ignores spatial = 0.

    An older node is in training mode where it has more than one output (BatchNormalization-7 and -9) or is not marked
    `is_test` (BatchNormalization-6).
    """
    old = node.outputs > 1 if node.opset >= 7 else not is_test
    training = bool(training_mode) if node.opset >= 14 else old
    per_activation = not spatial and node.opset < 9
    if not training and not per_activation:
        # The function of `reference` checks and copies all that it is given.
        along = (x.shape[1], *(1,) * (x.ndim - 2))
        g, b, m, v = (values.reshape(along) for values in (scale, bias, mean, variance))
        return ((x - m) / np.sqrt(v + epsilon) * g + b,)
    normalize: Callable[..., Array] = reference.per_activation_batch_norm if per_activation else reference.batch_norm
    shape: tuple[int, ...] = x.shape[1:] if per_activation else (x.shape[1],)
    given = [np.reshape(values, shape) for values in (scale, bias, mean, variance)]
    if not training:
        return (normalize(x, *given, epsilon=epsilon),)
    batch_mean, batch_variance = reference.batch_statistics(x, per_activation=per_activation)
    y = normalize(x, given[0], given[1], batch_mean, batch_variance, epsilon=epsilon)
    running = (
        given[2] * momentum + batch_mean * (1 - momentum),
        given[3] * momentum + batch_variance * (1 - momentum),
    )
    return (y, *running, batch_mean, batch_variance)[: node.outputs]


def instance_normalization(node: Node, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    """InstanceNormalization, by its formula."""
    return reference.instance_norm(x, scale, bias, epsilon)


def group_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    **_: Any,
) -> Array:
    """GroupNormalization; the reference runs the schema's body, which computes in float32 (stash_type)."""
    if node.opset < 21:
        scale, bias = (np.repeat(values, x.shape[1] // num_groups) for values in (scale, bias))
    return reference.group_norm(x, num_groups, scale, bias, epsilon)


def layer_normalization(
    node: Node, x: Array, scale: Array, bias: Array | None = None, *, axis: int = -1, epsilon: float = 1e-5, **_: Any
) -> tuple[Array, ...]:
    """LayerNormalization; the reference refuses a stash_type other than 1, which has no meaning in float64."""
    y = reference.layer_norm(x, scale, bias, axis, epsilon)
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    return (y, mean, 1.0 / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + epsilon))[: node.outputs]


def rms_normalization(node: Node, x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, **_: Any) -> Array:
    """RMSNormalization; the reference refuses a stash_type other than 1, which has no meaning in float64."""
    return reference.rms_norm(x, scale, axis, epsilon)


def lp_normalization(node: Node, x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """LpNormalization; the reference takes x**p without the absolute value."""
    return reference.lp_norm(x, axis, p)


def mean_variance_normalization(node: Node, x: Array, *, axes: Sequence[int] = (0, 2, 3), **_: Any) -> Array:
    """MeanVarianceNormalization, with the variance about the mean.

    The schema's body subtracts E[x]**2 from E[x**2], whose cancellation would spoil the yardstick.
    """
    return reference.mean_variance_norm(x, axes)


NORMALIZATIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("", "BatchNormalization"): batch_normalization,
    ("", "GroupNormalization"): group_normalization,
    ("", "InstanceNormalization"): instance_normalization,
    ("", "LRN"): lrn,
    ("", "LayerNormalization"): layer_normalization,
    ("", "LpNormalization"): lp_normalization,
    ("", "MeanVarianceNormalization"): mean_variance_normalization,
    ("", "RMSNormalization"): rms_normalization,
    ("onnxnorm", "InterChannelLRN"): inter_channel_lrn,
    ("onnxnorm", "IntraChannelLRN"): intra_channel_lrn,
    **CUSTOM_NORMS,
}
"""The function for each (domain, operator)."""
