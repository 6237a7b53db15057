"""Pooling and reductions: means let every affine pass, maxima one that keeps the order.

    mean(s x + t) = s mean(x) + mean(t)     max(s x + t) = s max(x) + t for s >= 0, s min(x) + t for s <= 0
    sum(s x + t) = s sum(x) + sum(t)        norm(s x) = |s| norm(x)
A scale must not vary along an axis that is pooled or reduced; a shift may in means and sums, if the extents are known.
Padding that is counted is not shifted: there the shift of the result differs from place to place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Cause, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.affine.rules.powers import absolute, rooted, squared
from onnxnorm.affine.rules.windows import static_space, window_of
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import check_size

__all__ = ["average_pool", "global_average_pool", "global_max_pool", "lp_pool", "max_pool", "reduction"]

_VARIES = "pools along an axis on which the affine varies"
_COUNTED = "counts the zeros of its padding, so no shift passes it"


def _code(*, counts: bool) -> Code:
    return Code.ZERO_PADDING if counts else Code.OTHER_AXIS


def _constant_in_space(gauge: Gauge) -> bool:
    return all(axis < 2 for axis in gauge.axes)


def _maximum(gauge: Gauge) -> Gauge | Declined:
    if not gauge.non_negative:
        return Declined("takes maxima, so no negative scale passes it", Cause.NEGATIVE, code=Code.NEGATIVE_SCALE)
    return gauge if _constant_in_space(gauge) else Declined(_VARIES, code=Code.OTHER_AXIS)


def max_pool(site: Site) -> Answer:
    """MaxPool: an affine that keeps the order and does not vary over space passes."""
    if any(output.uses() or output.is_graph_output() for output in site.node.outputs[1:]):
        gauge = site.gauge_in(0) or site.gauge_out()
        if gauge is not None and not gauge.positive:
            return Declined(
                "gives indices of maxima too, so only a positive scale passes it", code=Code.FURTHER_OUTPUTS
            )
    return cross(site, _maximum, _maximum)


def global_max_pool(site: Site) -> Answer:
    """GlobalMaxPool: an affine that keeps the order and does not vary over space passes."""
    return cross(site, _maximum, _maximum)


def global_average_pool(site: Site) -> Answer:
    """GlobalAveragePool: everything passes whose scale does not vary over space."""
    shape = site.shape_in(0)
    space = None if shape is None else static_space(shape, len(shape))

    def forward(gauge: Gauge) -> Gauge | Declined:
        if _constant_in_space(gauge):
            return gauge
        if space is None:
            return Declined(_VARIES, code=Code.OTHER_AXIS)
        axes = tuple(range(2, gauge.any.rank))
        return _shift_changed(gauge, axes, lambda shift: shift.mean(axis=axes, keepdims=True), _VARIES)

    return cross(site, forward, lambda gauge: gauge)


def _shift_changed(
    gauge: Gauge, axes: Sequence[int], change: Callable[[FloatArray], FloatArray], refusal: str
) -> Gauge | Declined:
    """Return the gauge with its shift put through a linear map along `axes`, where its scale must not vary."""
    rank = gauge.any.rank
    head = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(rank))
    for affine in (gauge.to_new, gauge.to_old):
        if affine is not None and not np.array_equal(
            affine.scale, np.broadcast_to(affine.scale[head], affine.scale.shape)
        ):
            return Declined(refusal)

    def side(affine: ChannelAffine | None) -> ChannelAffine | None:
        return None if affine is None else ChannelAffine.of(affine.scale[head], change(affine.shift), rank)

    return Gauge(side(gauge.to_new), side(gauge.to_old))


def average_pool(site: Site) -> Answer:
    """AveragePool: everything passes whose scale does not vary over space; padding that is counted is not shifted."""
    kernel = site.integers("kernel_shape")
    window = Declined("has no kernel") if kernel is None else window_of(site, kernel)
    if isinstance(window, Declined):
        return window
    # A window beyond the edge (ceil_mode) has been counted in differing ways; with a shift we stay away from it.
    counts = bool(site.integer("count_include_pad", 0)) and window.may_pad
    shape = site.shape_in(0)
    rank = len(kernel or ()) + 2
    extents, results = static_space(shape, rank), static_space(site.shape_out(), rank)
    placed = None
    if not window.ceils and extents is not None and results is not None:
        placed = window.placed(extents, results)

    def forward(gauge: Gauge) -> Gauge | Declined:
        if _constant_in_space(gauge) and not (gauge.shifts and counts):
            return gauge
        if placed is None:
            code = Code.UNKNOWN_SHAPE if extents is None or results is None else _code(counts=counts)
            return Declined(_COUNTED if counts else _VARIES, code=code)

        def averaged(shift: FloatArray) -> FloatArray:
            total = np.broadcast_to(shift, (*shift.shape[:2], *placed.extents))
            taken = np.ones(placed.results)
            for axis, (places, inside) in enumerate(placed.sources):
                here = inside.reshape((*inside.shape, *(1,) * (total.ndim - 3 - axis)))
                total = (np.take(total, places, axis=2 + axis) * here).sum(axis=2 + axis)
                own = inside.sum(axis=0) if not counts else np.full(inside.shape[1], len(inside))
                taken = taken * own.reshape((-1,) + (1,) * (len(placed.results) - 1 - axis))
            return total / taken

        work = math.prod(placed.extents) * math.prod(placed.kernel) * gauge.any.scale.shape[1]
        if work > 2**30:
            return Declined(_COUNTED if counts else _VARIES, code=_code(counts=counts))
        return _shift_changed(gauge, range(2, rank), averaged, _VARIES)

    def backward(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts and counts:
            return Declined(_COUNTED, code=Code.ZERO_PADDING)
        return gauge if _constant_in_space(gauge) else Declined(_VARIES, code=Code.OTHER_AXIS)

    return cross(site, forward, backward)


def lp_pool(site: Site) -> Answer:
    """LpPool and GlobalLpPool."""

    def through(gauge: Gauge, *, forward: bool) -> Gauge | Declined:
        mapped = absolute(gauge, forward=forward)
        return (
            mapped
            if isinstance(mapped, Declined) or _constant_in_space(mapped)
            else Declined(_VARIES, code=Code.OTHER_AXIS)
        )

    return cross(site, partial(through, forward=True), partial(through, forward=False))


_NORMS = frozenset({"ReduceL1", "ReduceL2"})
_SUMS = frozenset({"ReduceSum", "ReduceMean"})
_OPPOSITE = {"ReduceMax": "ReduceMin", "ReduceMin": "ReduceMax"}


def reduction(site: Site) -> Answer:
    """ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceL1, ReduceL2 and ReduceSumSquare."""
    shape = site.shape_in(0)
    if shape is None:
        return Declined("reduces a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    rank = len(shape)
    axes = site.integers("axes")
    if axes is None and site.input(1) is not None:
        constant = site.constant(1)
        if constant is None:
            return Declined("reduces along axes that are not constant", code=Code.COMPUTED_PARAMETER)
        axes = tuple(int(axis) for axis in np.ravel(constant))
    if not axes:
        if site.integer("noop_with_empty_axes", 0):
            return Declined("reduces along no axis", code=Code.OTHER_AXIS)
        axes = tuple(range(rank))
    reduced = tuple(sorted({axis % rank for axis in axes}))
    keeps = bool(site.integer("keepdims", 1))
    kind = site.node.op_type
    gauge = site.gauge_in(0) or site.gauge_out()
    assert gauge is not None
    turned = kind in _OPPOSITE and bool(np.all(gauge.any.scale <= 0.0))

    def values(gauge: Gauge, *, forward: bool) -> Gauge | Declined:
        """Return the gauge after what the operator does to single elements, the axes left as they are."""
        if kind in _OPPOSITE and not (gauge.non_negative or turned):
            return Declined(
                "takes extrema, so no scale passes it that is negative for some channels only", code=Code.NEGATIVE_SCALE
            )
        if kind in _NORMS:
            return absolute(gauge, forward=forward)
        if kind == "ReduceSumSquare":
            return squared(gauge) if forward else rooted(gauge)
        return gauge

    def forward(gauge: Gauge) -> Gauge | Declined:
        mapped = values(gauge, forward=True)
        if isinstance(mapped, Declined):
            return mapped
        if kind in _SUMS and mapped.shifts:
            extents = [shape[axis] for axis in reduced]
            varies = bool(set(reduced) & set(mapped.axes))
            if (varies or kind == "ReduceSum") and not all(isinstance(extent, int) for extent in extents):
                return Declined(
                    "sums over an axis whose extent is not known, so no shift passes it", code=Code.UNKNOWN_SHAPE
                )
            full = [shape[axis] if axis in reduced else 1 for axis in range(rank)]

            def summed(shift: FloatArray) -> FloatArray:
                if not varies and kind == "ReduceMean":
                    return shift
                whole = np.broadcast_shapes(shift.shape, tuple(int(n or 1) for n in full))
                check_size(whole, shift.size)
                shift = np.broadcast_to(shift, whole)
                take = np.sum if kind == "ReduceSum" else np.mean
                result: FloatArray = take(shift, axis=reduced, keepdims=True)
                return result

            changed = _shift_changed(mapped, reduced, summed, "reduces along an axis on which the scale varies")
            if isinstance(changed, Declined):
                return changed
            mapped = changed
        elif set(reduced) & set(mapped.axes):
            return Declined("reduces along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return mapped if keeps else mapped.map(lambda array: np.squeeze(array, reduced))

    def backward(gauge: Gauge) -> Gauge | Declined:
        mapped = values(gauge, forward=False)
        if isinstance(mapped, Declined):
            return mapped
        if not keeps:
            mapped = mapped.map(lambda array: np.expand_dims(array, reduced))
        if kind == "ReduceSum" and mapped.shifts:
            count = math.prod(dim if isinstance(dim, int) else 0 for dim in (shape[axis] for axis in reduced))
            if count == 0:
                return Declined(
                    "sums over an axis whose extent is not known, so no shift passes it", code=Code.UNKNOWN_SHAPE
                )
            return _shift_changed(mapped, reduced, lambda shift: shift / count, "")
        return mapped

    answer = cross(site, forward, backward)
    if turned and isinstance(answer, Settled):
        inputs = tuple(range(len(site.node.inputs)))
        return Settled(Edit(inputs, op_type=_OPPOSITE[kind], what="turns into its opposite"), answer.demands)
    return answer
