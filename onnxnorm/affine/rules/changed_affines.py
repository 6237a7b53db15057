"""Writes affine operators anew: with an affine b before it and a after, the node A becomes a . A . b.

BatchNormalization expresses every affine for each channel; Mul takes scales and Add takes shifts, and what they cannot
take goes on to their other side. Where a runtime holds values in blocks of channels a BatchNormalization stays one.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge, leading_axes_dropped
from onnxnorm.affine.cost import ARITHMETIC, node_cost
from onnxnorm.affine.interface import Answer, Choice, Constant, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.affine_nodes import AffineNode, affine_of, conjugated, elements_of
from onnxnorm.graph.blocked_layout import needs_batch_norm
from onnxnorm.journal.reasons import Code

__all__ = ["source"]


def source(site: Site) -> Answer:
    """Answer for an affine operator with one input which is not constant: it takes up affines on either side."""
    found = affine_of(site.node, site.facts)
    if isinstance(found, Declined):
        return found
    gauge_in, gauge_out = site.gauge_in(found.data), site.gauge_out()
    new = conjugated(found.affine, gauge_in, gauge_out)
    if new is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    if found.vast and not new.is_identity:
        return Declined("has a scale or a shift as large as those of masks", code=Code.MASK)
    edit = _expressed(site, found, new)
    if edit is not None:
        return Settled(edit)
    ways = [*_passed_on(site, found, gauge_in, gauge_out, new)]
    as_batch_norm = _as_batch_norm(site, found, new)
    if as_batch_norm is not None:
        ways.append(Settled(as_batch_norm))
    return Choice(tuple(ways)) if ways else Declined(f"cannot express a {new} by one node")


def _cost(site: Site, op_type: str) -> int:
    found = affine_of(site.node, site.facts)
    assert isinstance(found, AffineNode)
    return node_cost(op_type, elements_of(site.node, found.data, site.facts))


def _expressed(site: Site, found: AffineNode, new: ChannelAffine) -> Edit | None:
    """Return the edit by which the node computes `new`, where one node of its kind or a cheaper one can; else None."""
    before = _cost(site, site.node.op_type)
    if new.is_identity:
        return Edit((found.data,), removed=True, cost=-before, what="is undone")
    if site.node.op_type == "Sub" and found.data == 1 and np.all(new.scale == -1.0):
        constant = Constant("shift", partial(leading_axes_dropped, new.shift), _dtype(site, found), old=site.input(0))
        return Edit((constant, found.data), what="absorbs")
    kind = "Add" if not new.scales else "Mul" if not new.shifts else None
    if kind is None or _stays_batch_norm(site, found):
        return _as_batch_norm(site, found, new) if site.node.op_type == "BatchNormalization" else None
    values = new.shift if kind == "Add" else new.scale
    constant = Constant(
        "shift" if kind == "Add" else "scale", partial(leading_axes_dropped, values), _dtype(site, found)
    )
    cost = _cost(site, kind) - before
    attributes: dict[str, ir.Attr | None] = dict.fromkeys(site.node.attributes) if site.node.op_type != kind else {}
    if site.opset < 7:
        start = new.axes[0] if new.axes else 0
        inner = values[(0,) * start].reshape(values.shape[start : max(new.axes, default=-1) + 1])
        if any(extent == 1 for extent in inner.shape):
            return None
        constant = Constant(constant.role, partial(np.array, inner), constant.dtype)
        attributes |= {"broadcast": ir.AttrInt64("broadcast", 1), "axis": ir.AttrInt64("axis", start)}
    return Edit((found.data, constant), op_type=kind, attributes=attributes, cost=cost, what="absorbs")


def _stays_batch_norm(site: Site, found: AffineNode) -> bool:
    value = site.input(found.data)
    return site.node.op_type == "BatchNormalization" and value is not None and needs_batch_norm(value, site.facts)


def _dtype(site: Site, found: AffineNode) -> ir.DataType:
    value = site.input(found.data)
    assert value is not None
    if value.dtype is not None:
        return value.dtype
    return site.output().dtype or site.dtype(1 - found.data if site.node.op_type in ARITHMETIC else 1)


def _as_batch_norm(site: Site, found: AffineNode, new: ChannelAffine) -> Edit | None:
    value = site.input(found.data)
    assert value is not None
    shape = site.facts.shape(value)
    per_activation = site.node.op_type == "BatchNormalization" and site.integer("spatial", 1) == 0 and site.opset < 9
    if new.rank < 2 or any(axis != 1 for axis in new.axes) or per_activation or shape is None:
        return None
    if site.node.op_type != "BatchNormalization" and not new.axes:
        # It has no channels.
        return None
    channels = shape[1]
    if site.node.op_type == "BatchNormalization":
        array = site.dequantized64(1)
        channels = None if array is None else array.shape[0]
    if not isinstance(channels, int):
        return None
    vectors = new.along_axis(1, channels)
    if vectors is None:
        return None
    own = site.node.op_type == "BatchNormalization"
    dtypes = [site.dtype(index) for index in (1, 2, 3, 4)] if own else [_dtype(site, found)] * 4
    values = (vectors[0], vectors[1], np.zeros(channels), np.ones(channels))
    roles = ("scale", "bias", "mean", "variance")
    constants = tuple(
        Constant(role, partial(np.array, vector), dtype, old=site.input(index) if own else None)
        for index, (role, vector, dtype) in enumerate(zip(roles, values, dtypes, strict=True), start=1)
    )
    cost = _cost(site, "BatchNormalization") - _cost(site, site.node.op_type)
    attributes: dict[str, ir.Attr | None] = {"epsilon": ir.AttrFloat32("epsilon", 0.0)}
    if site.opset < 7:
        attributes |= {"is_test": ir.AttrInt64("is_test", 1), "broadcast": None, "axis": None}
        if site.opset < 6:
            attributes["consumed_inputs"] = ir.AttrInt64s("consumed_inputs", [0, 0, 0, 1, 1])
    return Edit(
        (found.data, *constants), op_type="BatchNormalization", attributes=attributes, cost=cost, what="absorbs"
    )


def _passed_on(
    site: Site, found: AffineNode, gauge_in: Gauge | None, gauge_out: Gauge | None, new: ChannelAffine
) -> list[Settled]:
    """Pass what a Mul or an Add cannot take on to the side that is still free, or pass all of it on."""
    value, output = site.input(found.data), site.output()
    assert value is not None
    if gauge_in is not None and gauge_out is not None:
        return []
    keeps_scale = site.node.op_type in ("Mul", "Div", "Neg")
    ones, zeros = np.ones((1,) * new.rank), np.zeros((1,) * new.rank)
    part: Gauge | None
    if gauge_out is None:
        # new is the old output in terms of the new input.
        whole = Gauge.old(new)
        part = Gauge.old(
            ChannelAffine.of(ones, new.shift, new.rank) if keeps_scale else ChannelAffine.of(new.scale, zeros, new.rank)
        )
        target = output
    else:
        # new is the new output in terms of the old input.
        whole = Gauge.new(new)
        inner = new.inverse()
        if keeps_scale:
            part = None if inner is None else Gauge.new(ChannelAffine.of(ones, new.shift / new.scale, new.rank))
        else:
            part = Gauge.new(ChannelAffine.of(new.scale, zeros, new.rank))
        target = value
    cost = -_cost(site, site.node.op_type)
    ways = [Settled(Edit((found.data,), removed=True, cost=cost, what="is passed on"), site.demand(target, whole))]
    if part is not None:
        ways.append(Settled(None, site.demand(target, part)))
    return ways
