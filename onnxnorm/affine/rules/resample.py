"""Operators that lay out space anew: Pad, Resize, DepthToSpace, SpaceToDepth.

    Pad             with copies of the value itself lets everything pass, with a constant what makes one constant of it
    Resize          every new pixel is a mean of old ones with weights of sum one: everything passes
    DepthToSpace    channel k * C + c (DCR) or c * b^2 + k (CRD) goes to channel c: what is equal for all k passes
    SpaceToDepth    the reverse, in DCR order
An affine must not vary along the axes of space.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Constant, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import Mapped, cross, fits_attribute
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import check_size

__all__ = ["depth_to_space", "grid_sample", "pad", "resize", "space_to_depth"]


def pad(site: Site) -> Answer:
    """Pad: copies of the value let everything pass; a constant has to become what the affine makes of it."""
    mode = site.text("mode", "constant")
    shape = site.shape_in(0)
    if shape is None:
        return Declined("pads a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    rank = len(shape)
    if site.opset < 11:
        pads = site.integers("pads") or site.integers("paddings")
        fill: float | None = site.number("value", 0.0)
        axes: tuple[int, ...] = tuple(range(rank))
    else:
        constant, filling, chosen = site.constant(1), site.constant(2), site.constant(3)
        pads = None if constant is None else tuple(int(entry) for entry in np.ravel(constant))
        missing = site.input(2) is not None and filling is None
        fill = None if missing else 0.0 if filling is None else float(np.ravel(filling)[0])
        if site.input(3) is not None and chosen is None:
            return Declined("pads axes that are not constant", code=Code.COMPUTED_PARAMETER)
        axes = tuple(range(rank)) if chosen is None else tuple(int(axis) % rank for axis in np.ravel(chosen))
    if pads is None or fill is None:
        return Declined("pads by amounts or with a value that is not constant", code=Code.COMPUTED_PARAMETER)
    padded = {axis for i, axis in enumerate(axes) if pads[i] or pads[i + len(axes)]}

    gauge = site.gauge_in(0) or site.gauge_out()
    # The new value: what the affine makes of the old one, if that is one number for all channels.
    filled = None if gauge is None or gauge.to_new is None else gauge.to_new.scale * fill + gauge.to_new.shift
    uniform = filled is not None and bool(np.all(filled == filled.flat[0]))

    def through(gauge: Gauge) -> Gauge | Declined:
        if padded & set(gauge.axes):
            return Declined("pads along the axis on which the affine varies", code=Code.OTHER_AXIS)
        if mode == "constant" and padded and not uniform:
            return Declined("pads with a constant, and an affine before it is not the same after it")
        return gauge

    answer = cross(site, through, through)
    if filled is not None and site.opset < 11 and not fits_attribute(site, filled.flat[0]):
        return Declined(
            "has a value to pad with that an attribute cannot hold in double precision", code=Code.OUT_OF_RANGE
        )
    if not isinstance(answer, Settled) or filled is None or mode != "constant" or filled.flat[0] == fill:
        return answer
    return Settled(_filled(site, float(filled.flat[0])), answer.demands)


def _filled(site: Site, fill: float) -> Edit:
    """Edit the node to pad with another value."""
    if site.opset < 11:
        return Edit((0,), attributes={"value": ir.AttrFloat32("value", fill)}, what="pads with another value")
    inputs: list[int | Constant | None] = [
        index if site.input(index) is not None else None for index in range(len(site.node.inputs))
    ]
    inputs += [None] * (3 - len(inputs))
    inputs[2] = Constant("padding", partial(np.array, fill), site.value_dtype(0), old=site.input(2))
    return Edit(tuple(inputs), what="pads with another value")


def resize(site: Site) -> Answer:
    """Resize and Upsample."""
    before, after = site.shape_in(0), site.shape_out()
    if before is None or after is None or len(before) != len(after):
        return Declined("resizes a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    if site.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return Declined("fills what lies outside with a constant")
    scales = site.constant(1 if site.node.op_type == "Upsample" or site.opset < 11 else 2)

    def through(gauge: Gauge) -> Gauge | Declined:
        for axis in gauge.axes:
            same = isinstance(before[axis], int) and before[axis] == after[axis]
            if not same or (scales is not None and scales.size == len(before) and scales[axis] != 1.0):
                return Declined("resizes the axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge

    return cross(site, through, through)


def depth_to_space(site: Site) -> Answer:
    """DepthToSpace: an affine passes that is equal for all places of a block."""
    blocks = site.integer("blocksize", 1) ** 2
    split, merge = _blocks(blocks, innermost=site.text("mode", "DCR") == "CRD")
    return cross(site, merge, split)


def space_to_depth(site: Site) -> Answer:
    """SpaceToDepth: an affine passes, repeated for all places of a block."""
    split, merge = _blocks(site.integer("blocksize", 1) ** 2, innermost=False)
    return cross(site, split, merge)


def _blocks(blocks: int, *, innermost: bool) -> tuple[Mapped, Mapped]:
    """Return the maps of arrays from channels to channels times blocks, and back."""

    def split(gauge: Gauge) -> Gauge | Declined:
        if any(axis > 1 for axis in gauge.axes):
            return Declined("moves pixels along an axis on which the affine varies", code=Code.OTHER_AXIS)
        if 1 not in gauge.axes:
            return gauge
        check_size((gauge.any.scale.size, blocks))
        return gauge.map(lambda array: np.repeat(array, blocks, 1) if innermost else np.tile(array, (1, blocks, 1, 1)))

    def merge(gauge: Gauge) -> Gauge | Declined:
        if any(axis > 1 for axis in gauge.axes):
            return Declined("moves pixels along an axis on which the affine varies", code=Code.OTHER_AXIS)
        if 1 not in gauge.axes:
            return gauge
        parts = _by_block(gauge.any.scale), _by_block(gauge.any.shift)
        if any(not np.array_equal(part, np.broadcast_to(part[:, :1], part.shape)) for part in parts):
            return Declined("spreads channels over space, and the affine is not the same for all that become one")
        return gauge.map(lambda array: _by_block(array)[:, 0])

    def _by_block(array: FloatArray) -> FloatArray:
        """Return the array with the blocks on an axis of their own: (N, blocks, C, H, W)."""
        batch, channels, *space = array.shape
        if innermost:
            return np.moveaxis(array.reshape(batch, channels // blocks, blocks, *space), 2, 1)
        return array.reshape(batch, blocks, channels // blocks, *space)

    return split, merge


def grid_sample(site: Site) -> Answer:
    """GridSample: everything passes that does not vary over space; scales alone where zeros stand around."""
    zeros = site.text("padding_mode", "zeros") == "zeros"

    def through(gauge: Gauge) -> Gauge | Declined:
        if gauge.shifts and zeros:
            return Declined("takes zeros for what lies outside, so no shift passes it", code=Code.ZERO_PADDING)
        if any(axis > 1 for axis in gauge.axes):
            return Declined("samples along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge

    return cross(site, through, through)
