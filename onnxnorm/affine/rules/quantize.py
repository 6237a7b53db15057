"""Quantized constants: a positive scale goes into the scale of the DequantizeLinear behind them.

(q - zero point) * scale takes any factor that varies along its axis alone. One scale for the whole tensor becomes one
for each channel (opset 13). A shift or a negative scale would need other integers.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.interface import Answer, Constant, Declined, Edit, Settled, Site

__all__ = ["dequantize"]


def dequantize(site: Site) -> Answer:
    gauge = site.gauge_out()
    if gauge is None or any(site.gauge_in(index) is not None for index in range(len(site.node.inputs))):
        return Declined("takes it for a parameter")
    affine, scale, rank = gauge.to_new, site.constant64(1), site.facts.rank(site.output())
    if affine is None or affine.shifts or not gauge.positive:
        return Declined("is quantized, so only a positive scale goes into it")
    if scale is None or rank is None or site.integer("block_size", 0):
        return Declined("has scales that are not constant, or one for each block")
    point = site.constant(2)
    if site.input(2) is not None and point is None:
        return Declined("has a zero point that is not constant")
    axis = site.integer("axis", 1) % max(rank, 1)
    if scale.size == 1 and affine.axes:
        (axis, *others) = affine.axes
        if others or site.opset < 13:
            return Declined("has one scale for the whole tensor, and the affine varies along several axes")
    elif set(affine.axes) - {axis}:
        return Declined(f"has scales along axis {axis} only")
    factor = affine.scale.reshape(-1) if affine.axes else affine.scale.reshape(())
    new = Constant("scale", partial(np.multiply, scale.reshape(-1) if factor.ndim else scale, factor), site.dtype(1),
                   0 if factor.ndim else None, old=site.input(1))  # fmt: skip
    inputs: tuple[int | Constant | None, ...] = (0, new)
    if site.input(2) is not None and point is not None:
        if factor.ndim and point.size == 1:
            inputs += (
                Constant("zero point", partial(np.full, factor.shape, point.item()), site.dtype(2), old=site.input(2)),
            )
        else:
            inputs += (2,)
    return Settled(Edit(inputs, attributes={"axis": ir.AttrInt64("axis", axis)} if factor.ndim else {}, what="absorbs"))
