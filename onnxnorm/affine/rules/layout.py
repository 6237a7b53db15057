"""Operators that arrange axes anew: what they do to the axes of a value they do to the arrays of its affine.

Transpose permutes the axes, Reshape splits and merges them. The arrays have extent 1 along axes on which the affine is
constant, so axes of unknown extent are no obstacle unless it varies there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Declined, Site
from onnxnorm.affine.rules.crossing import Mapped, cross
from onnxnorm.graph.facts import Dim
from onnxnorm.graph.reshape import runs, shape_after
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import MAX_RANK, check_size

__all__ = ["expand", "reshape", "squeeze", "transpose", "unsqueeze"]


def transpose(site: Site) -> Answer:
    """Transpose: the arrays of an affine are transposed as the value is."""
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
        axes = tuple(int(axis) for axis in np.ravel(constant)[: MAX_RANK + 1])
    return axes


def _counted(axes: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
    """Return the axes counted from the first, in order; None where one is out of range or there twice."""
    if rank > MAX_RANK or not all(-rank <= axis < rank for axis in axes):
        return None
    counted = sorted({axis % rank for axis in axes})
    return tuple(counted) if len(counted) == len(axes) else None


def _with_axes(axes: tuple[int, ...]) -> Mapped:
    return lambda gauge: gauge.map(lambda array: np.expand_dims(array, axes))


def _without_axes(axes: tuple[int, ...]) -> Mapped:
    return lambda gauge: gauge.map(lambda array: np.squeeze(array, axes))


def unsqueeze(site: Site) -> Answer:
    """Unsqueeze: the arrays of an affine get the same axes of extent one."""
    axes = _axes_operand(site)
    gauge = site.gauge_in(0) or site.gauge_out()
    if axes is None or gauge is None:
        return Declined("adds axes that are not constant", code=Code.COMPUTED_PARAMETER)
    rank = gauge.any.rank + (len(axes) if site.gauge_in(0) is not None else 0)
    added = _counted(axes, rank)
    if added is None:
        return Declined("adds axes that there cannot be", code=Code.UNDEFINED)
    return cross(site, _with_axes(added), _without_axes(added))


def squeeze(site: Site) -> Answer:
    """Squeeze: the arrays of an affine lose the same axes."""
    shape = site.shape_in(0)
    axes = _axes_operand(site)
    if shape is None or (
        axes is None and (site.input(1) is not None or not all(isinstance(dim, int) for dim in shape))
    ):
        return Declined("removes axes that are not known", code=Code.UNKNOWN_SHAPE)
    if axes is None:
        axes = tuple(axis for axis, dim in enumerate(shape) if dim == 1)
    removed = _counted(axes, len(shape))
    if removed is None:
        return Declined("removes axes that there cannot be", code=Code.UNDEFINED)
    return cross(site, _without_axes(removed), _with_axes(removed))


def reshape(site: Site) -> Answer:
    """Reshape and Flatten."""
    before = site.shape_in(0)
    if before is None:
        return Declined("reshapes a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    after = shape_after(site.node, before, site.facts)
    if after is None:
        return Declined("reshapes to a shape whose rank is not known", code=Code.UNKNOWN_SHAPE)
    groups = runs(before, after)
    return cross(
        site,
        lambda gauge: _regrouped(gauge, before, after, groups),
        lambda gauge: _regrouped(gauge, after, before, [(b, a) for a, b in groups]),
    )


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
            return Declined(
                "reshapes the axis on which the affine varies in a way that is not known beforehand",
                code=Code.UNKNOWN_SHAPE,
            )
        for axis, dim in zip(axes_before, extents_before, strict=True):
            full[axis] = dim  # type: ignore[assignment]
        for axis, dim in zip(axes_after, extents_after, strict=True):
            target[axis] = dim  # type: ignore[assignment]
    if math.prod(full) != math.prod(target):
        return Declined(
            "reshapes the axis on which the affine varies in a way that is not known beforehand",
            code=Code.UNKNOWN_SHAPE,
        )

    def change(array: FloatArray) -> FloatArray:
        check_size(full, array.size)
        return np.broadcast_to(array, full).reshape(target)

    return gauge.map(change)


def expand(site: Site) -> Answer:
    """Expand: broadcasting to a shape leaves an affine as it is, unless it varies along an axis that is enlarged."""
    before, after = site.shape_in(0), site.shape_out()
    if before is None or after is None:
        return Declined("expands to a shape whose rank is not known", code=Code.UNKNOWN_SHAPE)
    added = len(after) - len(before)

    def forward(gauge: Gauge) -> Gauge | Declined:
        return gauge.map(lambda array: array.reshape((1,) * added + array.shape))

    def backward(gauge: Gauge) -> Gauge | Declined:
        for axis in gauge.axes:
            if axis < added or before[axis - added] != gauge.any.scale.shape[axis]:
                return Declined("expands along the axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge.map(lambda array: array.reshape(array.shape[added:]))

    return cross(site, forward, backward)
