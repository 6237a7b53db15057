"""Sums of products over labels, as Einsum writes them: what the gauges of the wires of one come to.

The labels are axes; those that the result lacks are summed over. A scale S_i on each operand that depends on its own
labels comes out as a scale on the result where the product of all S_i does not depend on a label that is summed over;
any one wire can make up for what the others lack. A constant operand takes its part by being changed. A shift t of the
one operand that is not constant comes out as the same product with t in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Choice, Constant, Declined, Edit, Scaling, Settled, Site
from onnxnorm.journal.reasons import Code

__all__ = ["LeftOver", "SumOfProducts", "answer_of", "balance_of", "choice", "taken"]

_NO_INVERSE = "would have to undo a scale of zero"


@dataclass(frozen=True, eq=False)
class SumOfProducts:
    """A sum of products; `operands` and `result` hold the labels of the axes of each wire."""

    site: Site
    operands: tuple[str, ...]
    result: str

    @property
    def labels(self) -> str:
        return "".join(dict.fromkeys("".join((*self.operands, self.result))))

    def lifted(self, array: FloatArray, own: str) -> FloatArray:
        """Lift an array over the labels `own` to one over all labels."""
        order = sorted(range(len(own)), key=lambda axis: self.labels.index(own[axis]))
        shape = [1] * len(self.labels)
        for axis in order:
            shape[self.labels.index(own[axis])] = array.shape[axis]
        return array.transpose(order).reshape(shape)

    def lowered(self, array: FloatArray, own: str) -> FloatArray | None:
        """Lower an array over all labels to one over the labels `own`; None where it varies along another label."""
        for index, label in enumerate(self.labels):
            if label not in own and array.shape[index] != 1:
                head = np.take(array, [0], axis=index)
                if not np.allclose(array, head, rtol=1e-13, atol=0.0):
                    return None
                array = head
        kept = [label for label in self.labels if label in own]
        array = array.reshape([array.shape[self.labels.index(label)] for label in kept])
        return array.transpose([kept.index(label) for label in own])

    def contracted(self, arrays: Sequence[FloatArray]) -> FloatArray:
        """Multiply the arrays and sum; what is summed over must have its full extent in one of them at least."""
        total = np.einsum(",".join(self.operands) + "->" + self.result, *self._filled(arrays), optimize=True)
        return np.asarray(total, np.float64)

    def _filled(self, arrays: Sequence[FloatArray]) -> list[FloatArray]:
        # Labels of extent 1 in one operand are stretched to what the others have.
        extents: dict[str, int] = {}
        for array, own in zip(arrays, self.operands, strict=True):
            for label, extent in zip(own, array.shape, strict=True):
                extents[label] = max(extent, extents.get(label, 1))
        summed = set(self.labels) - set(self.result)
        return [
            np.broadcast_to(
                array,
                [extents[label] if label in summed else n for label, n in zip(own, array.shape, strict=True)],
            )
            for array, own in zip(arrays, self.operands, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class LeftOver:
    """The answer that the product goes along, but for a shift that its result must get from somewhere else."""

    operands: tuple[int | Constant | None, ...]
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class Balance:
    """The balance of a product: what the gauges of its wires come to.

    `scale` (over all labels) is what is left for the operands to take, `shift` what the old result has beside the
    product of the new operands.
    """

    constants: tuple[npt.NDArray[np.generic] | None, ...]
    scale: FloatArray
    shift: FloatArray


def balance_of(product: SumOfProducts) -> Balance | Declined:
    """Return what the gauges of all wires come to, or why none can pass."""
    site = product.site
    count = len(product.operands)
    constants = tuple(site.constant(index) for index in range(count))
    dynamic = [index for index in range(count) if constants[index] is None]
    gauges = [site.gauge_in(index) for index in range(count)]
    if not dynamic or any(gauges[index] is not None for index in range(count) if index not in dynamic):
        return Declined("takes it for a constant")
    gauge_out = site.gauge_out()
    for gauge, own in [*zip(gauges, product.operands, strict=True), (gauge_out, product.result)]:
        if gauge is not None and gauge.any.rank != len(own):
            return Declined("multiplies values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    if any(gauge is not None and gauge.to_old is None for gauge in gauges) or (
        gauge_out is not None and gauge_out.to_new is None
    ):
        return Declined(_NO_INVERSE, code=Code.ZERO_SCALE)
    shifted = [index for index in dynamic if (gauge := gauges[index]) is not None and gauge.shifts]
    arrays = constants
    if shifted and len(dynamic) > 1:
        # Quantized weights are constants that only a scale goes into.
        arrays = tuple(site.dequantized64(index) if index in dynamic else constants[index] for index in range(count))
        if len(shifted) > 1 or any(arrays[index] is None for index in dynamic if index != shifted[0]):
            return Declined("multiplies two values that both depend on the input, so no shift passes it")
        arrays = tuple(None if index in shifted else array for index, array in enumerate(arrays))
    # In terms of the new operands the old result is the product of (to_old scales x new operands), shifts apart.
    scale = np.ones((1,) * len(product.labels))
    for gauge, own in zip(gauges, product.operands, strict=True):
        if gauge is not None and gauge.to_old is not None:
            scale = scale * product.lifted(gauge.to_old.scale, own)
    if gauge_out is not None and gauge_out.to_new is not None:
        scale = scale * product.lifted(gauge_out.to_new.scale, product.result)
    return Balance(constants, scale, _shift_of_result(product, arrays, gauges, shifted))


def answer_of(product: SumOfProducts) -> Answer | LeftOver:
    """Answer for the product: which operand takes the scale, what goes on, and which shift is left over."""
    balance = balance_of(product)
    if isinstance(balance, Declined):
        return balance
    site = product.site
    gauge_out = site.gauge_out()
    ways = taken(product, balance)
    if gauge_out is None:
        return _onward(product, balance, ways)
    after = gauge_out.to_new
    assert after is not None
    if not ways:
        return Declined("has no operand that could take the scale")
    left_over = after.scale * balance.shift + after.shift
    largest = max(np.abs(after.shift).max(), np.abs(after.scale * balance.shift).max(), 1e-300)
    if np.all(np.abs(left_over) <= 1e-13 * largest):
        return choice(ways)
    for way in ways:
        if not way.demands:
            inputs = tuple(range(len(product.operands))) if way.edit is None else way.edit.inputs
            return LeftOver(inputs, left_over)
    return Declined("has no bias that could take the shift")


def choice(ways: Sequence[Settled]) -> Settled | Choice:
    """Return the only way, or the choice between several."""
    return ways[0] if len(ways) == 1 else Choice(tuple(ways))


def _shift_of_result(
    product: SumOfProducts,
    constants: Sequence[npt.NDArray[np.generic] | None],
    gauges: Sequence[Gauge | None],
    shifted: Sequence[int],
) -> FloatArray:
    """Return the product with the shift of the one shifted operand in its place; zero where none is shifted."""
    if not shifted:
        return np.zeros((1,) * len(product.result))
    arrays = []
    for index, constant in enumerate(constants):
        gauge = gauges[index]
        if constant is not None:
            arrays.append(np.asarray(constant, np.float64))
        else:
            assert gauge is not None and gauge.to_old is not None
            arrays.append(gauge.to_old.shift)
    return product.contracted(arrays)


def _onward(product: SumOfProducts, balance: Balance, ways_taken: Sequence[Settled]) -> Answer:
    """Answer while no gauge is on the result: operands take the scale, or it goes on; a shift goes on in any case."""
    site, output = product.site, product.site.output()
    rank = len(product.result)
    shift_alone = Gauge.old(ChannelAffine.of(1.0, balance.shift, rank))
    ways = [Settled(way.edit, way.demands + site.demand(output, shift_alone)) for way in ways_taken]
    scale = product.lowered(balance.scale, product.result)
    if scale is not None and np.any(scale != 1.0):
        # old = scale x (new product) + shift.
        ways.append(Settled(None, site.demand(output, Gauge.old(ChannelAffine.of(scale, balance.shift, rank)))))
    return choice(ways) if ways else Declined("has no operand that could take the scale")


def taken(product: SumOfProducts, balance: Balance) -> list[Settled]:
    """Return the ways in which one operand takes the scale: a constant by being changed, another value by a gauge."""
    site = product.site
    if np.allclose(balance.scale, 1.0, rtol=1e-13, atol=0.0):
        return [Settled()]
    by_constants: list[Settled] = []
    by_values: list[Settled] = []
    for index, (own, constant) in enumerate(zip(product.operands, balance.constants, strict=True)):
        scale = product.lowered(balance.scale, own)
        if scale is None:
            continue
        if constant is not None:
            if np.broadcast_shapes(constant.shape, scale.shape) == constant.shape:
                compute = partial(Scaling, constant, scale)
                axis = _channel_axis(product, index)
                new = Constant("weight", compute, site.dtype(index), axis, old=site.input(index))
                inputs = tuple(new if i == index else i for i in range(len(product.operands)))
                by_constants.append(Settled(Edit(inputs, what="absorbs")))
        elif site.gauge_in(index) is None and np.all(scale != 0.0):
            value = site.input(index)
            assert value is not None
            gauge = Gauge.new(ChannelAffine.of(scale, 0.0, len(own)))
            if _fits(gauge, site.shape_in(index)):
                by_values.append(Settled(None, site.demand(value, gauge)))
    return by_constants + by_values


def _fits(gauge: Gauge, shape: Sequence[object] | None) -> bool:
    """Whether the affine varies only along axes on which the value has that very extent."""
    return shape is not None and all(gauge.any.scale.shape[axis] == shape[axis] for axis in gauge.axes)


def _channel_axis(product: SumOfProducts, index: int) -> int | None:
    """Return the axis of a constant that is an axis of the result too.

    The slices along it must each keep their accuracy.
    """
    outer = [axis for axis, label in enumerate(product.operands[index]) if label in product.result]
    return outer[-1] if outer else None
