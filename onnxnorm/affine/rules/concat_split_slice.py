"""Operators that join and cut parts: they join and cut the arrays of an affine in the same way.

Where a part is cut out, what is not in it keeps the identity; where parts are joined, each brings its own affine.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Answer, Declined, Demands, Settled, Site
from onnxnorm.affine.rules.crossing import among_identities, cross
from onnxnorm.graph.facts import Dim
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import check_size

__all__ = ["concat", "slice_", "split"]


@dataclass(frozen=True, eq=False)
class _Row:
    """The values that a Concat joins, and where each begins and ends along the axis.

    Attributes:
        ends: where each value ends; None where an extent is not known.
    """

    values: tuple[ir.Value, ...]
    rank: int
    axis: int
    ends: tuple[int, ...] | None


def concat(site: Site) -> Answer:
    """Concat: the affines of the operands are joined as the operands are."""
    row = _row(site)
    if isinstance(row, Declined):
        return row
    gauge_out = site.gauge_out()
    if gauge_out is not None:
        parts = _cut(gauge_out, row.axis, row.ends, len(row.values))
        if parts is None:
            return Declined("joins parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
        demands: list[tuple[ir.Value, Gauge]] = []
        for value, part in zip(row.values, parts, strict=True):
            demands += site.demand(value, part)
        return Settled(None, tuple(demands))
    gauges = [site.gauges.get(value) for value in row.values]
    present = [gauge for gauge in gauges if gauge is not None]
    if len(present) == len(gauges) and all(
        gauge.same_as(present[0]) and row.axis not in gauge.axes for gauge in present
    ):
        return Settled(None, site.demand(site.output(), present[0]))
    if row.ends is None:
        return Declined("joins parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
    joined = _joined(gauges, row.axis, row.ends, row.rank)
    return joined if isinstance(joined, Declined) else Settled(None, site.demand(site.output(), joined))


def _row(site: Site) -> _Row | Declined:
    """Read the node, once for as long as it has the same operands."""
    known = site.facts.read_nodes.get(site.node)
    if isinstance(known, _Row) and known.values == tuple(site.node.inputs):
        return known
    rank = site.facts.rank(site.output())
    shapes = [site.shape_in(index) for index in range(len(site.node.inputs))]
    if rank is None or any(shape is None for shape in shapes):
        return Declined("joins values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 1) % rank
    values = tuple(value for value in site.node.inputs if value is not None)
    if any(site.facts.constant(value) is not None for value in values):
        return Declined("joins a constant with the value")
    row = _Row(values, rank, axis, _ends([shape[axis] for shape in shapes if shape is not None]))
    site.facts.read_nodes[site.node] = row
    return row


def _ends(extents: Sequence[Dim]) -> tuple[int, ...] | None:
    if not all(isinstance(extent, int) for extent in extents):
        return None
    return tuple(itertools.accumulate(int(extent or 0) for extent in extents))


def _cut(gauge: Gauge, axis: int, ends: tuple[int, ...] | None, count: int) -> list[Gauge] | None:
    if axis not in gauge.axes:
        return [gauge] * count
    return None if ends is None else gauge.parts(axis, ends)


def _joined(gauges: Sequence[Gauge | None], axis: int, ends: tuple[int, ...], rank: int) -> Gauge | Declined:
    """Join the gauges of values that end at `ends`; some of them have none."""
    places = zip((0, *ends), ends, strict=False)
    given = [(gauge, start, end) for gauge, (start, end) in zip(gauges, places, strict=True) if gauge is not None]
    shape = [max(gauge.any.scale.shape[i] for gauge, _, _ in given) for i in range(rank)]
    shape[axis] = ends[-1]
    check_size(shape, max(gauge.any.scale.size for gauge, _, _ in given))

    def side(affines: Sequence[ChannelAffine | None]) -> ChannelAffine | None:
        scale, shift = np.ones(shape), np.zeros(shape)
        for affine, (_, start, end) in zip(affines, given, strict=True):
            if affine is None:
                return None
            if not affine.is_identity:
                place = (slice(None),) * axis + (slice(start, end),)
                scale[place], shift[place] = affine.scale, affine.shift
        return ChannelAffine.of(scale, shift, rank)

    to_new, to_old = side([gauge.to_new for gauge, _, _ in given]), side([gauge.to_old for gauge, _, _ in given])
    if to_new is None and to_old is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    joined = Gauge(to_new, to_old)
    if to_new is not None and to_old is not None and not any(gauge.is_identity for gauge, _, _ in given):
        # The node that joins them is asked about the whole next.
        same = Gauge.identity(rank)
        joined.keep_parts(axis, ends, [gauge or same for gauge in gauges])
    return joined


def split(site: Site) -> Answer:
    """Split: an affine is cut as its value is."""
    shape = site.shape_in(0)
    value = site.input(0)
    if shape is None or value is None:
        return Declined("cuts a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 0) % len(shape)
    shapes = [site.shape_out(index) for index in range(len(site.node.outputs))]
    ends = _ends([None if part is None else part[axis] for part in shapes])
    gauge_in = site.gauge_in(0)
    if gauge_in is not None:
        parts = _cut(gauge_in, axis, ends, len(shapes))
        if parts is None:
            return Declined("cuts parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
        demands: Demands = ()
        for output, part in zip(site.node.outputs, parts, strict=True):
            demands += site.demand(output, part)
        return Settled(None, demands)
    if ends is None:
        return Declined("cuts parts whose extents are not known", code=Code.UNKNOWN_SHAPE)
    joined = _joined([site.gauge_out(index) for index in range(len(site.node.outputs))], axis, ends, len(shape))
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
