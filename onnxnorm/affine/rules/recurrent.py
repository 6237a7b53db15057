"""Recurrent networks: an affine of their input goes into the input's weights.

LSTM, GRU and RNN compute x W^T + Wb + ... for every gate: with x = s x' + t, W becomes W s and Wb becomes Wb + W t.
Shapes (ONNX): X (steps, batch, inputs) or (batch, steps, inputs), W (directions, gates, inputs), B (directions,
2 gates), of which the first half is Wb.
"""

from __future__ import annotations

import numpy as np

from onnxnorm.affine.channel import FloatArray
from onnxnorm.affine.interface import Answer, Constant, Declined, Edit, Settled, Site
from onnxnorm.journal.reasons import Code

__all__ = ["recurrent"]


def recurrent(site: Site) -> Answer:
    """LSTM, GRU and RNN: an affine of the input goes into the input's weights and the bias."""
    gauge = site.gauge_in(0)
    others = [site.gauge_in(index) for index in range(1, len(site.node.inputs))]
    if gauge is None or any(other is not None for other in others):
        return Declined("has a state of its own, which no affine may change")
    if any(site.gauge_out(index) is not None for index in range(len(site.node.outputs))):
        return Declined("bends what it computes, so no affine passes it")
    weight, bias = site.constant64(1), site.constant64(3)
    if weight is None or (site.input(3) is not None and bias is None):
        return Declined("has a weight or a bias that is not constant", code=Code.COMPUTED_PARAMETER)
    affine = gauge.to_old
    if affine is None:
        return Declined("would have to undo a scale of zero", code=Code.ZERO_SCALE)
    vectors = affine.along_axis(2, weight.shape[2]) if affine.rank == 3 else None
    if vectors is None:
        return Declined("mixes its inputs (axis 2), the affine varies along another axis", code=Code.OTHER_AXIS)
    scale, shift = vectors

    def new_weight() -> FloatArray:
        return weight * scale

    def new_bias() -> FloatArray:
        gates = weight.shape[1]
        result = np.zeros((weight.shape[0], 2 * gates)) if bias is None else bias.copy()
        result[:, :gates] += weight @ shift
        return result

    inputs: list[int | Constant | None] = [
        index if site.input(index) is not None else None for index in range(len(site.node.inputs))
    ]
    inputs += [None] * (4 - len(inputs))
    inputs[1] = Constant("weight", new_weight, site.dtype(1), channel_axis=1, old=site.input(1))
    if np.any(shift != 0.0):
        inputs[3] = Constant("bias", new_bias, site.dtype(1), old=site.input(3))
    while inputs[-1] is None:
        inputs.pop()
    return Settled(Edit(tuple(inputs), what="absorbs"))
