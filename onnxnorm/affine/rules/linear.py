"""Convolutions and matrix products: an affine before or after them goes into their constants.

Conv, before (b) and after (a) the node, W of shape (M, C/group, k...), every sum over one output channel m:
    a(W * b(x) + B) = (a_s W b_s) * x + a_s (B + sum W b_t) + a_t
The sum over W b_t holds where the whole window lies on the input: a zero from padding is not shifted. So a shift before
a padded convolution is declined. ConvTranspose's windows never lie wholly on the input at the border, and overlap
between its strides: a shift before it is declined as well. The rest holds for every stride, dilation and padding.
MatMul and Gemm are the same without windows; MatMul has no bias, so a shift goes on to its output.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.site import Answer, Constant, Declined, Demands, Edit, Settled, Site

__all__ = ["conv", "conv_transpose", "gemm", "matmul"]

_NO_INVERSE = "would have to undo a scale of zero"


def _vectors(affine: ChannelAffine | None, axis: int, extent: int) -> tuple[FloatArray, FloatArray] | Declined:
    """Scale and shift per channel, or why they are not to be had."""
    if affine is None:
        return Declined(_NO_INVERSE)
    vectors = affine.along_axis(axis, extent)
    if vectors is None:
        return Declined(f"mixes channels (axis {axis}), the affine varies along axis {affine.axes}")
    return vectors


def _columns(vector: FloatArray, rank: int) -> FloatArray:
    return vector.reshape((-1,) + (1,) * (rank - 1))


def _window_reads_padding(site: Site, spatial: tuple[int, ...]) -> bool:
    if site.text("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return any(extent > 1 for extent in spatial)
    if site.text("auto_pad", "NOTSET") == "VALID":
        return False
    return any(site.integers("pads") or ())


def conv(site: Site) -> Answer:
    weight = site.constant(1)
    if weight is None:
        return Declined("has a weight that is not constant")
    bias = site.constant64(2)
    if site.input(2) is not None and bias is None:
        return Declined("has a bias that is not constant")
    rank, group = weight.ndim, site.integer("group", 1)
    outputs, channels = weight.shape[0], weight.shape[1] * group
    before = _vectors(site.before(0, rank), 1, channels)
    if isinstance(before, Declined):
        return before
    after = _vectors(site.after(rank), 1, outputs)
    if isinstance(after, Declined):
        return after
    if np.any(before[1] != 0.0) and _window_reads_padding(site, weight.shape[2:]):
        return Declined("pads its input with zeros, and a shift before zero padding is not the same after it")

    def new_weight() -> FloatArray:
        per_group = before[0].reshape(group, 1, -1)
        scales = np.broadcast_to(per_group, (group, outputs // group, weight.shape[1])).reshape(outputs, -1)
        result = np.asarray(weight, np.float64) * scales.reshape(weight.shape[:2] + (1,) * (rank - 2))
        return result * _columns(after[0], rank)

    def new_bias() -> FloatArray:
        total = np.zeros(outputs) if bias is None else bias
        if np.any(before[1] != 0.0):
            taps = np.asarray(weight, np.float64).reshape(outputs, weight.shape[1], -1).sum(axis=2)
            shifts = np.repeat(before[1].reshape(group, -1), outputs // group, axis=0)
            total = total + (taps * shifts).sum(axis=1)
        return total * after[0] + after[1]

    return _with_weight_and_bias(site, new_weight, new_bias, before, after, channel_axis=0)


def conv_transpose(site: Site) -> Answer:
    weight = site.constant(1)
    if weight is None:
        return Declined("has a weight that is not constant")
    bias = site.constant64(2)
    if site.input(2) is not None and bias is None:
        return Declined("has a bias that is not constant")
    rank, group = weight.ndim, site.integer("group", 1)
    channels, outputs = weight.shape[0], weight.shape[1] * group
    before = _vectors(site.before(0, rank), 1, channels)
    if isinstance(before, Declined):
        return before
    after = _vectors(site.after(rank), 1, outputs)
    if isinstance(after, Declined):
        return after
    if np.any(before[1] != 0.0):
        return Declined("adds up overlapping windows, so a shift before it is not one shift after it")

    def new_weight() -> FloatArray:
        # Output channel g * (M/group) + j is column j of the rows of group g.
        per_group = after[0].reshape(group, 1, -1)
        scales = np.broadcast_to(per_group, (group, channels // group, weight.shape[1])).reshape(channels, -1)
        result = np.asarray(weight, np.float64) * scales.reshape(weight.shape[:2] + (1,) * (rank - 2))
        return result * _columns(before[0], rank)

    def new_bias() -> FloatArray:
        return (np.zeros(outputs) if bias is None else bias) * after[0] + after[1]

    return _with_weight_and_bias(site, new_weight, new_bias, before, after, channel_axis=None)


def _with_weight_and_bias(
    site: Site,
    weight: object,
    bias: object,
    before: tuple[FloatArray, FloatArray],
    after: tuple[FloatArray, FloatArray],
    *,
    channel_axis: int | None,
) -> Settled:
    assert callable(weight) and callable(bias)
    has_bias = site.input(2) is not None
    keep_bias = not np.any(before[1]) and not np.any(after[1]) and (not has_bias or bool(np.all(after[0] == 1.0)))
    keep_weight = bool(np.all(before[0] == 1.0) and np.all(after[0] == 1.0))
    dtype = site.dtype(1)
    new_weight = Constant("weight", weight, dtype, channel_axis, old=site.input(1))
    inputs: tuple[int | Constant | None, ...] = (0, 1 if keep_weight else new_weight)
    if not keep_bias:
        inputs += (Constant("bias", bias, dtype, old=site.input(2)),)
    elif has_bias:
        inputs += (2,)
    return Settled(Edit(inputs, what="absorbs"))


def matmul(site: Site) -> Answer:
    left, right = site.constant(0), site.constant(1)
    if (left is None) == (right is None):
        return Declined("multiplies two values that both depend on the input")
    data = 1 if right is None else 0
    constant = left if right is None else right
    value, output = site.input(data), site.output()
    assert value is not None and constant is not None
    rank, out_rank = site.facts.rank(value), site.facts.rank(output)
    is_matrix = constant.ndim >= 2 and constant.size == constant.shape[-1] * constant.shape[-2]
    if rank is None or out_rank != rank or rank < constant.ndim or not is_matrix:
        return Declined("multiplies by a constant that is no plain matrix, or a value whose rank is not known")
    # Contraction runs along the last axis of the left and the last but one of the right operand.
    axis = rank - 1 if data == 0 else rank - 2
    inner, outer = constant.shape[-2:] if data == 0 else constant.shape[:-3:-1]
    gauge_out = site.gauge_out()
    before = _vectors(site.before(data, rank), axis, inner)
    if isinstance(before, Declined):
        return before
    after_gauge = site.after(rank)
    matrix = np.asarray(constant, np.float64).reshape(constant.shape[-2:])
    oriented = matrix if data == 0 else matrix.T
    shift_out = before[1] @ oriented if np.any(before[1]) else np.zeros(outer)
    wanted = Gauge.old(ChannelAffine.along(axis, np.ones(outer), shift_out, rank))
    if gauge_out is None:
        return _matmul_edit(site, data, before[0], np.ones(outer), site.demand(output, wanted))
    after = _vectors(after_gauge, axis, outer)
    if isinstance(after, Declined):
        return after
    left_over = after[0] * shift_out + after[1]
    if not np.allclose(left_over, 0.0, rtol=0.0, atol=1e-13 * np.abs(after[1]).max(initial=1e-300)):
        if rank != 2 or data != 0:
            return Declined("has no bias that could take the shift")
        return _matmul_as_gemm(site, before[0], after[0], left_over, oriented)
    return _matmul_edit(site, data, before[0], after[0], ())


def _scaled_matrix(constant: FloatArray, before: FloatArray, after: FloatArray, *, transposed: bool) -> FloatArray:
    factors = after[:, None] * before[None, :] if transposed else before[:, None] * after[None, :]
    return constant * factors.reshape(constant.shape)


def _matmul_edit(site: Site, data: int, before: FloatArray, after: FloatArray, demands: Demands) -> Settled:
    if np.all(before == 1.0) and np.all(after == 1.0):
        return Settled(None, demands)
    index = 1 - data
    matrix = site.constant64(index)
    assert matrix is not None
    compute = partial(_scaled_matrix, matrix, before, after, transposed=data == 1)
    new = Constant("weight", compute, site.dtype(index), channel_axis=1 if data == 0 else 0, old=site.input(index))
    return Settled(Edit((0, new) if data == 0 else (new, 1), what="absorbs"), demands)


def _matmul_as_gemm(site: Site, before: FloatArray, after: FloatArray, bias: FloatArray, matrix: FloatArray) -> Settled:
    weight = Constant(
        "weight",
        partial(_scaled_matrix, matrix, before, after, transposed=False),
        site.dtype(1),
        channel_axis=1,
        old=site.input(1),
    )
    return Settled(Edit((0, weight, Constant("bias", lambda: bias, site.dtype(1))), op_type="Gemm", what="absorbs"))


def gemm(site: Site) -> Answer:
    matrix = site.constant64(1)
    if matrix is None:
        return Declined("has a second factor that is not constant")
    alpha, beta = site.number("alpha", 1.0), site.number("beta", 1.0)
    has_bias = site.input(2) is not None and beta != 0.0
    bias = site.constant64(2) if has_bias else None
    if has_bias and bias is None:
        return Declined("adds a value that is not constant")
    transposed = bool(site.integer("transB", 0))
    inner, outer = matrix.shape[::-1] if transposed else matrix.shape
    before = _vectors(site.before(0, 2), 0 if site.integer("transA", 0) else 1, inner)
    if isinstance(before, Declined):
        return before
    after = _vectors(site.after(2), 1, outer)
    if isinstance(after, Declined):
        return after
    oriented = matrix.T if transposed else matrix

    def new_bias() -> FloatArray:
        total = alpha * (before[1] @ oriented)
        return (total if bias is None else total + beta * bias) * after[0] + after[1]

    dtype = site.dtype(1)
    compute = partial(_scaled_matrix, matrix, before[0], after[0], transposed=transposed)
    weight = Constant("weight", compute, dtype, channel_axis=0 if transposed else 1, old=site.input(1))
    keep_weight = bool(np.all(before[0] == 1.0) and np.all(after[0] == 1.0))
    inputs: tuple[int | Constant | None, ...] = (0, 1 if keep_weight else weight)
    inputs += (Constant("bias", new_bias, dtype, old=site.input(2)),)
    return Settled(Edit(inputs, attributes={"beta": ir.AttrFloat32("beta", 1.0)}, what="absorbs"))
