"""About how large values are: what tells whether undoing a shift loses digits.

The statistics of a batch normalization say it of its input. A value that is scaled later remembers what it became,
since a shift that was small beside the old value may be large beside the new one. Of a value that nothing is known of,
one is assumed.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray
from onnxnorm.affine.region import Region

__all__ = ["remember_sizes", "size_of"]

# Statistics may be those of other data: then they must not cost more bits than the type has to spare.
_LARGEST_TRUSTED = {ir.DataType.FLOAT16: 2.0, ir.DataType.BFLOAT16: 2.0, ir.DataType.FLOAT: 16.0}
_KEY = "onnxnorm.size"


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
