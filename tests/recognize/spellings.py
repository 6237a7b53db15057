"""Spellings of normalizations as small graphs: how exporters and people write them, with the source of each.

Each entry builds the nodes on one tensor; its oracle is the formula in `onnxnorm.reference`. `mistakes` are the same
graphs with one thing wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxnorm import reference
from testing.builder import Builder

__all__ = ["IMAGE", "SPELLINGS", "Net", "Spelling"]

EPSILON = 1e-3


class Net(Builder):
    """A builder that writes reductions as the opset has them."""

    def mean(self, x: str, *axes: int, keepdims: int = 1, op: str = "ReduceMean") -> str:
        since = 13 if op == "ReduceSum" else 18
        if self.opsets[""] >= since:
            return self.node(op, x, self.ints(*axes), keepdims=keepdims)
        return self.node(op, x, axes=list(axes), keepdims=keepdims)

    def sum(self, x: str, *axes: int, keepdims: int = 1) -> str:
        return self.mean(x, *axes, keepdims=keepdims, op="ReduceSum")

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float64))

    def unsqueeze(self, x: str, *axes: int) -> str:
        if self.opsets[""] >= 13:
            return self.node("Unsqueeze", x, self.ints(*axes))
        return self.node("Unsqueeze", x, axes=list(axes))

    def squeeze(self, x: str, *axes: int) -> str:
        if self.opsets[""] >= 13:
            return self.node("Squeeze", x, self.ints(*axes))
        return self.node("Squeeze", x, axes=list(axes))

    def pad(self, x: str, *pads: int) -> str:
        if self.opsets[""] >= 11:
            return self.node("Pad", x, self.ints(*pads), mode="constant")
        return self.node("Pad", x, pads=list(pads), mode="constant")

    def cast(self, x: str, element: int) -> str:
        return self.node("Cast", x, to=element)


@dataclass(frozen=True)
class Spelling:
    """One way to write a normalization.

    Attributes:
        write: adds the nodes to a net; is given the name of the input and returns that of the result.
        shape: of the input.
        becomes: the one node (of whatever stands beside it: `beside`).
        formula: the oracle, float64.
        opsets: at which it can be written and raised.
        mistake: the same with one thing wrong, which must stay.
        says: what the reason for leaving the mistake holds.
    """

    name: str
    write: Callable[[Net, str], str]
    shape: tuple[int, ...]
    becomes: str
    formula: Callable[[Any], Any]
    opsets: tuple[int, ...]
    mistake: Callable[[Net, str], str]
    says: str
    beside: Mapping[str, int] = field(default_factory=dict)


def gamma(n: int) -> np.ndarray:
    return np.linspace(0.5, 2, n)


def beta(n: int) -> np.ndarray:
    return np.linspace(-1, 1, n)


# --- LayerNorm --------------------------------------------------------------------------------------------------------


def _layer_norm(
    root: str = "sqrt",
    *,
    square: str = "pow",
    axes: tuple[int, ...] = (-1,),
    mean_axes: tuple[int, ...] | None = None,
    width: int = 6,
    power: float = 0.5,
    affine: bool = True,
    swapped: bool = False,
    outside: bool = False,
) -> Callable[[Net, str], str]:
    """Mean, centred square, mean, epsilon, root, quotient, scale, bias; the TorchScript exporter writes (sqrt, pow)."""

    def write(net: Net, x: str) -> str:
        centred = net.node("Sub", x, net.mean(x, *(mean_axes or axes)))
        squared = net.node("Pow", centred, net.number(2)) if square == "pow" else net.node("Mul", centred, centred)
        variance = net.mean(squared, *axes)
        epsilon = net.number(EPSILON)
        if outside:
            y = net.node("Div", centred, net.node("Add", net.node("Sqrt", variance), epsilon))
        else:
            base = net.node("Add", *((epsilon, variance) if swapped else (variance, epsilon)))
            if root == "sqrt":
                y = net.node("Div", centred, net.node("Sqrt", base))
            elif root == "rsqrt":
                factors = (net.node("Reciprocal", net.node("Sqrt", base)), centred)
                y = net.node("Mul", *(factors if swapped else factors[::-1]))
            else:
                y = net.node("Mul", centred, net.node("Pow", base, net.number(-power)))
        if not affine:
            return y
        y = net.node("Mul", *((net.constant(gamma(width)), y) if swapped else (y, net.constant(gamma(width)))))
        return net.node("Add", y, net.constant(beta(width)))

    return write


def _keras_layer_norm(net: Net, x: str, *, half: bool = False) -> str:
    """tf.nn.moments and tf.nn.batch_normalization: x * (scale * rsqrt) + (bias - mean * scale * rsqrt)."""
    mean = net.mean(x, 2)
    difference = net.node("Sub", x, mean)
    variance = net.mean(net.node("Mul", difference, difference), 2)
    inverse = net.node("Reciprocal", net.node("Sqrt", net.node("Add", variance, net.number(EPSILON))))
    inverse = net.node("Mul", inverse, net.constant(gamma(6)))
    shift = net.node("Mul", mean, inverse)
    if half:
        shift = net.node("Mul", shift, net.number(0.5))
    shift = net.node("Sub", net.constant(beta(6)), shift)
    return net.node("Add", net.node("Mul", x, inverse), shift)


def _moments_layer_norm(net: Net, x: str, *, factor: float = 1.0) -> str:
    """The variance as E[x^2] - E[x]^2."""
    mean, squares = net.mean(x, -1), net.mean(net.node("Mul", x, x), -1)
    square = net.node("Mul", mean, mean)
    if factor != 1:
        square = net.node("Mul", square, net.number(factor))
    variance = net.node("Sub", squares, square)
    root = net.node("Sqrt", net.node("Add", variance, net.number(EPSILON)))
    return net.node("Div", net.node("Sub", x, mean), root)


def _sum_layer_norm(net: Net, x: str, *, count: float = 6) -> str:
    """Means as sums over a count, dimensions dropped and put back."""
    mean = net.node("Div", net.sum(x, 2, keepdims=0), net.number(count))
    centred = net.node("Sub", x, net.unsqueeze(mean, 2))
    squares = net.sum(net.node("Mul", centred, centred), 2, keepdims=0)
    variance = net.node("Mul", net.unsqueeze(squares, 2), net.number(1 / count))
    return net.node("Div", centred, net.node("Sqrt", net.node("Add", variance, net.number(EPSILON))))


def _layer_norm_2d(net: Net, x: str, *, axis: int = 1) -> str:
    """The LayerNorm2d of ConvNeXt and of Segment Anything, over the channels of (N, C, H, W)."""
    mean = net.mean(x, 1)
    centred = net.node("Sub", x, mean)
    variance = net.mean(net.node("Pow", centred, net.number(2)), axis)
    y = net.node("Div", centred, net.node("Sqrt", net.node("Add", variance, net.number(EPSILON))))
    y = net.node("Mul", net.constant(gamma(4).reshape(4, 1, 1)), y)
    return net.node("Add", y, net.constant(beta(4).reshape(4, 1, 1)))


def layer_norm_formula(x: Any) -> Any:
    return reference.layer_norm(x, gamma(6), beta(6), epsilon=EPSILON)


def layer_norm_2d_formula(x: Any) -> Any:
    y = reference.layer_norm(np.moveaxis(x, 1, -1), gamma(4), beta(4), epsilon=EPSILON)
    return np.moveaxis(y, -1, 1)


def plain_formula(x: Any) -> Any:
    return reference.layer_norm(x, 1.0, epsilon=EPSILON)


# --- RMSNorm ----------------------------------------------------------------------------------------------------------


def _rms_norm(
    *, square: str = "pow", root: str = "rsqrt", scale_first: bool = False, outside: bool = False
) -> Callable[[Net, str], str]:
    """Llama's: weight * (x * rsqrt(mean(x ** 2) + eps)); T5's is the same."""

    def write(net: Net, x: str) -> str:
        squared = net.node("Pow", x, net.number(2)) if square == "pow" else net.node("Mul", x, x)
        mean, epsilon, weight = net.mean(squared, -1), net.number(EPSILON), net.constant(gamma(6))
        if outside:
            return net.node("Mul", weight, net.node("Div", x, net.node("Add", net.node("Sqrt", mean), epsilon)))
        base = net.node("Add", mean, epsilon)
        if root == "rsqrt":
            y = net.node("Mul", x, net.node("Reciprocal", net.node("Sqrt", base)))
        elif root == "div":
            numerator = net.node("Mul", x, weight) if scale_first else x
            y = net.node("Div", numerator, net.node("Sqrt", base))
            if scale_first:
                return y
        else:
            y = net.node("Mul", x, net.node("Pow", base, net.number(-0.5)))
        return net.node("Mul", weight, y)

    return write


def rms_formula(x: Any) -> Any:
    return reference.rms_norm(x, gamma(6), epsilon=EPSILON)


# --- InstanceNorm, MeanVarianceNormalization --------------------------------------------------------------------------


def _instance_norm(*, variance_axes: tuple[int, ...] = (2, 3), pooled: bool = False) -> Callable[[Net, str], str]:
    def write(net: Net, x: str) -> str:
        mean = net.node("GlobalAveragePool", x) if pooled else net.mean(x, 2, 3)
        centred = net.node("Sub", x, mean)
        variance = net.mean(net.node("Mul", centred, centred), *variance_axes)
        y = net.node("Div", centred, net.node("Sqrt", net.node("Add", variance, net.number(EPSILON))))
        y = net.node("Mul", y, net.constant(gamma(4).reshape(1, 4, 1, 1)))
        return net.node("Add", y, net.constant(beta(4).reshape(4, 1, 1)))

    return write


def instance_formula(x: Any) -> Any:
    return reference.instance_norm(x, gamma(4), beta(4), EPSILON)


def _mean_variance(epsilon: float) -> Callable[[Net, str], str]:
    """The function body of ONNX's own operator."""

    def write(net: Net, x: str) -> str:
        mean, squares = net.mean(x, 0, 2, 3), net.mean(net.node("Pow", x, net.number(2)), 0, 2, 3)
        variance = net.node("Sub", squares, net.node("Pow", mean, net.number(2)))
        deviation = net.node("Add", net.node("Sqrt", variance), net.number(epsilon))
        return net.node("Div", net.node("Sub", x, mean), deviation)

    return write


# --- GroupNorm --------------------------------------------------------------------------------------------------------


def _group_norm(*, groups: int = 2, batch: int = 0) -> Callable[[Net, str], str]:
    """What the TorchScript exporter and Paddle2ONNX write: an InstanceNormalization of the reshaped tensor."""

    def write(net: Net, x: str) -> str:
        grouped = net.node("Reshape", x, net.ints(batch, groups, -1))
        ones, zeros = net.constant(np.ones(groups)), net.constant(np.zeros(groups))
        y = net.node("InstanceNormalization", grouped, ones, zeros, epsilon=EPSILON)
        y = net.node("Reshape", y, net.ints(2, 4, 3, 5))
        y = net.node("Mul", y, net.constant(gamma(4).reshape(4, 1, 1)))
        return net.node("Add", y, net.constant(beta(4).reshape(4, 1, 1)))

    return write


def _group_norm_by_hand(net: Net, x: str, *, axes: tuple[int, ...] = (2, 3, 4)) -> str:
    """The reshaped tensor normalized step by step."""
    grouped = net.node("Reshape", x, net.ints(2, 2, 2, 3, 5))
    mean = net.mean(grouped, *axes)
    centred = net.node("Sub", grouped, mean)
    variance = net.mean(net.node("Mul", centred, centred), *axes)
    y = net.node("Div", centred, net.node("Sqrt", net.node("Add", variance, net.number(EPSILON))))
    y = net.node("Reshape", y, net.ints(2, 4, 3, 5))
    y = net.node("Mul", y, net.constant(gamma(4).reshape(4, 1, 1)))
    return net.node("Add", y, net.constant(beta(4).reshape(4, 1, 1)))


def group_formula(x: Any) -> Any:
    return reference.group_norm(x, 2, gamma(4), beta(4), EPSILON)


# --- L1 and L2 --------------------------------------------------------------------------------------------------------


def _lp(kind: str, bound: float | None = None, *, positive: bool = True) -> Callable[[Net, str], str]:
    """Of a vector that cannot be all zero: there alone the quotient is what the operator computes."""

    def write(net: Net, x: str) -> str:
        if positive:
            x = net.node("Max", x, net.number(POSITIVE))
        if kind == "reduce":
            length = net.node("ReduceL2", x, axes=[1], keepdims=1)
        elif kind == "l1":
            length = net.sum(net.node("Abs", x), 1)
        else:
            length = net.node("Sqrt", net.sum(net.node("Mul", x, x), 1))
        if bound is not None:
            length = net.node("Max", length, net.number(bound))
        return net.node("Div", x, length)

    return write


POSITIVE = 0.25


def lp_formula(p: int) -> Callable[[Any], Any]:
    return lambda x: reference.lp_norm(np.maximum(x, POSITIVE), 1, p)


# --- LRN --------------------------------------------------------------------------------------------------------------

SIZE, ALPHA, BETA, BIAS = 3, 0.3, 0.75, 2.0


def lrn_formula(x: Any) -> Any:
    return reference.inter_channel_lrn(x, SIZE, ALPHA, BETA, BIAS)


def intra_formula(x: Any) -> Any:
    return reference.intra_channel_lrn(x, (3, 3), ALPHA, BETA, BIAS)


def _divided(net: Net, x: str, mean: str, ending: str = "pow", alpha: float = ALPHA) -> str:
    base = net.node("Add", net.node("Mul", mean, net.number(alpha)), net.number(BIAS))
    if ending == "pow":
        return net.node("Div", x, net.node("Pow", base, net.number(BETA)))
    if ending == "negative":
        return net.node("Mul", x, net.node("Pow", base, net.number(-BETA)))
    root = net.node("Sqrt", base)
    return net.node("Div", x, net.node("Mul", root, net.node("Sqrt", root)))


def _lrn_pool(ending: str = "pow", *, counted: int = 1, ahead: int = 1) -> Callable[[Net, str], str]:
    """torch's, as its dynamo exporter writes it: the channels as one spatial axis of an average pool."""

    def write(net: Net, x: str) -> str:
        squares = net.node("Mul", x, x)
        planes = net.node("Reshape", squares, net.ints(2, 1, 4, 3, 5))
        if counted:
            planes = net.pad(planes, 0, 0, 1, 0, 0, 0, 0, ahead, 0, 0)
            mean = net.node("AveragePool", planes, kernel_shape=[2 + ahead, 1, 1])
        else:
            mean = net.node("AveragePool", planes, kernel_shape=[3, 1, 1], pads=[1, 0, 0, 1, 0, 0])
        return _divided(net, x, net.squeeze(mean, 1), ending)

    return write


def _lrn_band(net: Net, x: str, *, gap: bool = False) -> str:
    """A 1x1 convolution over the squares whose matrix is a band."""
    offsets = np.arange(4)[None] - np.arange(4)[:, None]
    band = (np.abs(offsets) <= 1).astype(np.float64) / SIZE
    if gap:
        band[0, 0] = 0
    sums = net.node("Conv", net.node("Pow", x, net.number(2)), net.constant(band[:, :, None, None]))
    return _divided(net, x, sums)


def _lrn_slices(net: Net, x: str, *, starts: tuple[int, ...] = (0, 1, 2)) -> str:
    """The sum of three slices of the padded squares."""
    padded = net.pad(net.node("Mul", x, x), 0, 1, 0, 0, 0, 1, 0, 0)
    slices = [net.node("Slice", padded, net.ints(n), net.ints(n + 4), net.ints(1)) for n in starts]
    total = net.node("Add", net.node("Add", slices[0], slices[1]), slices[2])
    return _divided(net, x, total, alpha=ALPHA / SIZE)


def _lrn_cumsum(net: Net, x: str, *, before: int = 2) -> str:
    """The difference of cumulated sums of the padded squares."""
    padded = net.pad(net.node("Mul", x, x), 0, before, 0, 0, 0, 3 - before, 0, 0)
    sums = net.node("CumSum", padded, net.constant(np.array(1, np.int32), dtype=np.int32))
    high, low = (net.node("Slice", sums, net.ints(n), net.ints(n + 4), net.ints(1)) for n in (3, 0))
    return _divided(net, x, net.node("Sub", high, low), alpha=ALPHA / SIZE)


def _lrn_exclusive(net: Net, x: str, *, low: int = 0) -> str:
    """The same by sums that leave out the position itself, and a factor on the difference."""
    padded = net.pad(net.node("Pow", x, net.number(2)), 0, 1, 0, 0, 0, 2, 0, 0)
    sums = net.node("CumSum", padded, net.constant(np.array(-3, np.int64), dtype=np.int64), exclusive=1)
    high, below = (net.node("Slice", sums, net.ints(n), net.ints(n + 4), net.ints(1)) for n in (3, low))
    return _divided(net, x, net.node("Mul", net.node("Sub", high, below), net.number(1 / SIZE)))


def _lrn_concat(net: Net, x: str, *, op: str = "ReduceSum", starts: tuple[int, ...] = (0, 1, 2)) -> str:
    """Slices of the squares between zeros, side by side along a new axis, summed up over it."""
    zeros = net.constant(np.zeros((2, 1, 3, 5)))
    padded = net.node("Concat", zeros, net.node("Mul", x, x), zeros, axis=1)
    slices = [net.node("Slice", padded, net.ints(n), net.ints(n + 4), net.ints(1)) for n in starts]
    stacked = net.node("Concat", *(net.unsqueeze(each, 4) for each in slices), axis=-1)
    total = net.mean(stacked, 4, keepdims=0, op=op)
    return _divided(net, x, total, alpha=ALPHA / SIZE if op == "ReduceSum" else ALPHA)


def _intra_pool(net: Net, x: str, *, pads: tuple[int, int, int, int] = (1, 1, 1, 1), counted: int = 1) -> str:
    squares = net.node("Mul", x, x)
    mean = net.node("AveragePool", squares, kernel_shape=[3, 3], pads=list(pads), count_include_pad=counted)
    return _divided(net, x, mean)


def _intra_conv(net: Net, x: str, *, uneven: bool = False) -> str:
    """A depthwise convolution of ones."""
    weight = np.ones((4, 1, 3, 3))
    if uneven:
        weight[0, 0, 1, 1] = 2
    squares = net.node("Mul", x, x)
    sums = net.node("Conv", squares, net.constant(weight), group=4, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    return _divided(net, x, sums, alpha=ALPHA / 9)


# --- batch norm -------------------------------------------------------------------------------------------------------


def _statistics() -> tuple[np.ndarray, ...]:
    return gamma(4), beta(4), np.linspace(-0.5, 0.7, 4), np.linspace(0.3, 2, 4)


def batch_formula(x: Any) -> Any:
    return reference.batch_norm(x, *_statistics(), EPSILON)


def _batch_norm(net: Net, x: str, *, tall: bool = False) -> str:
    """Sub, Div, Mul, Add, the deviation computed at run time from the constant variance."""
    scale, bias, mean, variance = (net.constant(s.reshape(-1, 1, 1)) for s in _statistics())
    if tall:
        mean = net.constant(np.linspace(0, 1, 3).reshape(3, 1))
    deviation = net.node("Sqrt", net.node("Add", variance, net.number(EPSILON)))
    y = net.node("Div", net.node("Sub", x, mean), deviation)
    return net.node("Add", net.node("Mul", y, scale), bias)


def _frozen_batch_norm(net: Net, x: str, *, tall: bool = False) -> str:
    """torchvision's FrozenBatchNorm2d: x * scale + bias, both computed from the statistics."""
    scale, bias, mean, variance = (net.node("Reshape", net.constant(s), net.ints(1, -1, 1, 1)) for s in _statistics())
    if tall:
        bias = net.constant(np.linspace(0, 1, 3).reshape(3, 1))
    inverse = net.node("Reciprocal", net.node("Sqrt", net.node("Add", variance, net.number(EPSILON))))
    factor = net.node("Mul", scale, inverse)
    shift = net.node("Sub", bias, net.node("Mul", mean, factor))
    return net.node("Add", net.node("Mul", x, factor), shift)


IMAGE, TOKENS = (2, 4, 3, 5), (2, 3, 6)
SINCE_17 = (17, 18, 19, 20, 21, 22, 23)
SINCE_7 = (9, 11, 13, 15, *SINCE_17)

SPELLINGS: tuple[Spelling, ...] = (
    Spelling("TorchScript LayerNorm", _layer_norm(), TOKENS, "LayerNormalization", layer_norm_formula, SINCE_17,
             _layer_norm("power", power=0.4), "-0.4"),
    Spelling("Mul for the square, rsqrt", _layer_norm("rsqrt", square="mul"), TOKENS, "LayerNormalization",
             layer_norm_formula, SINCE_17, _layer_norm("rsqrt", square="mul", mean_axes=(1, 2)), "the variance over"),
    Spelling("operands swapped", _layer_norm("rsqrt", swapped=True), TOKENS, "LayerNormalization", layer_norm_formula,
             SINCE_17, _layer_norm(outside=True), "deviation, not under the root"),
    Spelling("Pow for the root, positive axis", _layer_norm("power", axes=(2,)), TOKENS, "LayerNormalization",
             layer_norm_formula, SINCE_17, _layer_norm("power", axes=(2,), mean_axes=(1,)), "the variance over"),
    Spelling("Keras LayerNormalization", _keras_layer_norm, TOKENS, "LayerNormalization", layer_norm_formula, SINCE_17,
             lambda net, x: _keras_layer_norm(net, x, half=True), "scaled in another way"),
    Spelling("E[x^2] - E[x]^2", _moments_layer_norm, TOKENS, "LayerNormalization", plain_formula, SINCE_17,
             lambda net, x: _moments_layer_norm(net, x, factor=0.9), ""),
    Spelling("sums over a count", _sum_layer_norm, TOKENS, "LayerNormalization", plain_formula, SINCE_17,
             lambda net, x: _sum_layer_norm(net, x, count=5), ""),
    Spelling("LayerNorm2d", _layer_norm_2d, IMAGE, "LayerNormalization", layer_norm_2d_formula, SINCE_17,
             lambda net, x: _layer_norm_2d(net, x, axis=2), "the variance over", {"Transpose": 2}),
    Spelling("llama RMSNorm", _rms_norm(), TOKENS, "RMSNormalization", rms_formula, (23,),
             _rms_norm(outside=True), "added to the root"),
    Spelling("RMSNorm by Div", _rms_norm(square="mul", root="div"), TOKENS, "RMSNormalization", rms_formula, (23,),
             _rms_norm(square="mul", outside=True), "added to the root"),
    Spelling("RMSNorm, scaled first", _rms_norm(root="div", scale_first=True), TOKENS, "RMSNormalization", rms_formula,
             (23,), _rms_norm(outside=True), "added to the root"),
    Spelling("RMSNorm by Pow", _rms_norm(root="power"), TOKENS, "RMSNormalization", rms_formula, (23,),
             _rms_norm(outside=True), "added to the root"),
    Spelling("InstanceNorm", _instance_norm(), IMAGE, "InstanceNormalization", instance_formula, SINCE_7,
             _instance_norm(variance_axes=(1, 2, 3)), "the variance over"),
    Spelling("InstanceNorm by pooling", _instance_norm(pooled=True), IMAGE, "InstanceNormalization", instance_formula,
             SINCE_7, _instance_norm(pooled=True, variance_axes=(3,)), "the variance over"),
    Spelling("MeanVarianceNormalization", _mean_variance(1e-9), IMAGE, "MeanVarianceNormalization",
             reference.mean_variance_norm, SINCE_7, _mean_variance(1e-3), "added to the deviation"),
    Spelling("GroupNorm by InstanceNorm", _group_norm(), IMAGE, "GroupNormalization", group_formula, (21, 23),
             _group_norm(groups=4, batch=1), "", {}),
    Spelling("GroupNorm by hand", _group_norm_by_hand, IMAGE, "GroupNormalization", group_formula, (21, 23),
             lambda net, x: _group_norm_by_hand(net, x, axes=(2, 4)), "it is over axes"),
    Spelling("GroupNorm with a group for each channel", _group_norm(groups=4), IMAGE, "InstanceNormalization",
             instance_formula, SINCE_7, _group_norm(groups=4, batch=1), ""),
    Spelling("L2 by ReduceL2", _lp("reduce"), TOKENS, "LpNormalization", lp_formula(2),
             (9, 13), _lp("reduce", 1e-12), "held above 1e-12", {"Max": 1}),
    Spelling("L2 by ReduceL2 of what may be zero", _lp("reduce"), TOKENS, "LpNormalization", lp_formula(2),
             (9, 13), _lp("reduce", positive=False), "0/0", {"Max": 1}),
    Spelling("L2 by a root", _lp("root"), TOKENS, "LpNormalization", lp_formula(2), SINCE_7,
             _lp("root", 1e-12), "held above 1e-12", {"Max": 1}),
    Spelling("L1", _lp("l1"), TOKENS, "LpNormalization", lp_formula(1), SINCE_7,
             _lp("l1", 1e-12), "held above 1e-12", {"Max": 1}),
    Spelling("LRN by AveragePool", _lrn_pool(), IMAGE, "LRN", lrn_formula, SINCE_7,
             _lrn_pool(counted=0), "inside the border"),
    Spelling("LRN with a negative power", _lrn_pool("negative"), IMAGE, "LRN", lrn_formula, SINCE_7,
             _lrn_pool("negative", ahead=3), "3 ahead"),
    Spelling("LRN by roots", _lrn_pool("roots"), IMAGE, "LRN", lrn_formula, SINCE_7,
             _lrn_pool("roots", ahead=3), "3 ahead"),
    Spelling("LRN by a banded convolution", _lrn_band, IMAGE, "LRN", lrn_formula, SINCE_7,
             lambda net, x: _lrn_band(net, x, gap=True), ""),
    Spelling("LRN by slices", _lrn_slices, IMAGE, "LRN", lrn_formula, (11, 13, 18, 23),
             lambda net, x: _lrn_slices(net, x, starts=(0, 1, 1)), "weighted"),
    Spelling("LRN by cumulated sums", _lrn_cumsum, IMAGE, "LRN", lrn_formula, (11, 13, 18, 23),
             lambda net, x: _lrn_cumsum(net, x, before=3), "2 channels back and 0 ahead"),
    Spelling("LRN by exclusive cumulated sums", _lrn_exclusive, IMAGE, "LRN", lrn_formula, (11, 13, 18, 23),
             lambda net, x: _lrn_exclusive(net, x, low=1), ""),
    Spelling("LRN by Concat and ReduceSum", _lrn_concat, IMAGE, "LRN", lrn_formula, (11, 13, 18, 23),
             lambda net, x: _lrn_concat(net, x, starts=(0, 1, 1)), "weighted"),
    Spelling("LRN by Concat and ReduceMean", lambda net, x: _lrn_concat(net, x, op="ReduceMean"), IMAGE, "LRN",
             lrn_formula, (11, 13, 18, 23), lambda net, x: _lrn_concat(net, x, op="ReduceL2"), "side by side"),
    Spelling("intra-channel LRN by AveragePool", _intra_pool, IMAGE, "IntraChannelLRN", intra_formula, (15, 18, 21, 23),
             lambda net, x: _intra_pool(net, x, counted=0), "inside the border"),
    Spelling("intra-channel LRN by Conv", _intra_conv, IMAGE, "IntraChannelLRN", intra_formula, (15, 18, 21, 23),
             lambda net, x: _intra_conv(net, x, uneven=True), ""),
    Spelling("batch norm written out", _batch_norm, IMAGE, "BatchNormalization", batch_formula, SINCE_7,
             lambda net, x: _batch_norm(net, x, tall=True), ""),
    Spelling("FrozenBatchNorm2d", _frozen_batch_norm, IMAGE, "BatchNormalization", batch_formula, SINCE_7,
             lambda net, x: _frozen_batch_norm(net, x, tall=True), ""),
)  # fmt: skip
