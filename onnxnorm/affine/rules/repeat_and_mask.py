"""Operators that repeat places, sum them up or hide them.

Tile              repeats the arrays of the affine as it repeats the value
CumSum, Trilu     sums and zeros pass scales alone, CumSum those that do not vary along its axis
"""

from __future__ import annotations

import numpy as np

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.interface import Answer, Declined, Site
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import check_size

__all__ = ["cum_sum", "tile", "trilu"]


def tile(site: Site) -> Answer:
    """Tile: the arrays of an affine are repeated as the value is."""
    repeats, shape = site.constant(1), site.shape_in(0)
    if repeats is None or shape is None or repeats.size != len(shape):
        return Declined("repeats a number of times that is not constant", code=Code.COMPUTED_PARAMETER)
    times = [int(count) for count in np.ravel(repeats)]

    def forward(gauge: Gauge) -> Gauge | Declined:
        check_size(n * times[i] if n > 1 else 1 for i, n in enumerate(gauge.any.scale.shape))
        return gauge.map(lambda a: np.tile(a, [n if a.shape[i] > 1 else 1 for i, n in enumerate(times)]))

    def backward(gauge: Gauge) -> Gauge | Declined:
        if any(times[axis] != 1 for axis in gauge.axes):
            return Declined("repeats along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge

    return cross(site, forward, backward)


def cum_sum(site: Site) -> Answer:
    """CumSum: a scale passes that does not vary along the axis."""
    axis, shape = site.constant(1), site.shape_in(0)
    if axis is None or shape is None:
        return Declined("sums along an axis that is not constant", code=Code.COMPUTED_PARAMETER)
    summed = int(np.ravel(axis)[0]) % len(shape)

    def through(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts or summed in gauge.axes:
            return Declined(
                "sums up, so only a scale passes it that does not vary along its axis", code=Code.OTHER_AXIS
            )
        return gauge

    return cross(site, through, through)


def trilu(site: Site) -> Answer:
    """Trilu: a scale passes, since zeros stay zero."""

    def through(gauge: Gauge) -> Gauge | Declined:
        return Declined("sets values to zero, so no shift passes it") if gauge.shifts else gauge

    return cross(site, through, through)
