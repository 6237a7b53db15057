"""Pooling: means let every affine pass, maxima one that keeps the order.

    mean(s x + t) = s mean(x) + mean(t)     max(s x + t) = s max(x) + t for s >= 0     norm(s x) = |s| norm(x)
A scale must not vary along an axis that is pooled; a shift may in means, if the extents are known.
Padding that is counted is not shifted: there the shift of the result differs from place to place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Cause, Declined, Site
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.affine.rules.powers import absolute
from onnxnorm.affine.rules.windows import static_space, window_of
from onnxnorm.journal.reasons import Code

__all__ = ["average_pool", "global_average_pool", "global_max_pool", "lp_pool", "max_pool", "shift_changed"]

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
        return shift_changed(gauge, axes, lambda shift: shift.mean(axis=axes, keepdims=True), _VARIES)

    return cross(site, forward, lambda gauge: gauge)


def shift_changed(
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
        return shift_changed(gauge, range(2, rank), averaged, _VARIES)

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
