"""Convolutions: an affine before or after them goes into their weight and bias.

Before (b) and after (a) the node, W of shape (M, C/group, k...), every sum over one output channel m:
    a(W * b(x) + B) = (a_s W b_s) * x + a_s (B + W * b_t) + a_t
W * b_t is one number for each output channel where the whole window lies on the input. A zero from padding is not
shifted, and the windows of ConvTranspose overlap between its strides: there W * b_t differs from place to place. Where
the extents are known it is computed for every place and goes on as a shift of the output that varies over space.
A weight or bias that is no constant (quantized, or computed) takes what it has to take as an affine of its own.
All of this holds for every group, stride, dilation and padding.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Cause, Constant, Declined, Demands, Edit, Scaling, Settled, Site
from onnxnorm.affine.rules.windows import static_space, window_of
from onnxnorm.graph.windows import PlacedWindow
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import all_of, any_of

__all__ = ["conv", "conv_transpose", "deform_conv"]

_NO_INVERSE = "would have to undo a scale of zero"
_PADDED = "pads its input with zeros, and a shift before zero padding is not the same after it"
_OF_UNKNOWN_EXTENT = "pads an input of unknown height or width with zeros, so no shift passes it"
_OVERLAPS = "adds up overlapping windows, so a shift before it is not one shift after it"
_OVERLAPS_UNKNOWN = "adds up overlapping windows of an input of unknown height or width, so no shift passes it"
# Multiply-adds that a shift for every place may take to compute: one of the same shift all over the input, which the
# border alone changes, and one that differs from place to place, where the next question may ask for as much again.
_MAX_WORK = 2**30
_MAX_WORK_EVERYWHERE = 2**24
# Pairs of channels; a shape can say more than there ever will be elements.
_MAX_WEIGHT = 2**30


def conv(site: Site) -> Answer:
    """Conv: affines on either side go into weight and bias."""
    return _convolution(site, transposed=False)


def conv_transpose(site: Site) -> Answer:
    """ConvTranspose: affines on either side go into weight and bias."""
    return _convolution(site, transposed=True)


def deform_conv(site: Site) -> Answer:
    """DeformConv: only a scale passes from the input.

    Samples lie between places and beyond the border, where they are zero.
    """
    if any(site.gauge_in(index) is not None for index in (2, 4)):
        return Declined("takes it for an offset or a mask")
    gauge = site.gauge_in(0)
    if gauge is not None and gauge.shifts:
        return Declined(
            "samples zeros beyond the border, and a shift before them is not the same after it",
            Cause.SHIFT,
            code=Code.ZERO_PADDING,
        )
    return _convolution(site, transposed=False, bias=3)


def _convolution(site: Site, *, transposed: bool, bias: int = 2) -> Answer:
    shape = site.shape_in(1)
    if shape is None or len(shape) < 3 or not all(isinstance(extent, int) for extent in shape[:2]):
        return Declined("has a weight whose shape is not known", code=Code.UNKNOWN_SHAPE)
    rank, group = len(shape), site.integer("group", 1)
    first, second = int(shape[0] or 0), int(shape[1] or 0)
    if first % group:
        return Declined("has a weight that its groups do not divide", code=Code.UNDEFINED)
    channels, outputs = (first, second * group) if transposed else (second * group, first)
    before, after = site.before(0, rank), site.after(rank)
    if before is None or after is None:
        return Declined(_NO_INVERSE, code=Code.ZERO_SCALE)
    if before.rank != rank or after.rank != rank:
        return Declined("has a weight of another rank than its input", code=Code.UNDEFINED)
    if before.scale.shape[1] not in (1, channels) or after.scale.shape[1] not in (1, outputs):
        return Declined("has another number of channels than the affine", code=Code.UNDEFINED)
    scaling = before.scaling()
    if any(axis != 1 for axis in scaling.axes):
        return Declined(f"mixes channels (axis 1), the affine varies along axis {before.axes}", code=Code.OTHER_AXIS)
    spread = _shift_of_output(site, before, group, rank, transposed=transposed)
    if isinstance(spread, Declined):
        return spread
    columns = scaling.scale.reshape(-1)
    if spread is not None and site.gauge_out() is None and not _per_channel(spread):
        # What differs from place to place goes on to the output, all else into the bias.
        inner = _middle(spread)
        demanded = Gauge.old(ChannelAffine.of(1.0, spread - inner, rank))
        edits = _edited(
            site, columns, np.ones(outputs), inner.reshape(-1), group, outputs, transposed=transposed, at=bias
        )
        if isinstance(edits, Declined):
            return edits
        return Settled(edits.edit, edits.demands + site.demand(site.output(), demanded))
    # The part of the new bias that does not come from the old one: a_s (W * b_t) + a_t.
    left_over: ChannelAffine | None = after
    if spread is not None:
        shift = _evened(after.scale * spread, after.shift)
        left_over = None if shift is None else ChannelAffine.of(after.scale, shift, rank)
    vectors = None if left_over is None else left_over.along_axis(1, outputs)
    if vectors is None:
        if spread is None or _per_channel(spread):
            return Declined(f"mixes channels (axis 1), the affine varies along axis {after.axes}", code=Code.OTHER_AXIS)
        return Declined(_OVERLAPS if transposed else _PADDED, code=Code.ZERO_PADDING)
    return _edited(site, columns, vectors[0], vectors[1], group, outputs, transposed=transposed, at=bias)


def _evened(spread: FloatArray, shift: FloatArray) -> FloatArray | None:
    """Return `spread` + `shift` as one number a channel, where they are so up to rounding; None where places differ."""
    largest = max(extreme for array in (spread, shift) for extreme in (array.max(initial=0.0), -array.min(initial=0.0)))
    middle = _middle(spread) + _middle(shift)
    # Most that differ do so in the corner, where a window reaches farthest beyond the border.
    if not all_of(np.abs(_corner(spread) + _corner(shift) - middle) <= 1e-13 * largest):
        return None
    return middle if all_of(np.abs(spread + shift - middle) <= 1e-13 * largest) else None


def _middle(array: FloatArray) -> FloatArray:
    """Return the number in the middle of each channel."""
    return array[(slice(0, 1), slice(None), *(slice(n // 2, n // 2 + 1) for n in array.shape[2:]))]


def _corner(array: FloatArray) -> FloatArray:
    return array[(slice(0, 1), slice(None), *(slice(0, 1) for _ in array.shape[2:]))]


def _per_channel(array: FloatArray) -> bool:
    return all(extent == 1 for axis, extent in enumerate(array.shape) if axis != 1)


def _shift_of_output(
    site: Site, before: ChannelAffine, group: int, rank: int, *, transposed: bool
) -> FloatArray | Declined | None:
    """Compute W * b_t as an array of the output's rank; None where there is no shift."""
    if not before.shifts:
        return None
    weight, window = site.dequantized64(1), window_of(site)
    if weight is None:
        return Declined("has a weight that is not constant, so no shift passes it", code=Code.COMPUTED_PARAMETER)
    if isinstance(window, Declined):
        return window
    refused = Declined(_OVERLAPS if transposed else _PADDED, code=Code.ZERO_PADDING)
    shift = before.shift
    channels = weight.shape[0] if transposed else weight.shape[1] * group
    shift = np.broadcast_to(shift, (shift.shape[0], channels, *shift.shape[2:]))
    uniform = all(extent == 1 for extent in shift.shape[2:])
    if math.prod(shift.shape) * max(1, weight.shape[0]) > _MAX_WORK:
        return refused
    if uniform and not transposed and not window.may_pad:
        taps = weight.reshape(*weight.shape[:2], -1).sum(axis=2)
        return _grouped(shift.reshape(shift.shape[0], channels), taps, group).reshape(
            shift.shape[0], -1, *(1,) * (rank - 2)
        )
    extents, results = static_space(site.shape_in(0), rank), static_space(site.shape_out(), rank)
    if extents is None or results is None:
        return Declined(_OVERLAPS_UNKNOWN if transposed else _OF_UNKNOWN_EXTENT, code=Code.UNKNOWN_SHAPE)
    placed = window.placed(extents, results, transposed=transposed)
    # A window larger than its input gives nothing.
    if placed is None or min(placed.results) < 1 or math.prod(placed.results) * weight.size > _MAX_WORK:
        return refused
    if uniform:
        return _uniform(shift, weight, group, placed, transposed=transposed)
    if math.prod(placed.results) * weight.size > _MAX_WORK_EVERYWHERE:
        return refused
    if shift.shape[2:] != placed.extents:
        shift = np.broadcast_to(shift, (*shift.shape[:2], *placed.extents))
    return _everywhere(shift, weight, group, placed, transposed=transposed)


def _grouped(shift: FloatArray, taps: FloatArray, group: int) -> FloatArray:
    """Multiply (batch, C) by a matrix (M, C/group) in groups: (batch, M)."""
    batch = shift.shape[0]
    parts = shift.reshape(batch, group, -1)
    rows = taps.reshape(group, -1, taps.shape[1])
    result: FloatArray = np.einsum("bgc,gmc->bgm", parts, rows).reshape(batch, -1)
    return result


def _oriented(weight: FloatArray, group: int, *, transposed: bool) -> FloatArray:
    """Return the weight as (M, C/group, k...)."""
    if not transposed:
        return weight
    rows = weight.reshape(group, -1, *weight.shape[1:])
    return np.swapaxes(rows, 1, 2).reshape(-1, rows.shape[1], *weight.shape[2:])


def _at(weight: FloatArray, tap: tuple[int, ...]) -> FloatArray:
    """Return the matrix (M, C/group) of one tap."""
    place: tuple[Any, ...] = (..., *tap)
    matrix: FloatArray = weight[place]
    return matrix


def _uniform(
    shift: FloatArray, weight: FloatArray, group: int, window: PlacedWindow, *, transposed: bool
) -> FloatArray:
    """Convolve a shift that is the same all over the input: every tap counts where it lies on the input."""
    oriented = _oriented(weight, group, transposed=transposed)
    batch, taps = shift.shape[0], oriented.shape[2:]
    flat = [
        _grouped(shift.reshape(batch, -1), _at(oriented, tap), group) for tap in itertools.product(*map(range, taps))
    ]
    total = np.stack(flat, axis=-1).reshape(batch, -1, *taps)
    kinds = []
    for axis, (_, inside) in enumerate(window.sources):
        # Away from the border all places are alike.
        different, kind = np.unique(inside, axis=1, return_inverse=True)
        total = np.moveaxis(np.tensordot(total, different.astype(np.float64), axes=(2 + axis, 0)), -1, 2 + axis)
        kinds.append(kind.reshape(-1))
    for axis, kind in enumerate(kinds):
        total = np.take(total, kind, axis=2 + axis)
    return total


def _everywhere(
    shift: FloatArray, weight: FloatArray, group: int, window: PlacedWindow, *, transposed: bool
) -> FloatArray:
    """Convolve a shift that varies over space: the convolution itself, tap by tap."""
    oriented = _oriented(weight, group, transposed=transposed)
    batch = shift.shape[0]
    total = np.zeros((batch, oriented.shape[0], *window.results))
    for tap in itertools.product(*map(range, oriented.shape[2:])):
        moved = shift
        for axis, (index, (places, inside)) in enumerate(zip(tap, window.sources, strict=True)):
            there = inside[index].reshape((-1,) + (1,) * (len(tap) - 1 - axis))
            moved = np.take(moved, places[index], axis=2 + axis) * there
        matrix = _at(oriented, tap).reshape(group, -1, oriented.shape[1])
        parts = moved.reshape(batch, group, oriented.shape[1], -1)
        total += np.einsum("bgcs,gmc->bgms", parts, matrix).reshape(total.shape)
    return total


def _edited(
    site: Site,
    before: FloatArray,
    after: FloatArray,
    shift: FloatArray,
    group: int,
    outputs: int,
    *,
    transposed: bool,
    at: int,
) -> Settled | Declined:
    """Edit the node to weight W * before * after and bias B * after + shift, the bias being input number `at`.

    `before` is one number for each channel, or one for all.
    """
    shape = site.shape_in(1) or ()
    # Along the two axes of the weight: (M, C/group), or (C, M/group) where it is transposed.
    rows, columns = (before, after) if transposed else (after, before)
    if rows.size * columns.size // group > _MAX_WEIGHT:
        return Declined("has a weight that is too large for any memory", code=Code.WEIGHTS_GROW)
    factors = _products(rows, columns, group, int(shape[0] or 0))
    scaling = ChannelAffine.of(factors.reshape(*factors.shape, *(1,) * (len(shape) - 2)), 0.0, len(shape))
    demands: Demands = ()
    inputs: list[int | Constant | None] = list(range(at))
    weight = site.constant(1)
    if weight is None:
        demands += _demanded(site, 1, Gauge.new(scaling))
    elif site.gauge_in(1) is not None:
        return Declined("takes it for a weight")
    elif not scaling.is_identity:
        compute = partial(Scaling, weight, scaling.scale)
        inputs[1] = Constant("weight", compute, site.dtype(1), None if transposed else 0, old=site.input(1))
    # A quantized bias is small: it is written in full, since a shift would need other integers.
    bias, has_bias = site.dequantized64(at), site.input(at) is not None
    if bias is not None and bias.shape != (outputs,):
        return Declined("has a bias of another length than its output has channels", code=Code.UNDEFINED)
    if has_bias and bias is None:
        inputs.append(at)
        demands += _demanded(site, at, Gauge.new(ChannelAffine.of(after, shift, 1)))
    elif any_of(shift) or (has_bias and not all_of(after == 1.0)):
        total = (0.0 if bias is None else bias) * after + shift
        dtype = site.value_dtype(at if has_bias else 1)
        inputs.append(Constant("bias", partial(np.array, total), dtype, old=site.input(at)))
    elif has_bias:
        inputs.append(at)
    for index in (1, at):
        if site.gauge_in(index) is not None and not any(value is site.input(index) for value, _ in demands):
            own = site.gauge_in(index)
            wanted = Gauge.new(scaling) if index == 1 else Gauge.new(ChannelAffine.of(after, shift, 1))
            if own is None or not own.same_as(wanted):
                return Declined("takes it for a weight")
    if len(site.node.inputs) > at + 1:
        inputs += [None] * (at + 1 - len(inputs)) + list(range(at + 1, len(site.node.inputs)))
    return Settled(Edit(tuple(inputs), what="absorbs"), demands)


def _products(rows: FloatArray, columns: FloatArray, group: int, count: int) -> FloatArray:
    """Return the factors of a weight of `count` rows: the number of each row times that of each of its columns.

    Factors that are the same for all columns, or rows, stay one number: weights are large.
    """
    if columns.size > 1 and all_of(columns == columns[0]):
        columns = columns[:1]
    if columns.size > 1 and group > 1:
        return np.repeat(columns.reshape(group, -1), count // group, axis=0) * rows[:, None]
    return columns * rows[:, None]


def _demanded(site: Site, index: int, gauge: Gauge) -> Demands:
    value = site.input(index)
    assert value is not None
    return site.demand(value, gauge)
