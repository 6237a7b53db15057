"""Elementwise operators of several values that depend on the input: which affines pass through them.

Add, Sub, Sum, Mean        s a + s b + (t_a + t_b): one scale for all terms, shifts add up
Mul, Div                   scales multiply (of a divisor: divide); nothing for a shift

With one operand that is not constant they are affines themselves (see affine_nodes.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Choice, Declined, Demands, Settled, Site
from onnxnorm.affine.rules.changed_affines import source
from onnxnorm.journal.reasons import Code

__all__ = ["add", "multiply", "onto_operand", "onto_result"]


def add(site: Site) -> Answer:
    """Add, Sub, Sum and Mean; with one operand that is not constant the first three are sources."""
    dynamic = [index for index in range(len(site.node.inputs)) if site.constant(index) is None]
    if len(dynamic) == 1 and site.node.op_type != "Mean":
        return source(site)
    if len(dynamic) < len(site.node.inputs):
        return Declined("adds constants among several values")
    weights = (1.0, -1.0) if site.node.op_type == "Sub" else (1.0,) * len(dynamic)
    if site.node.op_type == "Mean":
        weights = (1.0 / len(dynamic),) * len(dynamic)
    return _sum(site, weights)


def _sum(site: Site, weights: Sequence[float]) -> Answer:
    output = site.output()
    rank = site.facts.rank(output)
    shapes = [site.shape_in(index) for index in range(len(weights))]
    if rank is None or any(shape is None for shape in shapes):
        return Declined("adds values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    gauge_out = site.gauge_out()
    lifted = [onto_result(site.gauge_in(index), rank) for index in range(len(weights))]
    known = [gauge for gauge in [gauge_out, *lifted] if gauge is not None]
    # Both directions of a gauge obey the same law, so any one that all of them have will do.
    backward = all(gauge.to_new is not None for gauge in known)
    if not backward and any(gauge.to_old is None for gauge in known):
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)

    def side(gauge: Gauge) -> ChannelAffine:
        affine = gauge.to_new if backward else gauge.to_old
        assert affine is not None
        return affine

    def gauge_of(scale: FloatArray, shift: FloatArray) -> Gauge:
        affine = ChannelAffine.of(scale, shift, rank)
        return Gauge.new(affine) if backward else Gauge.old(affine)

    scale = side(known[0]).scale
    if any(not np.allclose(side(gauge).scale, scale, rtol=1e-13, atol=0.0) for gauge in known[1:]):
        return Declined("adds values that would carry different scales", code=Code.READERS_DIFFER)
    shift = np.zeros((1,) * rank)
    for weight, gauge in zip(weights, lifted, strict=True):
        if gauge is not None:
            shift = shift + weight * side(gauge).shift
    free = [index for index, gauge in enumerate(lifted) if gauge is None]
    only_scale = gauge_of(scale, np.zeros(()))
    ways: list[Settled] = []
    if gauge_out is None:
        onward = _scaled_operands(site, free, only_scale, site.demand(output, gauge_of(scale, shift)))
        if isinstance(onward, Declined) or not np.any(shift):
            return onward
    missing = (0.0 if gauge_out is None else side(gauge_out).shift) - shift
    if gauge_out is not None and not np.any(np.abs(missing) > 1e-13 * np.abs(side(gauge_out).shift)):
        return _scaled_operands(site, free, only_scale, ())
    for taker in free:
        # One other operand takes the whole difference, the rest carry the scale alone.
        taken = onto_operand(site, taker, gauge_of(scale, missing / weights[taker]))
        rest = _scaled_operands(site, [index for index in free if index != taker], only_scale, ())
        value = site.input(taker)
        if taken is not None and value is not None and isinstance(rest, Settled):
            demands = (*rest.demands, *site.demand(value, taken))
            ways.append(
                Settled(None, demands if gauge_out is not None else (*demands, *site.demand(output, only_scale)))
            )
    if gauge_out is None and isinstance(onward, Settled):
        ways.append(onward)
    return Choice(tuple(ways)) if ways else Declined("has no operand that could take the shift")


def onto_result(gauge: Gauge | None, rank: int) -> Gauge | None:
    """Return the gauge of an operand as one of the result, whose rank may be higher."""
    if gauge is None:
        return None
    return gauge.map(lambda array: array.reshape((1,) * (rank - array.ndim) + array.shape))


def onto_operand(site: Site, index: int, gauge: Gauge) -> Gauge | None:
    """Return the gauge of the result as one of operand `index`; None where it varies along a broadcast axis."""
    shape = site.shape_in(index)
    assert shape is not None
    missing = gauge.any.rank - len(shape)
    out_shape = site.shape_out() or ()
    for axis in gauge.axes:
        if (
            axis < missing
            or shape[axis - missing] != gauge.any.scale.shape[axis]
            or out_shape[axis] != shape[axis - missing]
        ):
            return None
    return gauge.map(lambda array: array.reshape(array.shape[missing:]))


def _scaled_operands(site: Site, indices: Sequence[int], gauge: Gauge, demands: Demands) -> Settled | Declined:
    for index in indices:
        own = onto_operand(site, index, gauge)
        if own is None:
            return Declined("broadcasts an operand along the axis on which the affine varies", code=Code.OTHER_AXIS)
        value = site.input(index)
        assert value is not None
        demands += site.demand(value, own)
    return Settled(None, demands)


def multiply(site: Site) -> Answer:
    """Mul and Div; with one operand that is not constant they are sources."""
    dynamic = [index for index in range(2) if site.constant(index) is None]
    if len(dynamic) == 1 and not (site.node.op_type == "Div" and dynamic == [1]):
        return source(site)
    output = site.output()
    rank = site.facts.rank(output)
    shapes = [site.shape_in(index) for index in range(2)]
    if rank is None or any(shape is None for shape in shapes):
        return Declined("multiplies values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    gauge_out = site.gauge_out()
    lifted = [onto_result(site.gauge_in(index), rank) for index in range(2)]
    if any(gauge.shifts for gauge in (gauge_out, *lifted) if gauge is not None):
        return Declined("multiplies by a value that depends on the input, so no shift passes it")
    power = (1.0, -1.0 if site.node.op_type == "Div" else 1.0)
    if any(gauge.to_new is None or gauge.to_old is None for gauge in (gauge_out, *lifted) if gauge is not None) and (
        sum(gauge is not None for gauge in (gauge_out, *lifted)) > 1 or lifted[1] is not None
    ):
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)

    def scaled(scale: FloatArray) -> Gauge:
        return Gauge.new(ChannelAffine.of(scale, np.zeros(()), rank))

    product = np.ones((1,) * rank)
    for gauge, exponent in zip(lifted, power, strict=True):
        if gauge is not None and gauge.to_new is not None:
            product = product * gauge.to_new.scale**exponent
    if gauge_out is None:
        only = lifted[0]
        return Settled(None, site.demand(output, only if only is not None and lifted[1] is None else scaled(product)))
    ways = []
    if gauge_out.to_new is not None and np.allclose(gauge_out.to_new.scale, product, rtol=1e-13, atol=0.0):
        return Settled()
    for taker in (index for index in range(2) if lifted[index] is None):
        value = site.input(taker)
        if gauge_out.to_new is not None and gauge_out.to_old is not None:
            wanted = scaled((gauge_out.to_new.scale / product) ** power[taker])
        elif taker == 0 and lifted[1] is None:
            wanted = gauge_out
        else:
            continue
        own = onto_operand(site, taker, wanted)
        if own is not None and value is not None:
            ways.append(Settled(None, site.demand(value, own)))
    return Choice(tuple(ways)) if ways else Declined("has no operand that could take the scale")
