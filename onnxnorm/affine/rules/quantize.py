"""Quantized constants: a scale goes into the scale of the DequantizeLinear behind them.

(q - zero point) * scale takes any factor that is constant where one number of the scale holds: over the whole tensor,
over a slice along one axis, or over a block of that axis (opset 21). One scale for the whole tensor becomes one for
each channel (opset 13). Where the factor is negative the integers are mirrored at the zero point, q' = 2 z - q, and
where their type does not hold the mirror image (int8 has -128, and not 128), the zero point moves as well, if it may:
signed integers about zero stay about zero, and one zero point for all stays one, since kernels ask for both; of a
convolution the zero points of all channels become one where the integers have room for that. Where the factor is zero
the integers become the zero point, so that no scale is zero. A shift would need more digits. New scales of a product
are those of its output channels, which is what kernels for quantized weights take.

What is quantized at run time is rounded there, and lets nothing pass but one positive factor behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray
from onnxnorm.affine.integer_kernels import output_axis
from onnxnorm.affine.interface import Answer, Cause, Constant, Declined, Edit, Settled, Site
from onnxnorm.journal.reasons import Code

__all__ = ["ROUNDING", "dequantize", "rounds"]

_AFTERWARDS = "fold the float model before it is quantized"
_ROUNDS = f"works on integers that were rounded, and no affine passes rounding; {_AFTERWARDS}"
ROUNDING = frozenset(
    [
        "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QGemm", "QLinearAdd", "QLinearAveragePool",
        "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul",
        "QLinearSigmoid", "QuantizeLinear",
    ]
)  # fmt: skip
"""Operators that quantize, or that compute with what is quantized."""


def rounds() -> Declined:
    """Return the answer of the operators `ROUNDING`."""
    return _refused(_ROUNDS, Cause.ANYTHING)


def _refused(reason: str, cause: Cause = Cause.UNKNOWN) -> Declined:
    return Declined(reason, cause, code=Code.QUANTIZED)


def dequantize(site: Site) -> Answer:
    """DequantizeLinear: a scale goes into its scale, and its sign into integers that are constant."""
    gauge = site.gauge_out()
    if gauge is None or any(site.gauge_in(index) is not None for index in range(len(site.node.inputs))):
        return _refused("takes it for a parameter")
    affine, scale, shape = gauge.to_new, site.constant64(1), site.shape_in(0)
    computed = not site.facts.is_constant(site.input(0))
    if affine is None or affine.shifts:
        if computed:
            return _refused(f"gives back what was rounded to integers, and no shift passes that; {_AFTERWARDS}")
        return _refused("is quantized, so only a scale goes into it")
    if scale is None or (site.input(2) is not None and site.constant(2) is None):
        return _refused("has a scale or a zero point that is not constant")
    if shape is None or len(shape) != affine.rank:
        return _refused("has integers whose rank is not known")
    if computed:
        return _of_computed(site, affine.scale, scale)
    if any(not isinstance(extent, int) for extent in shape):
        return _refused("has integers whose extents are not known")
    grid = _grid(site, tuple(int(extent or 0) for extent in shape), scale)
    if isinstance(grid, Declined):
        return grid
    if not affine.axes:
        factor = affine.scale.reshape(())
    else:
        if grid.axis is None:
            grid = _grid_along(site, grid.shape, affine.axes)
            if isinstance(grid, Declined):
                return grid
        reduced = grid.reduced(affine.scale)
        if isinstance(reduced, Declined):
            return reduced
        factor = reduced
    return _scaled(site, grid, factor, scale)


def _of_computed(site: Site, factor: FloatArray, scale: FloatArray) -> Answer:
    """Answer for integers that are computed: one positive factor is taken into every scale."""
    if factor.size != 1:
        return _refused("is quantized by one scale at run time, so no scale of each channel goes into it")
    if factor.item() <= 0.0:
        return _refused("is quantized and computed, so only a positive scale goes into it", Cause.NEGATIVE)
    new = Constant("scale", partial(np.multiply, scale, factor.item()), site.dtype(1), None, old=site.input(1))
    return Settled(Edit((0, new, *range(2, len(site.node.inputs))), what="absorbs"))


@dataclass(frozen=True)
class _Grid:
    """A grid of cells over integers of an extent, with one scale in each cell.

    `axis` is None where one scale holds for all; `block` is the extent of a cell along the axis.
    """

    shape: tuple[int, ...]
    axis: int | None = None
    block: int = 1
    blocked: bool = False

    def reduced(self, factor: FloatArray) -> FloatArray | Declined:
        """Return a factor that broadcasts to the integers as one that broadcasts to the scales."""
        axis = self.axis
        assert axis is not None
        others = [each for each in range(factor.ndim) if each != axis and factor.shape[each] > 1]
        if others and not self.blocked:
            return _refused(f"has scales along axis {axis} only, and the affine varies along axis {others[0]}")
        if factor.shape[axis] > 1 and self.block > 1:
            first = np.take(factor, np.arange(0, factor.shape[axis], self.block), axis)
            if not np.array_equal(self.spread(first), np.broadcast_to(factor, self.spread(first).shape)):
                return _refused("has one scale for several channels, and the affine varies between them")
            factor = first
        return factor if self.blocked else factor.reshape(-1)

    def spread(self, cells: FloatArray) -> FloatArray:
        """Lay numbers of the cells out so that they broadcast to the integers."""
        if cells.size == 1:
            return cells.reshape((1,) * len(self.shape))
        axis = self.axis
        assert axis is not None
        if cells.ndim == 1 and not self.blocked:
            cells = cells.reshape([-1 if each == axis else 1 for each in range(len(self.shape))])
        if self.block > 1 and cells.shape[axis] > 1:
            cells = np.take(np.repeat(cells, self.block, axis), np.arange(self.shape[axis]), axis)
        return cells

    def extreme(self, values: FloatArray, largest: bool) -> FloatArray:
        """Return the largest or the smallest of the values in each cell, laid out as the scales are."""
        reduce = np.maximum if largest else np.minimum
        if self.axis is None:
            return np.asarray(reduce.reduce(values, axis=None))
        if self.blocked:
            starts = np.arange(0, self.shape[self.axis], self.block)
            return reduce.reduceat(values, starts, axis=self.axis)
        others = tuple(each for each in range(len(self.shape)) if each != self.axis)
        return np.asarray(reduce.reduce(values, axis=others))


def _grid(site: Site, shape: tuple[int, ...], scale: FloatArray) -> _Grid | Declined:
    axis, block = site.integer("axis", 1), site.integer("block_size", 0)
    axis += len(shape) if axis < 0 else 0
    if block > 0 and scale.ndim == len(shape) > axis:
        cells = tuple(-(-extent // block) if each == axis else extent for each, extent in enumerate(shape))
        return _Grid(shape, axis, block, blocked=True) if scale.shape == cells else _refused("has misshapen scales")
    if scale.ndim == 0 or (scale.shape == (1,) and (len(shape) <= axis or shape[axis] != 1)):
        return _Grid(shape)
    if scale.ndim != 1 or axis >= len(shape) or scale.size != shape[axis]:
        return _refused("has misshapen scales")
    return _Grid(shape, axis)


def _grid_along(site: Site, shape: tuple[int, ...], axes: tuple[int, ...]) -> _Grid | Declined:
    if len(axes) > 1 or site.opset < 13:
        return _refused(
            "has one scale for the whole tensor, and the affine varies along several axes or before opset 13"
        )
    for user, index in site.output().uses():
        if user.op_type in ("Gemm", "MatMul") and output_axis(user, index, len(shape)) not in (None, axes[0]):
            return _refused("has one scale for the whole tensor, and kernels take scales of output channels alone")
    return _Grid(shape, axes[0])


def _asks_for_one_point(site: Site) -> bool:
    """Whether a convolution reads the integers: its kernels have one zero point for all channels."""
    return any(user.op_type == "Conv" and index == 1 for user, index in site.output().uses())


def _scaled(site: Site, grid: _Grid, factor: FloatArray, scale: FloatArray) -> Answer:
    """Return the edit by which the scales are multiplied by the factor, both laid out as the scales are to be."""
    magnitude = np.where(factor == 0.0, 1.0, np.abs(factor))
    old_scale = scale.reshape(()) if scale.size == 1 else scale
    along = grid.axis if grid.blocked else 0
    role = Constant(
        "scale", partial(np.multiply, old_scale, magnitude), site.dtype(1), along if factor.ndim else None,
        old=site.input(1),
    )  # fmt: skip
    inputs: list[int | Constant | None] = [0, role]
    point, cells = site.constant64(2), np.broadcast_shapes(old_scale.shape, magnitude.shape)
    differ = point is not None and np.any(point != point.flat[0]) and _asks_for_one_point(site)
    if np.all(factor > 0.0) and not differ:
        if point is not None and cells and point.size == 1:
            spread = partial(np.full, cells, point.item())
            inputs.append(Constant("zero point", spread, site.dtype(2), old=site.input(2)))
        elif point is not None:
            inputs.append(2)
    else:
        mirrored = _mirrored(site, grid, np.broadcast_to(np.sign(factor), cells), point, one_point=bool(differ))
        if isinstance(mirrored, Declined):
            return mirrored
        inputs[0] = Constant("quantized", partial(np.array, mirrored.values), site.value_dtype(0), old=site.input(0))
        if mirrored.points is not None:
            dtype = site.value_dtype(0)
            inputs.append(Constant("zero point", partial(np.array, mirrored.points), dtype, old=site.input(2)))
    if len(inputs) == 2 and scale.size == 1 and cells and site.value_dtype(0) is ir.DataType.INT8:
        # onnxruntime makes int8 of several scales into uint8 (session.x64quantprecision) where it has zero points.
        inputs.append(Constant("zero point", partial(np.zeros, cells), ir.DataType.INT8))
    attributes: dict[str, ir.Attr | None] = {}
    if grid.axis is not None and not grid.blocked:
        attributes["axis"] = ir.AttrInt64("axis", grid.axis)
    return Settled(Edit(tuple(inputs), attributes=attributes, what="absorbs"))


@dataclass(frozen=True, eq=False)
class _Mirrored:
    """Integers of which some are mirrored, with their zero points; None where there were none and need not be."""

    values: FloatArray
    points: FloatArray | None


def _mirrored(
    site: Site, grid: _Grid, signs: FloatArray, point: FloatArray | None, *, one_point: bool
) -> _Mirrored | Declined:
    """Multiply the distances of the integers from their zero point by `signs`, one for each cell.

    `one_point`: zero points that differ become one where that can be.
    """
    stored, dtype = site.constant64(0), site.value_dtype(0)
    if stored is None or stored.shape != grid.shape:
        return _refused("is quantized and not known, so only a positive scale goes into it", Cause.NEGATIVE)
    spread, cells = grid.spread(signs), signs.shape
    zero = np.zeros(()) if point is None else point
    if not dtype.is_integer():
        values = np.where(spread == 0.0, 0.0, stored * np.where(spread == 0.0, 1.0, spread))
        return _Mirrored(values, None if point is None else np.zeros(cells) if zero.size == 1 else zero)
    if zero.size == 1:
        zero = np.full(cells, zero.item())
    distances = (stored - grid.spread(zero)) * spread
    if not distances.size:
        return _Mirrored(stored, None if point is None else zero)
    least, most = _range(dtype)
    lowest = least - np.minimum(grid.extreme(distances, largest=False), 0.0)
    highest = most - np.maximum(grid.extreme(distances, largest=True), 0.0)
    uniform = bool(np.all(zero == zero.flat[0])) if zero.size else True
    if one_point and lowest.max() <= highest.min():
        zero, uniform = np.full(cells, 0.0 if dtype.is_signed() else float(2 ** (int(dtype.bitwidth) - 1))), True
    if uniform:
        lowest, highest = np.full(cells, lowest.max()), np.full(cells, highest.min())
    points = np.clip(zero, lowest, highest)
    about_zero = dtype.is_signed() and uniform and not zero.any() and not one_point
    if np.any(lowest > highest) or (about_zero and points.any()):
        beyond = _beyond(distances + grid.spread(zero), least, most)
        return _refused(
            f"holds integers whose mirror image, such as {beyond}, {dtype.name.lower()} has not, and the scale is "
            "negative there",
            Cause.NEGATIVE,
        )
    return _Mirrored(distances + grid.spread(points), None if point is None and not points.any() else points)


def _beyond(values: FloatArray, least: int, most: int) -> int:
    return int(values.min() if values.min() < least else values.max())


def _range(dtype: ir.DataType) -> tuple[int, int]:
    bits = int(dtype.bitwidth)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.is_signed() else (0, 2**bits - 1)
