"""What rounding forbids although the algebra allows it.

A reader that does not lead to the affine must get the old value x back from s x + t: that loses as many bits as t / s
is larger than x. So it must be known about how large values are. The statistics of a batch normalization say it of its
input. A value that is scaled later remembers what it became, since a shift that was small beside the old value may be
large beside the new one. Of a value that nothing is known of, one is assumed.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.region import Region
from onnxnorm.graph.facts import Dim
from onnxnorm.numerics.arrays import all_of

__all__ = ["beyond_range", "fits", "loses_digits", "remember_sizes", "size_of"]

# How far a value that the original does not have may be scaled. Half precision has little room for it.
_MAX_SCALE = {ir.DataType.FLOAT16: 2.0**4, ir.DataType.BFLOAT16: 2.0**32, ir.DataType.FLOAT: 2.0**32}
# Undoing a shift costs as many bits as the shift is larger than the values: at most two.
_MAX_CANCELLATION = 4.0
# Statistics may be those of other data: then they must not cost more bits than the type has to spare.
_LARGEST_TRUSTED = {ir.DataType.FLOAT16: 2.0, ir.DataType.BFLOAT16: 2.0, ir.DataType.FLOAT: 16.0}
_KEY = "onnxnorm.size"


def fits(gauge: Gauge, shape: tuple[Dim, ...] | None) -> bool:
    """Whether the value keeps its shape under the affine, as far as that is known."""
    if shape is None:
        return True
    extents = gauge.any.scale.shape
    return len(extents) == len(shape) and all(
        extent == 1 or not isinstance(dim, int) or dim == extent for extent, dim in zip(extents, shape, strict=True)
    )


def loses_digits(value: ir.Value, gauge: Gauge, size: FloatArray) -> str | None:
    """Why readers of a value of about this size cannot undo the gauge; None where they can."""
    affine = gauge.to_old
    if affine is None:
        return f"{value.name!r} has other readers, which could not undo a scale of zero"
    if not all_of(np.abs(affine.shift) <= _MAX_CANCELLATION * size):
        return f"{value.name!r} has other readers, and undoing the shift for them would lose accuracy"
    return None


def beyond_range(value: ir.Value, gauge: Gauge) -> str | None:
    """Why the type of the value has no room for the gauge; None where it has."""
    if not gauge.scales:
        return None
    limit = _MAX_SCALE.get(value.dtype or ir.DataType.FLOAT, 2.0**256)
    scale = np.abs(gauge.any.scale[gauge.any.scale != 0.0])
    if scale.size and (scale.max() > limit or scale.min() < 1.0 / limit):
        return f"{value.name!r} would have to be scaled beyond the range of its type"
    return None


def size_of(value: ir.Value, measured: FloatArray | None = None) -> FloatArray:
    """Of extents that broadcast against the value; `measured` is what its reader says of it."""
    known = value.meta.get(_KEY)
    if known is not None:
        return np.asarray(known)
    if measured is None:
        return np.ones(())
    return np.minimum(measured, _LARGEST_TRUSTED.get(value.dtype or ir.DataType.FLOAT, np.inf))


def remember_sizes(region: Region, own: ir.Value, measured: FloatArray | None) -> None:
    """What the values of an applied region became, `own` among them, of which `measured` was said."""
    for value, gauge in region.gauges.items():
        if gauge.to_new is None:
            continue
        told = measured if value is own else None
        size = np.abs(gauge.to_new.scale) * size_of(value, told)
        # A guess must not grow: what is large beside it might then be large beside the value, too.
        value.meta[_KEY] = np.minimum(size, 1.0) if told is None and _KEY not in value.meta else size
