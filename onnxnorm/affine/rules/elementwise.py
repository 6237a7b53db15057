"""Elementwise operators of one value that depends on the input: which affines pass through them.

Relu, LeakyRelu, PRelu     f(s x) = s f(x) for s >= 0; nothing for a shift
Clip                       f(s x + t) with bounds (bound - t) / s, if s > 0 and one affine serves all channels;
                           s of any channel where the bounds are zero or infinite
Identity, Dropout          everything, at inference
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Cause, Constant, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import cross, fits_attribute, unchanged
from onnxnorm.journal.reasons import Code

__all__ = [
    "cast",
    "clip",
    "dropout",
    "identity",
    "prelu",
    "rectifier",
    "shape",
]


def identity(site: Site) -> Answer:
    """Identity: everything passes."""
    return cross(site, unchanged, unchanged)


def shape(site: Site) -> Answer:
    """Shape and Size look at no element."""
    return Settled(blind=True)


def dropout(site: Site) -> Answer:
    """Dropout at inference: everything passes."""
    if site.opset >= 12 and site.input(2) is not None:
        training = site.constant(2)
        if training is None or bool(np.any(training)):
            return Declined("drops values at random (training mode)", code=Code.TRAINING_MODE)
    if site.opset < 7 and not site.integer("is_test", 0):
        return Declined("drops values at random (training mode)", code=Code.TRAINING_MODE)
    if any(output.uses() or output.is_graph_output() for output in site.node.outputs[1:]):
        return Declined("has a mask that is used", code=Code.FURTHER_OUTPUTS)
    return cross(site, unchanged, unchanged)


def _scaled_by_non_negative(gauge: Gauge) -> Gauge | Declined:
    if gauge.shifts:
        return Declined("bends at zero, so no shift passes it", Cause.SHIFT, code=Code.BENDS_AT_ZERO)
    if not gauge.non_negative:
        return Declined("bends at zero, so no negative scale passes it", Cause.NEGATIVE, code=Code.NEGATIVE_SCALE)
    return gauge


def rectifier(site: Site) -> Answer:
    """Relu and LeakyRelu."""
    return cross(site, _scaled_by_non_negative, _scaled_by_non_negative)


def prelu(site: Site) -> Answer:
    """PRelu: a negative scale passes too, if the slope turns over with it.

    For s < 0: f(s x) with slope a is s a g(x), g with slope 1 / a.
    """
    gauge = site.gauge_in(0) or site.gauge_out()
    if gauge is None or site.gauge_in(1) is not None:
        return Declined("has a slope that depends on the input")
    slope = site.constant64(1)
    if gauge.shifts or gauge.non_negative or slope is None or np.any(slope <= 0.0) or gauge.to_old is None:
        return cross(site, _scaled_by_non_negative, _scaled_by_non_negative)
    rank, shape_in = gauge.any.rank, site.shape_in(0)
    lifted = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    if shape_in is None or not all(_is_along(each, shape_in) for each in (lifted, gauge.to_old.scale)):
        return Declined("has a slope along other axes than the affine", code=Code.OTHER_AXIS)

    def turned(gauge: Gauge, *, forward: bool) -> Gauge:
        assert gauge.to_old is not None
        scale = gauge.to_old.scale
        other = np.where(scale < 0.0, scale * lifted if forward else scale / lifted, scale)
        return Gauge.old(ChannelAffine.of(other, np.zeros(()), rank))

    inner = site.gauge_in(0)
    if inner is None or inner.to_old is None:
        inner = turned(gauge, forward=False)
    assert inner.to_old is not None
    new_slope = np.where(inner.to_old.scale < 0.0, 1.0 / lifted, lifted)
    answer = cross(site, partial(turned, forward=True), partial(turned, forward=False))
    if not isinstance(answer, Settled):
        return answer
    while new_slope.ndim > 1 and new_slope.shape[0] == 1:
        new_slope = new_slope[0]
    new = Constant("slope", partial(np.array, new_slope), site.dtype(1), old=site.input(1))
    return Settled(Edit((0, new), what="turns its slope over"), answer.demands)


def _is_along(array: FloatArray, shape: Sequence[int | str | None]) -> bool:
    """Whether the array fits into the shape without another extent in it."""
    return array.ndim == len(shape) and all(extent in (1, dim) for extent, dim in zip(array.shape, shape, strict=True))


def cast(site: Site) -> Answer:
    """Cast: between float and double nothing is lost, unless constants in double would have to be rounded to float."""
    value = site.input(0)
    before, after = None if value is None else value.dtype, ir.DataType(site.integer("to", 0))
    if site.gauge_in(0) is None and before is ir.DataType.FLOAT and after is ir.DataType.DOUBLE:
        return Declined("widens the type, and before it the affine would be rounded", code=Code.OUT_OF_RANGE)
    if not {before, after} <= {ir.DataType.FLOAT, ir.DataType.DOUBLE}:
        return Declined("changes to a type of other range or precision", code=Code.OUT_OF_RANGE)
    return cross(site, unchanged, unchanged)


def clip(site: Site) -> Answer:
    """Clip: a positive scale and a shift pass, with other bounds."""
    gauge = site.gauge_in(0) or site.gauge_out()
    if gauge is None:
        return Declined("has bounds that depend on the input")
    if not gauge.shifts and gauge.positive and _bounds_are_rays(site):
        return cross(site, unchanged, unchanged)
    if gauge.axes or not gauge.positive or gauge.to_new is None:
        return Declined("has one pair of bounds, so only one positive scale and shift for all channels passes it")
    value, output = site.input(0), site.output()
    assert value is not None
    demands = site.demand(output if site.gauge_in(0) is not None else value, gauge)
    affine = gauge.to_new
    scale, shift = affine.scale.item(), affine.shift.item()
    if site.opset < 11:
        attributes = {
            name: ir.AttrFloat32(name, site.number(name, 0.0) * scale + shift)
            for name in ("min", "max")
            if name in site.node.attributes
        }
        if not all(fits_attribute(site, site.number(name, 0.0) * scale + shift) for name in attributes):
            return Declined("has bounds that attributes cannot hold in double precision", code=Code.OUT_OF_RANGE)
        return Settled(Edit((0,), attributes=attributes, what="moves its bounds"), demands)
    bounds: list[int | Constant | None] = [0]
    for index, role in ((1, "min"), (2, "max")):
        bound = site.constant64(index)
        if site.input(index) is None:
            bounds.append(None)
        elif bound is None:
            return Declined("has bounds that are not constant", code=Code.COMPUTED_PARAMETER)
        else:
            compute = partial(np.array, bound * scale + shift)
            bounds.append(Constant(role, compute, site.dtype(index), old=site.input(index)))
    return Settled(Edit(tuple(bounds), what="moves its bounds"), demands)


def _bounds_are_rays(site: Site) -> bool:
    """Whether every bound is zero, infinite or missing: a positive scale leaves it where it is."""
    for index, name in ((1, "min"), (2, "max")):
        if site.opset < 11:
            bound = site.number(name, np.inf)
        elif site.input(index) is None:
            continue
        else:
            array = site.constant64(index)
            bound = np.nan if array is None or array.size != 1 else array.item()
        largest = np.finfo(np.float32).max if site.opset < 11 else np.inf
        if bound != 0.0 and not abs(bound) >= largest:
            return False
    return True
