"""Operators that join and cut parts: they join and cut the arrays of an affine in the same way.

Where a part is cut out, what is not in it keeps the identity; where parts are joined, each brings its own affine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Answer, Declined, Demands, Settled, Site
from onnxnorm.affine.rules.crossing import among_identities, cross
from onnxnorm.graph.facts import Dim
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import check_size

__all__ = ["concat", "slice_", "split"]


def concat(site: Site) -> Answer:
    """Concat: the affines of the operands are joined as the operands are."""
    output = site.output()
    rank = site.facts.rank(output)
    shapes = [site.shape_in(index) for index in range(len(site.node.inputs))]
    if rank is None or any(shape is None for shape in shapes):
        return Declined("joins values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 1) % rank
    values = [value for value in site.node.inputs if value is not None]
    gauges = [site.gauge_in(index) for index in range(len(values))]
    gauge_out = site.gauge_out()
    if any(site.facts.constant(value) is not None for value in values):
        return Declined("joins a constant with the value")
    extents = [shape[axis] for shape in shapes if shape is not None]
    if gauge_out is not None:
        demands: Demands = ()
        parts = _cut(gauge_out, axis, extents)
        if parts is None:
            return Declined("joins parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
        for value, part in zip(values, parts, strict=True):
            demands += site.demand(value, part)
        return Settled(None, demands)
    present = [gauge for gauge in gauges if gauge is not None]
    if all(gauge is not None for gauge in gauges) and all(
        gauge.same_as(present[0]) and axis not in gauge.axes for gauge in present
    ):
        return Settled(None, site.demand(output, present[0]))
    if not all(isinstance(extent, int) for extent in extents):
        return Declined("joins parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
    same = Gauge.identity(rank)
    joined = _joined([gauge or same for gauge in gauges], axis, [int(extent or 0) for extent in extents])
    return joined if isinstance(joined, Declined) else Settled(None, site.demand(output, joined))


def _cut(gauge: Gauge, axis: int, extents: Sequence[Dim]) -> list[Gauge] | None:
    if axis not in gauge.axes:
        return [gauge] * len(extents)
    if not all(isinstance(extent, int) for extent in extents):
        return None
    ends = tuple(int(end) for end in np.cumsum([int(extent or 0) for extent in extents]))
    return gauge.parts(axis, ends)


def _joined(gauges: Sequence[Gauge], axis: int, extents: Sequence[int]) -> Gauge | Declined:
    rank = gauges[0].any.rank
    shape = [max(gauge.any.scale.shape[i] for gauge in gauges) for i in range(rank)]
    shape[axis] = sum(extents)
    check_size(shape, max(gauge.any.scale.size for gauge in gauges))

    def side(affines: Sequence[ChannelAffine | None]) -> ChannelAffine | None:
        scale, shift, start = np.ones(shape), np.zeros(shape), 0
        for affine, extent in zip(affines, extents, strict=True):
            if affine is None:
                return None
            if not affine.is_identity:
                place = (slice(None),) * axis + (slice(start, start + extent),)
                scale[place], shift[place] = affine.scale, affine.shift
            start += extent
        return ChannelAffine.of(scale, shift, rank)

    to_new, to_old = side([gauge.to_new for gauge in gauges]), side([gauge.to_old for gauge in gauges])
    if to_new is None and to_old is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    return Gauge(to_new, to_old)


def split(site: Site) -> Answer:
    """Split: an affine is cut as its value is."""
    shape = site.shape_in(0)
    value = site.input(0)
    if shape is None or value is None:
        return Declined("cuts a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 0) % len(shape)
    shapes = [site.shape_out(index) for index in range(len(site.node.outputs))]
    extents: list[Dim] = [None if part is None else part[axis] for part in shapes]
    gauge_in = site.gauge_in(0)
    if gauge_in is not None:
        parts = _cut(gauge_in, axis, extents)
        if parts is None:
            return Declined("cuts parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
        demands: Demands = ()
        for output, part in zip(site.node.outputs, parts, strict=True):
            demands += site.demand(output, part)
        return Settled(None, demands)
    gauges = [site.gauge_out(index) or Gauge.identity(len(shape)) for index in range(len(site.node.outputs))]
    if not all(isinstance(extent, int) for extent in extents):
        return Declined("cuts parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
    joined = _joined(gauges, axis, [int(extent or 0) for extent in extents])
    return joined if isinstance(joined, Declined) else Settled(None, site.demand(value, joined))


def slice_(site: Site) -> Answer:
    """Slice: forwards the affine is cut as the value is; backwards it is put in its place among identities."""
    shape = site.shape_in(0)
    if shape is None:
        return Declined("cuts a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    rank = len(shape)
    cuts = _cuts(site, rank)
    if isinstance(cuts, Declined):
        return cuts

    def forward(gauge: Gauge) -> Gauge | Declined:
        index: list[slice] = [slice(None)] * rank
        for axis, cut in cuts.items():
            if axis in gauge.axes:
                if shape[axis] != gauge.any.scale.shape[axis]:
                    return Declined("cuts an axis whose extent is not known", code=Code.UNKNOWN_SHAPE)
                index[axis] = cut
        selected = gauge.any.scale[tuple(index)]
        if selected.size == 0:
            return Declined("cuts everything away")
        return gauge.map(lambda array: array[tuple(index)])

    def backward(gauge: Gauge) -> Gauge | Declined:
        # Along an axis on which the affine varies, what is cut away keeps the identity; along others it goes along.
        varying = set(gauge.axes) & set(cuts)
        if not varying:
            return gauge
        if not all(isinstance(shape[axis], int) for axis in varying):
            return Declined("cuts an axis whose extent is not known", code=Code.UNKNOWN_SHAPE)
        full = [int(shape[axis] or 0) if axis in varying else gauge.any.scale.shape[axis] for axis in range(rank)]
        index = tuple(cuts[axis] if axis in varying else slice(None) for axis in range(rank))
        return among_identities(gauge, full, index)

    return cross(site, forward, backward)


def _cuts(site: Site, rank: int) -> dict[int, slice] | Declined:
    """Return what a Slice takes along each axis that it cuts."""
    if site.opset < 10:
        starts, ends = site.integers("starts"), site.integers("ends")
        axes, steps = site.integers("axes"), None
    else:
        operands = [site.constant(index) for index in (1, 2, 3, 4)]
        for index, operand in zip((1, 2, 3, 4), operands, strict=True):
            if site.input(index) is not None and operand is None:
                return Declined("cuts at places that are not constant", code=Code.COMPUTED_PARAMETER)
        starts, ends, axes, steps = (
            None if operand is None else tuple(int(entry) for entry in np.ravel(operand)) for operand in operands
        )
    if starts is None or ends is None:
        return Declined("cuts at places that are not constant", code=Code.COMPUTED_PARAMETER)
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    placed = all(-rank <= axis < rank for axis in axes) and 0 not in steps
    if not placed or not len(axes) == len(starts) == len(ends) == len(steps):
        return Declined("cuts at places that there cannot be", code=Code.UNDEFINED)
    return {
        axis % rank: _python_slice(start, end, step)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }


def _python_slice(start: int, end: int, step: int) -> slice:
    # ONNX writes "to the very beginning" of a backward slice as a hugely negative end; Python as None.
    return slice(start, None if step < 0 and end < -(2**31) + 1 else end, step)
