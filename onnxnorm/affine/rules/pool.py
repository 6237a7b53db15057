"""Pooling and reductions: means let every affine pass, maxima one that keeps the order.

    mean(s x + t) = s mean(x) + t, if nothing but x is counted     max(s x + t) = s max(x) + t for s >= 0
    sum(s x + t) = s sum(x) + n t: a shift does not pass, since n belongs to the shape
The affine must not vary along an axis that is pooled or reduced.
"""

from __future__ import annotations

import numpy as np

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.affine.site import Answer, Declined, Site

__all__ = ["average_pool", "global_average_pool", "global_max_pool", "max_pool", "reduction"]

_VARIES = "pools along an axis on which the affine varies"


def _constant_in_space(gauge: Gauge) -> bool:
    return all(axis < 2 for axis in gauge.axes)


def _averaged(gauge: Gauge) -> Gauge | Declined:
    return gauge if _constant_in_space(gauge) else Declined(_VARIES)


def _maximum(gauge: Gauge) -> Gauge | Declined:
    if not gauge.non_negative:
        return Declined("takes maxima, so no negative scale passes it")
    return gauge if _constant_in_space(gauge) else Declined(_VARIES)


def max_pool(site: Site) -> Answer:
    if any(output.uses() or output.is_graph_output() for output in site.node.outputs[1:]):
        gauge = site.gauge_in(0) or site.gauge_out()
        if gauge is not None and not gauge.positive:
            return Declined("gives indices of maxima too, so only a positive scale passes it")
    return cross(site, _maximum, _maximum)


def global_max_pool(site: Site) -> Answer:
    return cross(site, _maximum, _maximum)


def global_average_pool(site: Site) -> Answer:
    return cross(site, _averaged, _averaged)


def average_pool(site: Site) -> Answer:
    padded = any(site.integers("pads") or ()) or site.text("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    # A window beyond the edge (ceil_mode) has been counted in differing ways; with a shift we stay away from it.
    counts_padding = bool(site.integer("count_include_pad", 0)) and (padded or site.integer("ceil_mode", 0))

    def averaged(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts and counts_padding:
            return Declined("counts the zeros of its padding, so no shift passes it")
        return _averaged(gauge)

    return cross(site, averaged, averaged)


def reduction(site: Site) -> Answer:
    """ReduceMean, ReduceSum, ReduceMax, ReduceMin."""
    rank = site.facts.rank(site.input(0)) if site.input(0) is not None else None  # type: ignore[arg-type]
    if rank is None:
        return Declined("reduces a value whose rank is not known")
    axes = site.integers("axes")
    if axes is None and site.input(1) is not None:
        constant = site.constant(1)
        if constant is None:
            return Declined("reduces along axes that are not constant")
        axes = tuple(int(axis) for axis in np.ravel(constant))
    if not axes:
        if site.integer("noop_with_empty_axes", 0):
            return Declined("reduces along no axis")
        axes = tuple(range(rank))
    reduced = {axis % rank for axis in axes}
    keeps = bool(site.integer("keepdims", 1))
    kind = site.node.op_type

    def allowed(gauge: Gauge) -> Declined | None:
        if kind == "ReduceSum" and gauge.shifts:
            return Declined("sums, so no shift passes it")
        if kind in ("ReduceMax", "ReduceMin") and not gauge.non_negative:
            return Declined("takes extrema, so no negative scale passes it")
        return None

    def forward(gauge: Gauge) -> Gauge | Declined:
        if (refused := allowed(gauge)) is not None:
            return refused
        if reduced & set(gauge.axes):
            return Declined("reduces along an axis on which the affine varies")
        return gauge if keeps else gauge.map(lambda array: np.squeeze(array, tuple(sorted(reduced))))

    def backward(gauge: Gauge) -> Gauge | Declined:
        if (refused := allowed(gauge)) is not None:
            return refused
        return gauge if keeps else gauge.map(lambda array: np.expand_dims(array, tuple(sorted(reduced))))

    return cross(site, forward, backward)
