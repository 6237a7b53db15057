"""Powers and their kin: a scale passes as its power, a shift does not.

    |s x| = |s| |x|     sqrt(s x) = sqrt(s) sqrt(x), s > 0     1 / (s x) = (1 / s) (1 / x)     (s x)^p = s^p x^p
The power of a negative scale is real for whole p only. Exp and Log, which turn shifts into scales and back, let nothing
pass: whoever subtracts something before Exp does so to keep it finite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Declined, Site
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.journal.reasons import Code

__all__ = ["abs_", "absolute", "pow_", "reciprocal", "rooted", "sqrt", "squared"]

_NO_SHIFT = "is no linear function, so no shift passes it"


def absolute(gauge: Gauge, *, forward: bool) -> Gauge | Declined:
    """Return the gauge behind an absolute value, |s x| = |s| |x|.

    What comes out tells nothing of the sign that went in.
    """
    if gauge.shifts:
        return Declined(_NO_SHIFT)
    if forward:
        return gauge.map(np.abs)
    return (
        gauge
        if gauge.non_negative
        else Declined("gives nothing negative, so no negative scale passes it", code=Code.NEGATIVE_SCALE)
    )


def squared(gauge: Gauge) -> Gauge | Declined:
    """Return the gauge behind a square: the scale squared."""
    return Declined(_NO_SHIFT) if gauge.shifts else gauge.map(np.square)


def rooted(gauge: Gauge) -> Gauge | Declined:
    """Return the gauge behind a square root: the root of the scale."""
    if gauge.shifts:
        return Declined(_NO_SHIFT)
    return (
        gauge.map(np.sqrt)
        if gauge.non_negative
        else Declined("has no real root of a negative scale", code=Code.NEGATIVE_SCALE)
    )


def abs_(site: Site) -> Answer:
    """Abs: a scale passes as its absolute value."""
    return cross(site, partial(absolute, forward=True), partial(absolute, forward=False))


def sqrt(site: Site) -> Answer:
    """Sqrt: a positive scale passes as its root."""
    return cross(site, rooted, squared_if_positive)


def squared_if_positive(gauge: Gauge) -> Gauge | Declined:
    """Return the gauge before a square root: a positive scale squared."""
    return (
        squared(gauge)
        if gauge.non_negative
        else Declined("gives nothing negative, so no negative scale passes it", code=Code.NEGATIVE_SCALE)
    )


def reciprocal(site: Site) -> Answer:
    """Reciprocal: a scale passes as its reciprocal."""

    def inverted(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts:
            return Declined(_NO_SHIFT)
        if gauge.to_new is None or gauge.to_old is None:
            return Declined("divides by it, so no scale of zero passes it", code=Code.ZERO_SCALE)
        return Gauge(_powered(gauge.to_new, np.reciprocal), _powered(gauge.to_old, np.reciprocal))

    return cross(site, inverted, inverted)


def _powered(affine: ChannelAffine, power: Callable[[FloatArray], FloatArray]) -> ChannelAffine:
    """Return the affine with its scale put through `power`, and without a shift."""
    return ChannelAffine.of(power(affine.scale), 0.0, affine.rank)


def pow_(site: Site) -> Answer:
    """Pow by a constant: a scale passes as its power."""
    exponent = site.constant64(1)
    if exponent is None or exponent.size != 1:
        return Declined("has an exponent that is not one constant")
    p = exponent.item()
    shape, out = site.shape_in(0), site.shape_out()
    if shape is None or out is None or len(shape) != len(out) or p == 0.0 or not np.isfinite(p):
        return Declined("raises to a power that no affine passes")
    whole = p == int(p)

    def powered(gauge: Gauge, *, forward: bool) -> Gauge | Declined:
        if gauge.shifts:
            return Declined(_NO_SHIFT)
        if gauge.to_new is None or gauge.to_old is None:
            return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
        if not gauge.positive and not (forward and whole):
            return Declined("has no real power of a negative scale", code=Code.NEGATIVE_SCALE)

        def power(array: FloatArray) -> FloatArray:
            result: FloatArray = np.power(array, p if forward else 1.0 / p)
            return result

        with np.errstate(all="ignore"):
            result = Gauge(_powered(gauge.to_new, power), _powered(gauge.to_old, power))
        finite = result.to_new is not None and result.to_new.is_finite
        return result if finite else Declined("raises the scale beyond all bounds")

    return cross(site, partial(powered, forward=True), partial(powered, forward=False))
