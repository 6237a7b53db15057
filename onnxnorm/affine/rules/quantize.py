"""Quantized constants: a scale goes into the scale of the DequantizeLinear behind them.

(q - zero point) * scale takes any factor that varies along its axis alone. One scale for the whole tensor becomes one
for each channel (opset 13). A negative factor mirrors the integers of its channel at the zero point, q' = 2 z - q,
where their type holds all of these: quantizers of weights leave out -128. A shift would need integers of more digits.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray
from onnxnorm.affine.interface import Answer, Cause, Constant, Declined, Edit, Settled, Site
from onnxnorm.journal.reasons import Code

__all__ = ["dequantize"]


def dequantize(site: Site) -> Answer:
    """DequantizeLinear of constants: a scale goes into its scale."""
    gauge = site.gauge_out()
    if gauge is None or any(site.gauge_in(index) is not None for index in range(len(site.node.inputs))):
        return Declined("takes it for a parameter")
    affine, scale, rank = gauge.to_new, site.constant64(1), site.facts.rank(site.output())
    if affine is None or affine.shifts:
        return Declined("is quantized, so only a scale goes into it", code=Code.QUANTIZED)
    if scale is None or rank is None or site.integer("block_size", 0):
        return Declined("has scales that are not constant, or one for each block", code=Code.QUANTIZED)
    point = site.constant(2)
    if site.input(2) is not None and point is None:
        return Declined("has a zero point that is not constant", code=Code.QUANTIZED)
    axis = site.integer("axis", 1) % max(rank, 1)
    if scale.size == 1 and affine.axes:
        (axis, *others) = affine.axes
        if others or site.opset < 13:
            return Declined(
                "has one scale for the whole tensor, and the affine varies along several axes", code=Code.QUANTIZED
            )
    elif set(affine.axes) - {axis}:
        return Declined(f"has scales along axis {axis} only", code=Code.QUANTIZED)
    factor = affine.scale.reshape(-1) if affine.axes else affine.scale.reshape(())
    scaled = partial(np.multiply, scale.reshape(-1) if factor.ndim else scale, abs(factor))
    new = Constant("scale", scaled, site.dtype(1), 0 if factor.ndim else None, old=site.input(1))
    values: int | Constant | Declined = 0 if gauge.positive else _mirrored(site, factor, axis, rank, point)
    if isinstance(values, Declined):
        return values
    inputs: tuple[int | Constant | None, ...] = (values, new)
    if site.input(2) is not None and point is not None:
        if factor.ndim and point.size == 1:
            inputs += (
                Constant("zero point", partial(np.full, factor.shape, point.item()), site.dtype(2), old=site.input(2)),
            )
        else:
            inputs += (2,)
    return Settled(Edit(inputs, attributes={"axis": ir.AttrInt64("axis", axis)} if factor.ndim else {}, what="absorbs"))


def _mirrored(
    site: Site, factor: FloatArray, axis: int, rank: int, point: npt.NDArray[np.generic] | None
) -> Constant | Declined:
    """Return the integers with those of each channel of a negative factor mirrored at its zero point."""
    stored, dtype = site.constant64(0), site.value_dtype(0)
    if stored is None:
        return Declined(
            "is quantized and computed, so only a positive scale goes into it", Cause.NEGATIVE, code=Code.QUANTIZED
        )
    if not dtype.is_integer() or np.any(factor == 0):
        return Declined(
            f"holds {dtype.name.lower()}, so only a positive scale goes into it", Cause.NEGATIVE, code=Code.QUANTIZED
        )
    along = [-1 if dimension == axis else 1 for dimension in range(rank)]
    signs = np.sign(factor).reshape(along) if factor.ndim else np.sign(factor)
    zero = np.zeros(()) if point is None else np.asarray(point, np.float64)
    zero = zero.reshape(along) if zero.size > 1 else zero.reshape(())
    mirrored = np.where(signs < 0, 2 * zero - stored, stored)
    least, most = _range(dtype)
    if mirrored.min(initial=0) < least or mirrored.max(initial=0) > most:
        beyond = int(mirrored.min(initial=0) if mirrored.min(initial=0) < least else mirrored.max(initial=0))
        return Declined(
            f"holds integers whose mirror image, such as {beyond}, {dtype.name.lower()} has not, and the scale is "
            "negative there",
            Cause.NEGATIVE,
            code=Code.QUANTIZED,
        )
    return Constant("quantized", lambda: mirrored, dtype, old=site.input(0))


def _range(dtype: ir.DataType) -> tuple[int, int]:
    bits = int(dtype.bitwidth)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.is_signed() else (0, 2**bits - 1)
