"""Operators that choose among values: what all candidates have in common passes.

    Where(c, s a + t, s b + t) = s Where(c, a, b) + t
    Max(s a + t, s b + t) = s Max(a, b) + t for s >= 0, and s Min(a, b) + t for s <= 0
A constant among the candidates is changed by the same affine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.exactness import keeps_apart
from onnxnorm.affine.interface import Answer, Constant, Declined, Demands, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import NOT_POSITIVE
from onnxnorm.affine.rules.terms_and_factors import onto_operand, onto_result
from onnxnorm.journal.reasons import Code

__all__ = ["arg_extremum", "extremum", "sign", "where"]

_MAKES_EQUAL = "decides by digits that the affine leaves none of: with it, values that differ become equal"


def where(site: Site) -> Answer:
    """Where: an affine passes that both sides have in common."""
    if site.gauge_in(0) is not None:
        return Declined("takes it for a condition")
    return _candidates(site, (1, 2), op_type=None)


def extremum(site: Site) -> Answer:
    """Max and Min of several values."""
    gauges = [site.gauge_in(index) for index in range(len(site.node.inputs))]
    known = [gauge for gauge in (*gauges, site.gauge_out()) if gauge is not None]
    if all(gauge.non_negative for gauge in known):
        return _candidates(site, range(len(gauges)), op_type=None)
    if all(bool(np.all(gauge.any.scale <= 0.0)) for gauge in known):
        opposite = "Min" if site.node.op_type == "Max" else "Max"
        return _candidates(site, range(len(gauges)), op_type=opposite)
    return Declined(
        "takes extrema, so no scale passes it that is negative for some channels only", code=Code.NEGATIVE_SCALE
    )


def _candidates(site: Site, indices: Sequence[int], *, op_type: str | None) -> Answer:
    rank = site.facts.rank(site.output())
    if rank is None or any(site.shape_in(index) is None for index in indices):
        return Declined("chooses among values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    gauges = [onto_result(site.gauge_in(index), rank) for index in indices]
    known = [gauge for gauge in (site.gauge_out(), *gauges) if gauge is not None]
    gauge = known[0]
    if any(not gauge.same_as(other) for other in known[1:]):
        return Declined("chooses among values that would carry different affines", code=Code.READERS_DIFFER)
    demands: Demands = site.demand(site.output(), gauge)
    inputs: list[int | Constant | None] = list(range(len(site.node.inputs)))
    for index, present in zip(indices, gauges, strict=True):
        value = site.input(index)
        assert value is not None
        if (constant := site.constant64(index)) is not None:
            changed = _changed(site, constant, gauge)
            if isinstance(changed, Declined):
                return changed
            compute = partial(np.array, changed)
            inputs[index] = Constant("choice", compute, site.dtype(index), old=value)
        elif present is None:
            own = onto_operand(site, index, gauge)
            if own is None:
                return Declined("broadcasts a value along the axis on which the affine varies", code=Code.OTHER_AXIS)
            demands += site.demand(value, own)
    return Settled(Edit(tuple(inputs), op_type=op_type, what="goes along"), demands)


def _changed(site: Site, constant: FloatArray, gauge: Gauge) -> FloatArray | Declined:
    """Return the constant after the affine; as large as the result at most."""
    affine = gauge.to_new
    if affine is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    # An infinite bound stays what it is under a positive scale, whatever the shift.
    if not np.isfinite(constant).all() and np.any(affine.scale <= 0.0):
        return Declined("has an infinite candidate, which only a positive scale passes", code=Code.NEGATIVE_SCALE)
    shape = np.broadcast_shapes(constant.shape, affine.scale.shape)
    known = site.shape_out() or ()
    if any(extent not in (1, dim) for extent, dim in zip(shape, known, strict=True) if extent > 1):
        return Declined("has a candidate that the affine would enlarge")
    result = np.asarray(constant * affine.scale + affine.shift, np.float64)
    while result.ndim > constant.ndim and result.shape[0] == 1:
        result = result[0]
    return result


def arg_extremum(site: Site) -> Answer:
    """ArgMax and ArgMin: an affine of positive scale changes nothing, unless it varies along the axis."""
    gauge, shape = site.gauge_in(0), site.shape_in(0)
    if gauge is None or shape is None or not gauge.positive or site.integer("axis", 0) % len(shape) in gauge.axes:
        return Declined(NOT_POSITIVE)
    return Settled() if _keeps_apart(site, gauge) else Declined(_MAKES_EQUAL)


def sign(site: Site) -> Answer:
    """Sign: a positive scale changes nothing."""
    gauge = site.gauge_in(0)
    if gauge is None or site.gauge_out() is not None or gauge.shifts or not gauge.positive:
        return Declined(NOT_POSITIVE)
    return Settled() if _keeps_apart(site, gauge) else Declined(_MAKES_EQUAL)


def _keeps_apart(site: Site, gauge: Gauge) -> bool:
    affine = gauge.to_old
    return affine is not None and keeps_apart(affine, site.dtype(0))
