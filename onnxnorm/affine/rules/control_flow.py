"""Operators with subgraphs: an affine enters and leaves If, Loop and Scan where all that hangs together carries it.

    If      output k and output k of both branches
    Loop    initial value, input and output of the body, final value; what is collected has one axis more outside
    Scan    as Loop; what is scanned has one axis more outside too
Values that a subgraph captures from around it need no rule: their readers inside are readers like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Constant, Declined, Demands, Edit, Settled, Site
from onnxnorm.journal.reasons import Code

__all__ = ["if_", "loop", "scan"]

Wire: TypeAlias = "tuple[ir.Value | None, int | None, int | None]"
"""A wire: a value that carries the common gauge, the axis it has beyond the others, the node's input that it is."""

_UNEVEN = Declined("has a body with another number of inputs or outputs", code=Code.UNDEFINED)


def if_(site: Site) -> Answer:
    """If: an output and the outputs of both branches carry one gauge."""
    if site.gauge_in(0) is not None:
        return Declined("takes it for a condition")
    bodies = [site.node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    if any(len(body.outputs) != len(site.node.outputs) for body in bodies):
        return _UNEVEN
    bundles: list[list[Wire]] = [
        [(output, None, None), *((body.outputs[index], None, None) for body in bodies)]
        for index, output in enumerate(site.node.outputs)
    ]
    return _together(site, bundles, ())


def loop(site: Site) -> Answer:
    """Loop: what the body carries from round to round has one gauge, inside and outside."""
    body, inputs, outputs = site.node.attributes["body"].as_graph(), site.node.inputs, site.node.outputs
    states = len(inputs) - 2
    if not 0 <= states <= len(outputs) or len(body.inputs) != len(inputs) or len(body.outputs) != len(outputs) + 1:
        return _UNEVEN
    bundles: list[list[Wire]] = [
        [
            (inputs[2 + k], None, 2 + k),
            (body.inputs[2 + k], None, None),
            (body.outputs[1 + k], None, None),
            (outputs[k], None, None),
        ]
        for k in range(states)
    ]
    bundles += [[(body.outputs[1 + k], None, None), (outputs[k], 0, None)] for k in range(states, len(outputs))]
    return _together(site, bundles, (*inputs[:2], *body.inputs[:2], body.outputs[0]))


def scan(site: Site) -> Answer:
    """Scan: states and scanned values have one gauge, inside and outside."""
    if site.opset < 9:
        return Declined("scans by the rules from before opset 9")
    body, inputs, outputs = site.node.attributes["body"].as_graph(), site.node.inputs, site.node.outputs
    scanned = site.integer("num_scan_inputs", 0)
    states = len(inputs) - scanned
    if not 0 <= states <= min(len(inputs), len(outputs)) or (len(body.inputs), len(body.outputs)) != (
        len(inputs),
        len(outputs),
    ):
        return _UNEVEN
    axes_in = site.integers("scan_input_axes") or (0,) * scanned
    axes_out = site.integers("scan_output_axes") or (0,) * (len(outputs) - states)
    if len(axes_in) != scanned or len(axes_out) != len(outputs) - states:
        return _UNEVEN
    bundles: list[list[Wire]] = [
        [
            (inputs[k], None, k),
            (body.inputs[k], None, None),
            (body.outputs[k], None, None),
            (outputs[k], None, None),
        ]
        for k in range(states)
    ]
    bundles += [
        [(body.inputs[k], None, None), (inputs[k], axis, k)]
        for k, axis in zip(range(states, len(inputs)), axes_in, strict=True)
    ]
    bundles += [
        [(body.outputs[k], None, None), (outputs[k], axis, None)]
        for k, axis in zip(range(states, len(outputs)), axes_out, strict=True)
    ]
    return _together(site, bundles, ())


def _together(site: Site, bundles: Iterable[list[Wire]], parameters: Iterable[ir.Value | None]) -> Answer:
    """Give every bundle of wires one gauge in common, or none."""
    if any(value is not None and value in site.gauges for value in parameters):
        return Declined("takes it for a parameter")
    demands: Demands = ()
    edited: list[int | Constant | None] = list(range(len(site.node.inputs)))
    for bundle in bundles:
        found = [
            _inner(site.gauges[value], axis) for value, axis, _ in bundle if value is not None and value in site.gauges
        ]
        if not found:
            continue
        gauge = found[0]
        if gauge is None or any(other is None or not other.same_as(gauge) for other in found[1:]):
            return Declined("passes on a value that would carry different affines", code=Code.READERS_DIFFER)
        for value, axis, index in bundle:
            if value is None:
                continue
            own = gauge if axis is None else gauge.map(partial(np.expand_dims, axis=axis))
            if not _fits(site, value, own):
                return Declined("passes on a value whose extents change, or are not known", code=Code.UNKNOWN_SHAPE)
            if index is not None and (constant := site.constant64(index)) is not None:
                if own.to_new is None:
                    return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
                compute = partial(np.array, constant * own.to_new.scale + own.to_new.shift)
                edited[index] = Constant("initial", compute, site.dtype(index), old=value)
            else:
                demands += site.demand(value, own)
    return Settled(Edit(tuple(edited), what="goes along"), demands)


def _inner(gauge: Gauge, axis: int | None) -> Gauge | None:
    """Return the gauge without the axis along which values are collected or scanned.

    None where it varies along that.
    """
    if axis is None:
        return gauge
    position = axis % gauge.any.rank
    squeeze: Callable[[FloatArray], FloatArray] = partial(np.squeeze, axis=position)
    return None if position in gauge.axes else gauge.map(squeeze)


def _fits(site: Site, value: ir.Value, gauge: Gauge) -> bool:
    shape = site.facts.shape(value)
    return (
        shape is not None
        and len(shape) == gauge.any.rank
        and all(gauge.any.scale.shape[axis] == shape[axis] for axis in gauge.axes)
    )
