"""Decides what rounding forbids although the algebra allows it.

A reader that does not lead to the affine must get the old value x back from s x + t: that loses as many bits as t / s
is larger than x. So it must be known about how large values are. The statistics of a batch normalization say it of its
input. A value that is scaled later remembers what it became, since a shift that was small beside the old value may be
large beside the new one. Of a value that nothing is known of, one is assumed.

A number that is ten thousand or more is a mask, a fence or the end of the type (-1e9 for what a Softmax shall not see,
finfo.min), no statistic: it costs every digit of what is added to it while it is there. Such an affine is no affine to
the engine; only where a batch normalization of such numbers follows the weights that it goes into, it does, for then no
value comes to be that was not there before. Below that bound two numbers multiply to 1e8 at most, so an affine that two
were joined to overflows in float within 1e8 of the end of the type, which is less than half a unit in the last place
there: nowhere that the original is finite by more than a rounding. Half types have less of both, range and digits.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.region import Region
from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.journal.words import naming_value, say
from onnxnorm.model.dtypes import HALVES
from onnxnorm.numerics.arrays import all_of

__all__ = [
    "beyond_range",
    "fits",
    "hides_digits",
    "is_vast",
    "keeps_apart",
    "loses_digits",
    "remember_sizes",
    "size_of",
]

# How far a value that the original does not have may be scaled. Half precision has little room for it, least upward.
_MAX_SCALE = {ir.DataType.FLOAT16: 2.0**4, ir.DataType.BFLOAT16: 2.0**32, ir.DataType.FLOAT: 2.0**32}
_MAX_GROWTH_IN_HALF = 2.0
# Undoing a shift costs as many bits as the shift is larger than the values: at most two, of the few of half types none.
_MAX_CANCELLATION = {ir.DataType.FLOAT16: 1.0, ir.DataType.BFLOAT16: 1.0}
_MAX_CANCELLATION_ELSEWHERE = 4.0
# Exact values have no error of their own yet that would hide what undoing costs, so where a reader brings them near
# zero (x - t where x is about t) the original has all of their digits.
_MAX_CANCELLATION_OF_EXACT = 1.0
# How much larger than the values a shift may be where only their order counts: half of the digits are left for it.
_MAX_SHIFT_OF_ORDER = {ir.DataType.FLOAT16: 2.0**4, ir.DataType.BFLOAT16: 2.0**2, ir.DataType.FLOAT: 2.0**10}
# Numbers from here on are no statistics.
_VAST = 1e4
_VAST_IN_HALF = 2.0**8
# Statistics may be those of other data: then they must not cost more bits than the type has to spare.
_LARGEST_TRUSTED = {ir.DataType.FLOAT16: 2.0, ir.DataType.BFLOAT16: 2.0, ir.DataType.FLOAT: 16.0}


def fits(gauge: Gauge, shape: tuple[Dim, ...] | None) -> bool:
    """Whether the value keeps its shape under the affine, as far as that is known."""
    if shape is None:
        return True
    extents = gauge.any.scale.shape
    return len(extents) == len(shape) and all(
        extent == 1 or not isinstance(dim, int) or dim == extent for extent, dim in zip(extents, shape, strict=True)
    )


def loses_digits(value: ir.Value, gauge: Gauge, size: FloatArray, *, rounded: bool) -> str | None:
    """Why readers of a value of about this size cannot undo the gauge; None where they can.

    `rounded`: the value carries rounding errors in proportion to its size.
    """
    affine = gauge.to_old
    if affine is None:
        return say("{} has other readers, which could not undo a scale of zero", naming_value(value))
    if not _is_small(affine, value, size, None if rounded else _MAX_CANCELLATION_OF_EXACT):
        return say("{} has other readers, and undoing the shift for them would lose accuracy", naming_value(value))
    return None


def hides_digits(value: ir.Value, gauge: Gauge, size: FloatArray) -> str | None:
    """Why a value of about this size cannot do without a shift that the original has in it; None where it can."""
    affine = gauge.to_old
    if affine is None or not _is_small(affine, value, size):
        return say(
            "{} would be small beside what it is made of without the shift, and lose accuracy", naming_value(value)
        )
    return None


def _is_small(affine: ChannelAffine, value: ir.Value, size: FloatArray, limit: float | None = None) -> bool:
    if limit is None:
        limit = _MAX_CANCELLATION.get(value.dtype or ir.DataType.FLOAT, _MAX_CANCELLATION_ELSEWHERE)
    return all_of(np.abs(affine.shift) <= limit * size)


def is_vast(affine: ChannelAffine, dtype: ir.DataType | None, *, statistics: bool = False) -> bool:
    """Whether a number of the affine is so large that it is a mask, or hides what it is added to, in that type.

    `statistics`: the numbers come from those of a batch normalization, which are taken for what they are in half too.
    """
    limit = _VAST_IN_HALF if dtype in HALVES and not statistics else _VAST
    return not (all_of(np.abs(affine.shift) < limit) and all_of(np.abs(affine.scale) < limit))


def keeps_apart(affine: ChannelAffine, dtype: ir.DataType | None) -> bool:
    """Whether values of about one that differ still do so after the affine, in arithmetic of that type.

    A scale that underflows, or a shift that leaves the type no digits for them, makes equal what was not.
    """
    scale, known = np.abs(affine.scale), dtype or ir.DataType.FLOAT
    return all_of(scale >= 1.0 / _MAX_SCALE.get(known, 2.0**256)) and all_of(
        np.abs(affine.shift) <= _MAX_SHIFT_OF_ORDER.get(known, 2.0**26) * scale
    )


def beyond_range(value: ir.Value, gauge: Gauge) -> str | None:
    """Why the type of the value has no room for the gauge; None where it has."""
    if gauge.shifts and not all_of(np.abs(gauge.any.shift) < _VAST):
        return say("{} would carry a shift that hides all else", naming_value(value))
    if not gauge.scales:
        return None
    limit = _MAX_SCALE.get(value.dtype or ir.DataType.FLOAT, 2.0**256)
    growth = min(limit, _MAX_GROWTH_IN_HALF) if value.dtype is ir.DataType.FLOAT16 else limit
    known = gauge.to_new if gauge.to_new is not None else gauge.any
    scale = np.abs(known.scale[known.scale != 0.0])
    if scale.size and (scale.max() > growth or scale.min() < 1.0 / limit):
        return say("{} would have to be scaled beyond the range of its type", naming_value(value))
    return None


def size_of(value: ir.Value, facts: Facts, measured: FloatArray | None = None) -> FloatArray:
    """Estimate how large the value is, as an array that broadcasts against it.

    `measured` is what its reader says of it.
    """
    known = facts.transformation.magnitudes.get(value)
    if known is not None:
        return known
    if measured is None:
        return np.ones(())
    return np.minimum(measured, _LARGEST_TRUSTED.get(value.dtype or ir.DataType.FLOAT, np.inf))


def remember_sizes(region: Region, own: ir.Value, measured: FloatArray | None, facts: Facts) -> None:
    """Write down what the values of an applied region became, `own` among them, of which `measured` was said."""
    known = facts.transformation.magnitudes
    for value, gauge in region.gauges.items():
        if gauge.to_new is None:
            continue
        told = measured if value is own else None
        size = np.abs(gauge.to_new.scale) * size_of(value, facts, told)
        # A guess must not grow: what is large beside it might then be large beside the value, too.
        known[value] = np.minimum(size, 1.0) if told is None and value not in known else size
