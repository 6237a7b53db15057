"""Rules for operators that gather: Gather, GatherElements, GatherND, ReverseSequence."""

from __future__ import annotations

import numpy as np

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Constant, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import among_identities, cross
from onnxnorm.journal.reasons import Code

__all__ = ["gather", "gather_elements", "gather_nd", "reverse_sequence"]


def gather(site: Site) -> Answer:
    """Gather: an affine goes into the rows of a constant table; behind a value it is gathered as the value is."""
    indices = site.input(1)
    index_rank = None if indices is None else site.facts.rank(indices)
    if site.gauge_in(1) is not None or index_rank is None:
        return Declined("looks up at places whose rank is not known", code=Code.UNKNOWN_SHAPE)
    table = site.constant64(0)
    shape = site.shape_in(0)
    if shape is None:
        return Declined("looks up in a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 0) % len(shape)
    if table is not None:
        return _gather_from_table(site, table, axis, index_rank)
    places = site.constant(1)
    extent = shape[axis]

    def forward(gauge: Gauge) -> Gauge | Declined:
        if axis not in gauge.axes:
            return gauge.map(lambda array: _with_axes(array, axis, index_rank))
        if places is None:
            return Declined(
                "looks up at places that are not constant, along the axis on which the affine varies",
                code=Code.COMPUTED_PARAMETER,
            )
        return gauge.map(lambda array: np.take(array, places.astype(np.int64), axis=axis))

    def backward(gauge: Gauge) -> Gauge | Declined:
        looked_up = set(range(axis, axis + index_rank))
        if not looked_up & set(gauge.axes):
            return gauge.map(lambda array: array.reshape((*array.shape[:axis], 1, *array.shape[axis + index_rank :])))
        if places is None or places.ndim != 1 or not isinstance(extent, int):
            return Declined(
                "looks up at places that are not known, along the axis on which the affine varies",
                code=Code.UNKNOWN_SHAPE,
            )
        rows = places.astype(np.int64) % extent
        if len(set(rows.tolist())) != len(rows):
            return Declined("looks one place up several times, where the affine varies")
        full = [extent if i == axis else n for i, n in enumerate(gauge.any.scale.shape)]
        return among_identities(gauge, full, tuple(rows if i == axis else slice(None) for i in range(len(full))))

    return cross(site, forward, backward)


def _with_axes(array: FloatArray, axis: int, count: int) -> FloatArray:
    return array.reshape(array.shape[:axis] + (1,) * count + array.shape[axis + 1 :])


def _gather_from_table(site: Site, table: FloatArray, axis: int, index_rank: int) -> Answer:
    gauge = site.gauge_out()
    if gauge is None or gauge.to_new is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    affine = gauge.to_new
    if set(range(axis, axis + index_rank)) & set(affine.axes):
        return Declined("looks up along the axis on which the affine varies", code=Code.OTHER_AXIS)

    def onto(array: FloatArray) -> FloatArray:
        return array.reshape((*array.shape[:axis], 1, *array.shape[axis + index_rank :]))

    def new_table() -> FloatArray:
        return table * onto(affine.scale) + onto(affine.shift)

    return Settled(Edit((Constant("table", new_table, site.dtype(0), old=site.input(0)), 1), what="absorbs"))


def reverse_sequence(site: Site) -> Answer:
    """ReverseSequence: what does not vary along time and batch passes."""

    # One of the first two axes is that of time, the other that of the batch; there is no counting from behind.
    def through(gauge: Gauge) -> Gauge | Declined:
        return (
            Declined("reverses an axis on which the affine varies", code=Code.OTHER_AXIS)
            if {0, 1} & set(gauge.axes)
            else gauge
        )

    return cross(site, through, through)


def gather_elements(site: Site) -> Answer:
    """GatherElements: what does not vary along the axis that is looked up passes."""
    shape, indices = site.shape_in(0), site.shape_in(1)
    if shape is None or indices is None or len(shape) != len(indices):
        return Declined("looks up in a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 0) % len(shape)

    def through(gauge: Gauge) -> Gauge | Declined:
        for varying in gauge.axes:
            if varying == axis or not isinstance(shape[varying], int) or shape[varying] != indices[varying]:
                return Declined("looks up along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge

    return cross(site, through, through)


def gather_nd(site: Site) -> Answer:
    """GatherND: what does not vary along the axes that are looked up passes."""
    shape, indices = site.shape_in(0), site.shape_in(1)
    if shape is None or indices is None or not indices or not isinstance(indices[-1], int):
        return Declined("looks up in a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    first = site.integer("batch_dims", 0) + indices[-1]
    rank_out = len(indices) - 1 + len(shape) - first

    def forward(gauge: Gauge) -> Gauge | Declined:
        if any(axis < first for axis in gauge.axes):
            return Declined("looks up along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge.map(lambda a: a.reshape((1,) * (len(indices) - 1) + a.shape[first:]))

    def backward(gauge: Gauge) -> Gauge | Declined:
        if gauge.any.rank != rank_out or any(axis < len(indices) - 1 for axis in gauge.axes):
            return Declined("looks up along an axis on which the affine varies", code=Code.OTHER_AXIS)
        return gauge.map(lambda a: a.reshape((1,) * first + a.shape[len(indices) - 1 :]))

    return cross(site, forward, backward)
