"""Reductions over axes: sums and means let every affine pass, extrema one that keeps or turns the order, norms a scale.

    mean(s x + t) = s mean(x) + mean(t)     max(s x + t) = s max(x) + t for s >= 0, s min(x) + t for s <= 0
    sum(s x + t) = s sum(x) + sum(t)        norm(s x) = |s| norm(x)
A scale must not vary along an axis that is reduced; a shift may in means and sums, if the extents are known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import cross
from onnxnorm.affine.rules.pool import shift_changed
from onnxnorm.affine.rules.powers import absolute, rooted, squared
from onnxnorm.graph.facts import Dim
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import check_size

__all__ = ["reduction"]

_NORMS = frozenset({"ReduceL1", "ReduceL2"})
_SUMS = frozenset({"ReduceSum", "ReduceMean"})
_OPPOSITE: Mapping[str, str] = {"ReduceMax": "ReduceMin", "ReduceMin": "ReduceMax"}
_UNKNOWN_EXTENT = Declined(
    "sums over an axis whose extent is not known, so no shift passes it", code=Code.UNKNOWN_SHAPE
)


def reduction(site: Site) -> Answer:
    """ReduceMean, ReduceSum, ReduceMax, ReduceMin, ReduceL1, ReduceL2 and ReduceSumSquare."""
    shape = site.shape_in(0)
    if shape is None:
        return Declined("reduces a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axes = _axes(site, len(shape))
    if isinstance(axes, Declined):
        return axes
    gauge = site.gauge_in(0) or site.gauge_out()
    assert gauge is not None
    kind = site.node.op_type
    turned = kind in _OPPOSITE and bool(np.all(gauge.any.scale <= 0.0))
    through = _Reduction(kind, shape, axes, bool(site.integer("keepdims", 1)), turned)
    answer = cross(site, through.forward, through.backward)
    if turned and isinstance(answer, Settled):
        inputs = tuple(range(len(site.node.inputs)))
        return Settled(Edit(inputs, op_type=_OPPOSITE[kind], what="turns into its opposite"), answer.demands)
    return answer


def _axes(site: Site, rank: int) -> tuple[int, ...] | Declined:
    """Return the axes that are reduced, counted from the first, in order."""
    axes = site.integers("axes")
    if axes is None and site.input(1) is not None:
        constant = site.constant(1)
        if constant is None:
            return Declined("reduces along axes that are not constant", code=Code.COMPUTED_PARAMETER)
        axes = tuple(int(axis) for axis in np.ravel(constant))
    if axes:
        return tuple(sorted({axis % rank for axis in axes}))
    if site.integer("noop_with_empty_axes", 0):
        return Declined("reduces along no axis", code=Code.OTHER_AXIS)
    return tuple(range(rank))


@dataclass(frozen=True)
class _Reduction:
    """The way of gauges through a reduction.

    Attributes:
        kind: the operator.
        shape: of its input.
        axes: those that are reduced.
        keeps: whether they stay, with extent one.
        turned: whether a maximum becomes a minimum, or the other way round.
    """

    kind: str
    shape: tuple[Dim, ...]
    axes: tuple[int, ...]
    keeps: bool
    turned: bool

    def forward(self, gauge: Gauge) -> Gauge | Declined:
        """Return the gauge of the result."""
        mapped = self._of_elements(gauge, forward=True)
        if isinstance(mapped, Declined):
            return mapped
        varies = bool(set(self.axes) & set(mapped.axes))
        if self.kind in _SUMS and mapped.shifts:
            extents = [self.shape[axis] for axis in self.axes]
            if (varies or self.kind == "ReduceSum") and not all(isinstance(extent, int) for extent in extents):
                return _UNKNOWN_EXTENT
            change = self._summed if varies or self.kind == "ReduceSum" else _as_it_is
            mapped = shift_changed(mapped, self.axes, change, "reduces along an axis on which the scale varies")
            if isinstance(mapped, Declined):
                return mapped
        elif varies:
            return Declined("reduces along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return mapped if self.keeps else mapped.map(lambda array: np.squeeze(array, self.axes))

    def backward(self, gauge: Gauge) -> Gauge | Declined:
        """Return the gauge of the input."""
        mapped = self._of_elements(gauge, forward=False)
        if isinstance(mapped, Declined):
            return mapped
        if not self.keeps:
            mapped = mapped.map(lambda array: np.expand_dims(array, self.axes))
        if self.kind == "ReduceSum" and mapped.shifts:
            count = math.prod(dim if isinstance(dim, int) else 0 for dim in (self.shape[axis] for axis in self.axes))
            return shift_changed(mapped, self.axes, lambda shift: shift / count, "") if count else _UNKNOWN_EXTENT
        return mapped

    def _of_elements(self, gauge: Gauge, *, forward: bool) -> Gauge | Declined:
        """Return the gauge after what the operator does to single elements, the axes left as they are."""
        if self.kind in _OPPOSITE and not (gauge.non_negative or self.turned):
            return Declined(
                "takes extrema, so no scale passes it that is negative for some channels only", code=Code.NEGATIVE_SCALE
            )
        if self.kind in _NORMS:
            return absolute(gauge, forward=forward)
        if self.kind == "ReduceSumSquare":
            return squared(gauge) if forward else rooted(gauge)
        return gauge

    def _summed(self, shift: FloatArray) -> FloatArray:
        """Return the sum or the mean of a shift over the axes, of which it may have one element each."""
        full = (self.shape[axis] if axis in self.axes else 1 for axis in range(len(self.shape)))
        whole = np.broadcast_shapes(shift.shape, tuple(int(extent or 1) for extent in full))
        check_size(whole, shift.size)
        take = np.sum if self.kind == "ReduceSum" else np.mean
        result: FloatArray = take(np.broadcast_to(shift, whole), axis=self.axes, keepdims=True)
        return result


def _as_it_is(shift: FloatArray) -> FloatArray:
    """Return the shift, which is its own mean where it does not vary."""
    return shift
