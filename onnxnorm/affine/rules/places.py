"""Operators that repeat, look up, sample or hide places: what is constant along the axes they act on passes.

Tile              repeats the arrays of the affine as it repeats the value
GatherElements, GatherND, ReverseSequence   pass everything that does not vary along the axes looked up
GridSample        means of neighbours pass everything, unless zeros stand around them: then scales alone
CumSum, Trilu     sums and zeros pass scales alone
ArgMax, ArgMin, Sign, LpNormalization       are the same for all positive multiples
"""

from __future__ import annotations

import numpy as np

from onnxnorm._arrays import check_size
from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.affine.site import Answer, Declined, Settled, Site

__all__ = [
    "arg_extremum", "cum_sum", "gather_elements", "gather_nd", "grid_sample", "lp_norm", "reverse_sequence", "sign",
    "tile", "trilu",
]  # fmt: skip

_NOT_POSITIVE = "keeps directions only, so no affine passes it but a positive scale that does not vary along its axis"


def tile(site: Site) -> Answer:
    repeats, shape = site.constant(1), site.shape_in(0)
    if repeats is None or shape is None or repeats.size != len(shape):
        return Declined("repeats a number of times that is not constant")
    times = [int(count) for count in np.ravel(repeats)]

    def forward(gauge: Gauge) -> Gauge | Declined:
        check_size(n * times[i] if n > 1 else 1 for i, n in enumerate(gauge.any.scale.shape))
        return gauge.map(lambda a: np.tile(a, [n if a.shape[i] > 1 else 1 for i, n in enumerate(times)]))

    def backward(gauge: Gauge) -> Gauge | Declined:
        if any(times[axis] != 1 for axis in gauge.axes):
            return Declined("repeats along an axis on which the affine varies")
        return gauge

    return cross(site, forward, backward)


def cum_sum(site: Site) -> Answer:
    axis, shape = site.constant(1), site.shape_in(0)
    if axis is None or shape is None:
        return Declined("sums along an axis that is not constant")
    summed = int(np.ravel(axis)[0]) % len(shape)

    def through(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts or summed in gauge.axes:
            return Declined("sums up, so only a scale passes it that does not vary along its axis")
        return gauge

    return cross(site, through, through)


def trilu(site: Site) -> Answer:
    def through(gauge: Gauge) -> Gauge | Declined:
        return Declined("sets values to zero, so no shift passes it") if gauge.shifts else gauge

    return cross(site, through, through)


def reverse_sequence(site: Site) -> Answer:
    # One of the first two axes is that of time, the other that of the batch; there is no counting from behind.
    def through(gauge: Gauge) -> Gauge | Declined:
        return Declined("reverses an axis on which the affine varies") if {0, 1} & set(gauge.axes) else gauge

    return cross(site, through, through)


def gather_elements(site: Site) -> Answer:
    shape, indices = site.shape_in(0), site.shape_in(1)
    if shape is None or indices is None or len(shape) != len(indices):
        return Declined("looks up in a value whose rank is not known")
    axis = site.integer("axis", 0) % len(shape)

    def through(gauge: Gauge) -> Gauge | Declined:
        for varying in gauge.axes:
            if varying == axis or not isinstance(shape[varying], int) or shape[varying] != indices[varying]:
                return Declined("looks up along an axis on which the affine varies")
        return gauge

    return cross(site, through, through)


def gather_nd(site: Site) -> Answer:
    shape, indices = site.shape_in(0), site.shape_in(1)
    if shape is None or indices is None or not indices or not isinstance(indices[-1], int):
        return Declined("looks up in a value whose rank is not known")
    first = site.integer("batch_dims", 0) + indices[-1]
    rank_out = len(indices) - 1 + len(shape) - first

    def forward(gauge: Gauge) -> Gauge | Declined:
        if any(axis < first for axis in gauge.axes):
            return Declined("looks up along an axis on which the affine varies")
        return gauge.map(lambda a: a.reshape((1,) * (len(indices) - 1) + a.shape[first:]))

    def backward(gauge: Gauge) -> Gauge | Declined:
        if gauge.any.rank != rank_out or any(axis < len(indices) - 1 for axis in gauge.axes):
            return Declined("looks up along an axis on which the affine varies")
        return gauge.map(lambda a: a.reshape((1,) * first + a.shape[len(indices) - 1 :]))

    return cross(site, forward, backward)


def grid_sample(site: Site) -> Answer:
    zeros = site.text("padding_mode", "zeros") == "zeros"

    def through(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts and zeros:
            return Declined("takes zeros for what lies outside, so no shift passes it")
        if any(axis > 1 for axis in gauge.axes):
            return Declined("samples along an axis on which the affine varies")
        return gauge

    return cross(site, through, through)


def arg_extremum(site: Site) -> Answer:
    gauge, shape = site.gauge_in(0), site.shape_in(0)
    if gauge is None or shape is None or not gauge.positive or site.integer("axis", 0) % len(shape) in gauge.axes:
        return Declined(_NOT_POSITIVE)
    return Settled()


def sign(site: Site) -> Answer:
    gauge = site.gauge_in(0)
    if gauge is None or site.gauge_out() is not None or gauge.shifts or not gauge.positive:
        return Declined(_NOT_POSITIVE)
    return Settled()


def lp_norm(site: Site) -> Answer:
    gauge, shape = site.gauge_in(0), site.shape_in(0)
    if (
        gauge is None
        or site.gauge_out() is not None
        or shape is None
        or gauge.shifts
        or not gauge.positive
        or site.integer("axis", -1) % len(shape) in gauge.axes
    ):
        return Declined(_NOT_POSITIVE)
    return Settled()
