"""Operators that move elements around: what they do to a value they do to the arrays of its affine.

Transpose permutes the axes of the affine, Reshape splits and merges them, Concat joins and Split cuts them. The
affine's arrays have extent 1 along axes on which it is constant, so axes of unknown extent are no obstacle unless it
varies there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnorm._facts import Dim
from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.affine.site import Answer, Declined, Demands, Settled, Site

__all__ = ["concat", "expand", "pad", "reshape", "slice_", "split", "squeeze", "transpose", "unsqueeze"]


def transpose(site: Site) -> Answer:
    gauge = site.gauge_in(0) or site.gauge_out()
    assert gauge is not None
    order = site.integers("perm") or tuple(reversed(range(gauge.any.rank)))
    back = tuple(int(axis) for axis in np.argsort(order))
    return cross(
        site,
        lambda gauge: gauge.map(lambda array: np.transpose(array, order)),
        lambda gauge: gauge.map(lambda array: np.transpose(array, back)),
    )


def _axes_operand(site: Site) -> tuple[int, ...] | None:
    axes = site.integers("axes")
    if axes is None and site.input(1) is not None and (constant := site.constant(1)) is not None:
        axes = tuple(int(axis) for axis in np.ravel(constant))
    return axes


def unsqueeze(site: Site) -> Answer:
    axes = _axes_operand(site)
    gauge = site.gauge_in(0) or site.gauge_out()
    if axes is None or gauge is None:
        return Declined("adds axes that are not constant")
    rank = gauge.any.rank + (len(axes) if site.gauge_in(0) is not None else 0)
    added = tuple(sorted(axis % rank for axis in axes))
    return cross(
        site,
        lambda gauge: gauge.map(lambda array: np.expand_dims(array, added)),
        lambda gauge: gauge.map(lambda array: np.squeeze(array, added)),
    )


def squeeze(site: Site) -> Answer:
    shape = site.shape_in(0)
    axes = _axes_operand(site)
    if shape is None or (
        axes is None and (site.input(1) is not None or not all(isinstance(dim, int) for dim in shape))
    ):
        return Declined("removes axes that are not known")
    if axes is None:
        axes = tuple(axis for axis, dim in enumerate(shape) if dim == 1)
    removed = tuple(sorted(axis % len(shape) for axis in axes))
    return cross(
        site,
        lambda gauge: gauge.map(lambda array: np.squeeze(array, removed)),
        lambda gauge: gauge.map(lambda array: np.expand_dims(array, removed)),
    )


def reshape(site: Site) -> Answer:
    """Reshape and Flatten."""
    before, after = site.shape_in(0), site.shape_out()
    if before is None:
        return Declined("reshapes a value whose rank is not known")
    if site.node.op_type == "Flatten":
        after = _flattened(before, site.integer("axis", 1) % (len(before) + 1))
    else:
        after = _refined(site, before, after)
    if after is None:
        return Declined("reshapes to a shape whose rank is not known")
    groups = _groups(before, after)
    return cross(
        site,
        lambda gauge: _regrouped(gauge, before, after, groups),
        lambda gauge: _regrouped(gauge, after, before, [(b, a) for a, b in groups]),
    )


def _flattened(shape: Sequence[Dim], axis: int) -> tuple[Dim, ...]:
    return tuple(_product(part) for part in (shape[:axis], shape[axis:]))


def _product(dims: Sequence[Dim]) -> Dim:
    product = 1
    for dim in dims:
        if not isinstance(dim, int):
            return dims[0] if len(dims) == 1 else None
        product *= dim
    return product


def _refined(site: Site, before: Sequence[Dim], after: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """The new shape, with what the request says beyond shape inference: 0 copies an extent, -1 is what remains."""
    request = site.constant(1)
    if request is None or request.ndim != 1:
        return after
    dims: list[Dim] = []
    copies = not site.integer("allowzero", 0)
    for axis, extent in enumerate(int(value) for value in request):
        if extent > 0 or (extent == 0 and not copies):
            dims.append(extent)
        elif extent == 0:
            dims.append(before[axis] if axis < len(before) else None)
        else:
            dims.append(after[axis] if after is not None and axis < len(after) else None)
    return tuple(dims)


def _groups(before: Sequence[Dim], after: Sequence[Dim]) -> list[tuple[range, range]]:
    """Runs of axes that hold the same elements on both sides, from left to right.

    Known runs are cut off at the right and at the left end; what is left between them is one run of unknown structure.
    """
    right: list[tuple[range, range]] = []
    end_before, end_after = len(before), len(after)
    while (run := _run(before[:end_before][::-1], after[:end_after][::-1])) is not None:
        right.append((range(end_before - run[0], end_before), range(end_after - run[1], end_after)))
        end_before, end_after = end_before - run[0], end_after - run[1]
    left: list[tuple[range, range]] = []
    start_before, start_after = 0, 0
    while (run := _run(before[start_before:end_before], after[start_after:end_after])) is not None:
        left.append((range(start_before, start_before + run[0]), range(start_after, start_after + run[1])))
        start_before, start_after = start_before + run[0], start_after + run[1]
    middle = [(range(start_before, end_before), range(start_after, end_after))]
    return [*left, *middle, *reversed(right)]


def _run(before: Sequence[Dim], after: Sequence[Dim]) -> tuple[int, int] | None:
    """How many leading axes on each side make the shortest run with the same number of elements."""
    if before and after and isinstance(before[0], str) and before[0] == after[0]:
        return 1, 1
    count = [0, 0]
    product = [1, 1]
    sides = (before, after)
    while True:
        side = 0 if (count[0] == 0 or product[0] < product[1]) else 1
        if count[side] == len(sides[side]):
            return None
        dim = sides[side][count[side]]
        if not isinstance(dim, int) or dim == 0:
            return None
        product[side] *= dim
        count[side] += 1
        if count[0] and count[1] and product[0] == product[1]:
            return count[0], count[1]


def _regrouped(
    gauge: Gauge, before: Sequence[Dim], after: Sequence[Dim], groups: list[tuple[range, range]]
) -> Gauge | Declined:
    varying = set(gauge.axes)
    full, target = [1] * len(before), [1] * len(after)
    for axes_before, axes_after in groups:
        touched = varying & set(axes_before)
        if not touched:
            continue
        extents_before = [before[axis] for axis in axes_before]
        extents_after = [after[axis] for axis in axes_after]
        if not all(isinstance(dim, int) for dim in (*extents_before, *extents_after)):
            return Declined("reshapes the axis on which the affine varies in a way that is not known beforehand")
        for axis, dim in zip(axes_before, extents_before, strict=True):
            full[axis] = dim  # type: ignore[assignment]
        for axis, dim in zip(axes_after, extents_after, strict=True):
            target[axis] = dim  # type: ignore[assignment]
    if np.prod(full, dtype=np.int64) != np.prod(target, dtype=np.int64):
        return Declined("reshapes the axis on which the affine varies in a way that is not known beforehand")

    def change(array: FloatArray) -> FloatArray:
        return np.broadcast_to(array, full).reshape(target)

    return gauge.map(change)


def concat(site: Site) -> Answer:
    output = site.output()
    rank = site.facts.rank(output)
    shapes = [site.shape_in(index) for index in range(len(site.node.inputs))]
    if rank is None or any(shape is None for shape in shapes):
        return Declined("joins values whose rank is not known")
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
            return Declined("joins parts whose extents are not known")
        for value, part in zip(values, parts, strict=True):
            demands += site.demand(value, part)
        return Settled(None, demands)
    present = [gauge for gauge in gauges if gauge is not None]
    if all(gauge is not None for gauge in gauges) and all(
        gauge.same_as(present[0]) and axis not in gauge.axes for gauge in present
    ):
        return Settled(None, site.demand(output, present[0]))
    if not all(isinstance(extent, int) for extent in extents):
        return Declined("joins parts whose extents are not known")
    joined = _joined(
        [gauge or Gauge.identity(rank) for gauge in gauges], axis, [int(extent or 0) for extent in extents]
    )
    return joined if isinstance(joined, Declined) else Settled(None, site.demand(output, joined))


def _cut(gauge: Gauge, axis: int, extents: Sequence[Dim]) -> list[Gauge] | None:
    if axis not in gauge.axes:
        return [gauge] * len(extents)
    if not all(isinstance(extent, int) for extent in extents):
        return None
    ends = np.cumsum([int(extent or 0) for extent in extents])
    starts = [0, *ends[:-1]]
    return [
        gauge.map(lambda array, start=start, end=end: _along(array, axis, start, end))  # type: ignore[misc]
        for start, end in zip(starts, ends, strict=True)
    ]


def _along(array: FloatArray, axis: int, start: int, end: int) -> FloatArray:
    if array.shape[axis] == 1:
        return array
    return array[tuple(slice(start, end) if i == axis else slice(None) for i in range(array.ndim))]


def _joined(gauges: Sequence[Gauge], axis: int, extents: Sequence[int]) -> Gauge | Declined:
    rank = gauges[0].any.rank
    shape = [max(gauge.any.scale.shape[i] for gauge in gauges) for i in range(rank)]

    def side(affines: Sequence[ChannelAffine | None]) -> ChannelAffine | None:
        if any(affine is None for affine in affines):
            return None
        parts: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        for affine, extent in zip(affines, extents, strict=True):
            assert affine is not None
            full = [extent if i == axis else dim for i, dim in enumerate(shape)]
            for part, array in zip(parts, (affine.scale, affine.shift), strict=True):
                part.append(np.broadcast_to(array, full))
        return ChannelAffine.of(np.concatenate(parts[0], axis), np.concatenate(parts[1], axis), rank)

    to_new, to_old = side([gauge.to_new for gauge in gauges]), side([gauge.to_old for gauge in gauges])
    if to_new is None and to_old is None:
        return Declined("would have to undo a scale of zero")
    return Gauge(to_new, to_old)


def split(site: Site) -> Answer:
    shape = site.shape_in(0)
    value = site.input(0)
    if shape is None or value is None:
        return Declined("cuts a value whose rank is not known")
    axis = site.integer("axis", 0) % len(shape)
    shapes = [site.shape_out(index) for index in range(len(site.node.outputs))]
    extents: list[Dim] = [None if part is None else part[axis] for part in shapes]
    gauge_in = site.gauge_in(0)
    if gauge_in is not None:
        parts = _cut(gauge_in, axis, extents)
        if parts is None:
            return Declined("cuts parts whose extents are not known")
        demands: Demands = ()
        for output, part in zip(site.node.outputs, parts, strict=True):
            demands += site.demand(output, part)
        return Settled(None, demands)
    gauges = [site.gauge_out(index) or Gauge.identity(len(shape)) for index in range(len(site.node.outputs))]
    if not all(isinstance(extent, int) for extent in extents):
        return Declined("cuts parts whose extents are not known")
    joined = _joined(gauges, axis, [int(extent or 0) for extent in extents])
    return joined if isinstance(joined, Declined) else Settled(None, site.demand(value, joined))


def slice_(site: Site) -> Answer:
    """Forwards the affine is cut as the value is; backwards it is put in its place among identities."""
    shape = site.shape_in(0)
    if shape is None:
        return Declined("cuts a value whose rank is not known")
    rank = len(shape)
    if site.opset < 10:
        starts, ends = site.integers("starts"), site.integers("ends")
        axes, steps = site.integers("axes"), None
    else:
        operands = [site.constant(index) for index in (1, 2, 3, 4)]
        for index, operand in zip((1, 2, 3, 4), operands, strict=True):
            if site.input(index) is not None and operand is None:
                return Declined("cuts at places that are not constant")
        starts, ends, axes, steps = (
            None if operand is None else tuple(int(entry) for entry in np.ravel(operand)) for operand in operands
        )
    if starts is None or ends is None:
        return Declined("cuts at places that are not constant")
    axes = tuple(axis % rank for axis in (axes or range(len(starts))))
    cuts = dict(zip(axes, zip(starts, ends, steps or (1,) * len(starts), strict=True), strict=True))

    def forward(gauge: Gauge) -> Gauge | Declined:
        index: list[slice] = [slice(None)] * rank
        for axis, (start, end, step) in cuts.items():
            if axis in gauge.axes:
                if shape[axis] != gauge.any.scale.shape[axis]:
                    return Declined("cuts an axis whose extent is not known")
                index[axis] = _python_slice(start, end, step)
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
            return Declined("cuts an axis whose extent is not known")
        full = [int(shape[axis] or 0) if axis in varying else gauge.any.scale.shape[axis] for axis in range(rank)]
        index = tuple(_python_slice(*cuts[axis]) if axis in varying else slice(None) for axis in range(rank))

        def embedded(affine: ChannelAffine | None) -> ChannelAffine | None:
            if affine is None:
                return None
            scale, shift = np.ones(full), np.zeros(full)
            scale[index], shift[index] = affine.scale, affine.shift
            return ChannelAffine.of(scale, shift, rank)

        return Gauge(embedded(gauge.to_new), embedded(gauge.to_old))

    return cross(site, forward, backward)


def _python_slice(start: int, end: int, step: int) -> slice:
    # ONNX writes "to the very beginning" of a backward slice as a hugely negative end; Python as None.
    return slice(start, None if step < 0 and end < -(2**31) + 1 else end, step)


def expand(site: Site) -> Answer:
    """Broadcasting to a shape leaves an affine as it is, unless it varies along an axis that is enlarged."""
    before, after = site.shape_in(0), site.shape_out()
    if before is None or after is None:
        return Declined("expands to a shape whose rank is not known")
    added = len(after) - len(before)

    def forward(gauge: Gauge) -> Gauge | Declined:
        return gauge.map(lambda array: array.reshape((1,) * added + array.shape))

    def backward(gauge: Gauge) -> Gauge | Declined:
        for axis in gauge.axes:
            if axis < added or before[axis - added] != gauge.any.scale.shape[axis]:
                return Declined("expands along the axis on which the affine varies")
        return gauge.map(lambda array: array.reshape(array.shape[added:]))

    return cross(site, forward, backward)


def pad(site: Site) -> Answer:
    """Padding with zeros lets scales pass; padding with copies of the value itself lets everything pass."""
    mode = site.text("mode", "constant")
    shape = site.shape_in(0)
    if shape is None:
        return Declined("pads a value whose rank is not known")
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
            return Declined("pads axes that are not constant")
        axes = tuple(range(rank)) if chosen is None else tuple(int(axis) % rank for axis in np.ravel(chosen))
    if pads is None or fill is None:
        return Declined("pads by amounts or with a value that is not constant")
    padded = {axis for i, axis in enumerate(axes) if pads[i] or pads[i + len(axes)]}

    def through(gauge: Gauge) -> Gauge | Declined:
        if padded & set(gauge.axes):
            return Declined("pads along the axis on which the affine varies")
        if mode == "constant" and padded and (fill != 0.0 or gauge.shifts):
            return Declined("pads with a constant, and an affine before it is not the same after it")
        return gauge

    return cross(site, through, through)
