"""CenterCropPad cuts axes, or lengthens them by zeros: a scale passes it that does not vary along these axes.

A skeleton of a rule, to be copied to onnxnorm/affine/rules/ (recipe 1 of CONTRIBUTING.md). The docstring says which
affines pass the operator, or are absorbed by it, and why that is exact.

    crop_or_pad(s x) = s crop_or_pad(x), since s 0 = 0; a shift would have to be added to the zeros too
"""

from __future__ import annotations

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.interface import Answer, Cause, Declined, Site
from onnxnorm.affine.rules.crossing import cross

__all__ = ["center_crop_pad"]


def center_crop_pad(site: Site) -> Answer:
    """CenterCropPad: a scale passes that does not vary along the axes that it changes."""
    # Guard first: what has to be known of the node, each with a reason that continues the sentence "node X ...".
    shape = site.shape_in(0)
    if shape is None:
        return Declined("has an input whose rank is not known")
    changed = {axis % len(shape) for axis in site.integers("axes") or range(len(shape))}

    # Then what becomes of a gauge. Return the gauge of the other side, or why there is none. A cause is given where the
    # reason holds for every affine of that kind, whatever its numbers: searches that come later need not ask again.
    def through(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts:
            return Declined("adds zeros, so no shift passes it", Cause.SHIFT)
        if changed & set(gauge.axes):
            return Declined("cuts the axis on which the affine varies")
        return gauge

    # `cross` asks the one function for a gauge that comes from the input, the other for one that comes from the output.
    return cross(site, through, through)
