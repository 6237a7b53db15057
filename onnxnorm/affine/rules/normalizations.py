"""Normalizations that compute their statistics from their input: they take an affine behind them, hardly one before.

Each ends in scale * normalized + bias, so an affine after it goes into these two, if it varies along no other axis.
Before it: what subtracts a mean forgets a shift that is constant over all that the mean is taken of. Softmax
is the same for x and x + t if t is constant along its axis. A scale before a normalization is felt through epsilon.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Constant, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.crossing import NOT_POSITIVE
from onnxnorm.journal.reasons import Code

__all__ = ["group_norm", "instance_norm", "layer_norm", "lp_norm", "mean_variance_norm", "rms_norm", "softmax"]

_BY_ITS_INPUT = "normalizes by statistics of its input, which an affine before it would change"
# A scale that is forgotten moves the squares of a value by its square.
_MAX_FORGOTTEN = 2.0**8


def instance_norm(site: Site) -> Answer:
    """InstanceNormalization: an affine behind it goes into scale and bias."""
    rank = site.facts.rank(site.output())
    return _normalization(site, None if rank is None else range(2, rank), 1, 2)


def group_norm(site: Site) -> Answer:
    """GroupNormalization: an affine behind it goes into scale and bias."""
    if site.gauge_out() is not None and site.opset < 21:
        return Declined("has one scale for each group, not for each channel (before opset 21)")
    rank = site.facts.rank(site.output())
    return _normalization(site, None if rank is None else range(1, rank), 1, 2)


def layer_norm(site: Site) -> Answer:
    """LayerNormalization: an affine behind it goes into scale and bias."""
    rank = site.facts.rank(site.output())
    if rank is None:
        return Declined("normalizes a value whose rank is not known", code=Code.UNKNOWN_SHAPE)
    if any(output.uses() or output.is_graph_output() for output in site.node.outputs[1:]):
        return Declined("gives its statistics too", code=Code.FURTHER_OUTPUTS)
    first = site.integer("axis", -1) % rank
    return _normalization(site, range(first, rank), first, rank)


def rms_norm(site: Site) -> Answer:
    """RMSNormalization: a scale behind it goes into its scale."""
    gauge = site.gauge_out()
    if gauge is not None and gauge.shifts:
        return Declined("has no bias that could take the shift")
    # It subtracts no mean, so no shift before it disappears.
    return Declined(_BY_ITS_INPUT) if site.gauge_in(0) is not None else layer_norm(site)


def mean_variance_norm(site: Site) -> Answer:
    """MeanVarianceNormalization: a shift before it that is constant over its axes changes nothing."""
    gauge = site.gauge_in(0)
    axes = site.integers("axes") or (0, 2, 3)
    if gauge is None or site.gauge_out() is not None or gauge.scales:
        return Declined(_BY_ITS_INPUT)
    return Declined(_BY_ITS_INPUT) if {axis % gauge.any.rank for axis in axes} & set(gauge.axes) else Settled()


def _normalization(site: Site, normalized: Collection[int] | None, first: int, end: int) -> Answer:
    """Answer for a mean subtracted along `normalized`, with scale and bias on the axes `first` to `end`."""
    gauge = site.gauge_in(0)
    if any(site.gauge_in(index) is not None for index in range(1, len(site.node.inputs))):
        return Declined("takes it for a scale or a bias")
    if gauge is not None and (gauge.scales or normalized is None or set(normalized) & set(gauge.axes)):
        return Declined(_BY_ITS_INPUT)
    return Settled() if site.gauge_out() is None else _scale_and_bias(site, first, end)


def _scale_and_bias(site: Site, first: int, end: int) -> Answer:
    """Put the affine into inputs 1 and 2, whose axes are the axes `first` to `end` of the value."""
    gauge = site.gauge_out()
    assert gauge is not None
    scale, bias = site.constant64(1), site.constant64(2)
    if scale is None or (site.input(2) is not None and bias is None):
        return Declined("has a scale or a bias that is not constant", code=Code.COMPUTED_PARAMETER)
    affine = gauge.to_new
    if affine is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    if any(not first <= axis < end for axis in affine.axes):
        axes = f"axis {first}" if first == end - 1 else f"axes {first} to {end - 1}"
        return Declined(f"has a scale along {axes} only", code=Code.OTHER_AXIS)

    def onto(array: FloatArray) -> FloatArray:
        return array.reshape(array.shape[first:end])

    dtype = site.dtype(1)
    new_scale = partial(np.multiply, scale, onto(affine.scale))
    inputs: tuple[int | Constant | None, ...] = (0, Constant("scale", new_scale, dtype, old=site.input(1)))
    if bias is not None or affine.shifts:
        offset = np.zeros_like(scale) if bias is None else bias

        def new_bias() -> FloatArray:
            return offset * onto(affine.scale) + onto(affine.shift)

        inputs += (Constant("bias", new_bias, dtype, old=site.input(2)),)
    return Settled(Edit(inputs, what="absorbs"))


def softmax(site: Site) -> Answer:
    """Softmax and LogSoftmax; before opset 13 they flattened all axes from `axis` on into one."""
    gauge = site.gauge_in(0)
    if gauge is None or site.gauge_out() is not None:
        return Declined("gives shares of one, which no affine may change")
    rank = gauge.any.rank
    axis = site.integer("axis", -1 if site.opset >= 13 else 1) % rank
    normalized = {axis} if site.opset >= 13 else set(range(axis, rank))
    if gauge.scales or normalized & set(gauge.axes):
        return Declined("lets only a shift pass that is constant along its axis", code=Code.OTHER_AXIS)
    return Settled()


def lp_norm(site: Site) -> Answer:
    """LpNormalization: a positive scale before it that is constant along its axis changes nothing."""
    gauge, shape = site.gauge_in(0), site.shape_in(0)
    if (
        gauge is None
        or site.gauge_out() is not None
        or shape is None
        or gauge.shifts
        or not gauge.positive
        or site.integer("axis", -1) % len(shape) in gauge.axes
    ):
        return Declined(NOT_POSITIVE)
    if not _squares_in_range(site, gauge):
        return Declined("squares what it takes, and the scale keeps the squares in the range of the type")
    return Settled()


def _squares_in_range(site: Site, gauge: Gauge) -> bool:
    """Whether the squares of the value stay in the range of the type without the scale; half types have no room."""
    if site.value_dtype(0) in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        return False
    return bool(np.all((gauge.any.scale <= _MAX_FORGOTTEN) & (gauge.any.scale >= 1.0 / _MAX_FORGOTTEN)))
