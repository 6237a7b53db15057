"""Rules for operators that write values into others: ScatterElements and ScatterND.

    Scatter(s a + t, i, s b + t) = s Scatter(a, i, b) + t
    with reduction: sums take a scale without a shift, extrema an affine of positive scale, products nothing
A constant on either side is changed by the same affine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.interface import Answer, Constant, Declined, Demands, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import NOT_POSITIVE
from onnxnorm.graph.size_budget import UNCOUNTED
from onnxnorm.journal.reasons import Code

__all__ = ["scatter_elements", "scatter_nd"]

_Map: TypeAlias = Callable[[Gauge], "Gauge | Declined"]

_ALONG = Declined("writes along an axis on which the affine varies", code=Code.OTHER_AXIS)
_DATA, _UPDATES = 0, 2


def scatter_nd(site: Site) -> Answer:
    """ScatterND: what does not vary along the axes that are looked up passes."""
    shape, indices = site.shape_in(_DATA), site.shape_in(1)
    if shape is None or indices is None or not indices or not isinstance(indices[-1], int):
        return Declined("writes to places whose rank is not known", code=Code.UNKNOWN_SHAPE)
    depth, before = indices[-1], len(indices) - 1

    def to_updates(gauge: Gauge) -> Gauge | Declined:
        if any(axis < depth for axis in gauge.axes):
            return _ALONG
        return gauge.map(lambda array: array.reshape((1,) * before + array.shape[depth:]))

    def to_result(gauge: Gauge) -> Gauge | Declined:
        if any(axis < before for axis in gauge.axes):
            return _ALONG
        return gauge.map(lambda array: array.reshape((1,) * depth + array.shape[before:]))

    return _scattered(site, to_updates, to_result)


def scatter_elements(site: Site) -> Answer:
    """ScatterElements: what does not vary along its axis passes, nor along one of which it writes a part."""
    shape, indices = site.shape_in(_DATA), site.shape_in(1)
    if shape is None or indices is None or len(shape) != len(indices):
        return Declined("writes to places whose rank is not known", code=Code.UNKNOWN_SHAPE)
    axis = site.integer("axis", 0) % len(shape)

    def through(gauge: Gauge) -> Gauge | Declined:
        for varying in gauge.axes:
            if varying == axis or not isinstance(shape[varying], int) or shape[varying] != indices[varying]:
                return _ALONG
        return gauge

    return _scattered(site, through, through)


def _scattered(site: Site, to_updates: _Map, to_result: _Map) -> Answer:
    """Give the result, the data and the updates one affine; `to_result` says what one of the updates is there."""
    given = site.gauge_in(_UPDATES)
    update = None if given is None else to_result(given)
    if isinstance(update, Declined):
        return update
    known = [each for each in (site.gauge_out(), site.gauge_in(_DATA), update) if each is not None]
    if not known or site.gauge_in(1) is not None:
        return Declined("takes it for a place")
    gauge = known[0]
    if any(not gauge.same_as(other) for other in known[1:]):
        return Declined("writes values into others that would carry different affines", code=Code.READERS_DIFFER)
    if (refusal := _refused(site.text("reduction", "none"), gauge)) is not None:
        return refusal
    own = to_updates(gauge)
    if isinstance(own, Declined):
        return own
    demands: Demands = site.demand(site.output(), gauge)
    inputs: list[int | Constant | None] = list(range(len(site.node.inputs)))
    for index, each in ((_DATA, gauge), (_UPDATES, own)):
        value = site.input(index)
        if value is None:
            return Declined("lacks an operand")
        original, constant = site.constant(index), site.constant64(index)
        if original is None or constant is None:
            demands += site.demand(value, each)
            continue
        affine = each.to_new
        if affine is None:
            return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
        if not np.isfinite(constant).all():
            return Declined("writes or keeps infinite constants")
        changed = np.asarray(constant * affine.scale + affine.shift, np.float64)
        if changed.shape != constant.shape:
            return Declined("has a constant that the affine would enlarge")
        if np.array_equal(changed, constant):
            continue
        # A smaller one that is computed is stored anyway, by `FoldConstants`.
        if value.producer() is not None and original.nbytes > UNCOUNTED:
            return Declined("keeps a constant that is computed, which would have to be stored")
        inputs[index] = Constant("written", partial(np.array, changed), site.dtype(index), old=value)
    edited = any(isinstance(each, Constant) for each in inputs)
    return Settled(Edit(tuple(inputs), what="goes along") if edited else None, demands)


def _refused(reduction: str, gauge: Gauge) -> Declined | None:
    if reduction == "none":
        return None
    if reduction == "add":
        return Declined("sums values up, so no shift passes it") if gauge.shifts else None
    if reduction in ("max", "min"):
        return None if gauge.positive else Declined(NOT_POSITIVE, code=Code.NEGATIVE_SCALE)
    return Declined("multiplies values with others")
