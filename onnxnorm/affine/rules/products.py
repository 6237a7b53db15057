"""Matrix products and their kin: operators that are linear in each of several operands.

MatMul and Einsum sum products of operands over labels (axes) that the result lacks. A scale S_i on each operand that
depends on its own labels comes out as a scale on the result where the product of all S_i does not depend on a label
that is summed over; any one wire can make up for what the others lack. A constant operand takes its part by being
changed. A shift t of the one operand that is not constant comes out as the same product with t in its place.
Gemm adds alpha, beta and a third operand C, which takes the shift; a MatMul of rank 2 becomes one where it has to.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Choice, Constant, Declined, Edit, Scaling, Settled, Site
from onnxnorm.journal.reasons import Code

__all__ = ["einsum", "gemm", "matmul"]

_NO_INVERSE = "would have to undo a scale of zero"


@dataclass(frozen=True, eq=False)
class _Product:
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


def matmul(site: Site) -> Answer:
    """MatMul, as a sum of products over labels."""
    ranks = [len(shape) for index in (0, 1) if (shape := site.shape_in(index)) is not None]
    if len(ranks) < 2 or min(ranks) < 1:
        return Declined("multiplies values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    batch = string.ascii_lowercase[: max(ranks)]
    left = "K" if ranks[0] == 1 else batch[len(batch) - (ranks[0] - 2) :] + "MK" if ranks[0] > 2 else "MK"
    right = "K" if ranks[1] == 1 else batch[len(batch) - (ranks[1] - 2) :] + "KN" if ranks[1] > 2 else "KN"
    wide = max(ranks[0] - 2, ranks[1] - 2, 0)
    result = batch[len(batch) - wide :] if wide else ""
    result += ("M" if ranks[0] > 1 else "") + ("N" if ranks[1] > 1 else "")
    answer = _product(_Product(site, (left, right), result))
    if isinstance(answer, _LeftOver):
        if ranks == [2, 2] and site.constant(1) is not None:
            weight = answer.operands[1]
            bias = answer.shift.reshape(-1)
            new = Constant("bias", partial(np.array, bias), site.dtype(1))
            if answer.shift.shape[0] == 1:
                return Settled(Edit((0, weight, new), op_type="Gemm", what="absorbs"))
        return Declined("has no bias that could take the shift")
    return answer


def einsum(site: Site) -> Answer:
    """Einsum, as a sum of products over labels."""
    equation = site.text("equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    operands = tuple(terms.split(","))
    if not arrow or "." in equation or any(len(set(term)) < len(term) for term in (*operands, result)):
        return Declined("sums by an equation with an ellipsis, a repeated label or no result")
    answer = _product(_Product(site, operands, result))
    return Declined("has no bias that could take the shift") if isinstance(answer, _LeftOver) else answer


@dataclass(frozen=True, eq=False)
class _LeftOver:
    """The answer that the product goes along, but for a shift that its result must get from somewhere else."""

    operands: tuple[int | Constant | None, ...]
    shift: FloatArray


@dataclass(frozen=True, eq=False)
class _Balance:
    """The balance of a product: what the gauges of its wires come to.

    `scale` (over all labels) is what is left for the operands to take, `shift` what the old result has beside the
    product of the new operands.
    """

    constants: tuple[npt.NDArray[np.generic] | None, ...]
    scale: FloatArray
    shift: FloatArray


def _balance(product: _Product) -> _Balance | Declined:
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
    return _Balance(constants, scale, _shift_of_result(product, arrays, gauges, shifted))


def _product(product: _Product) -> Answer | _LeftOver:
    balance = _balance(product)
    if isinstance(balance, Declined):
        return balance
    site = product.site
    gauge_out = site.gauge_out()
    ways = _taken(product, balance)
    if gauge_out is None:
        return _onward(product, balance, ways)
    after = gauge_out.to_new
    assert after is not None
    if not ways:
        return Declined("has no operand that could take the scale")
    left_over = after.scale * balance.shift + after.shift
    largest = max(np.abs(after.shift).max(), np.abs(after.scale * balance.shift).max(), 1e-300)
    if np.all(np.abs(left_over) <= 1e-13 * largest):
        return _choice(ways)
    for way in ways:
        if not way.demands:
            inputs = tuple(range(len(product.operands))) if way.edit is None else way.edit.inputs
            return _LeftOver(inputs, left_over)
    return Declined("has no bias that could take the shift")


def _choice(ways: Sequence[Settled]) -> Settled | Choice:
    return ways[0] if len(ways) == 1 else Choice(tuple(ways))


def _shift_of_result(
    product: _Product,
    constants: Sequence[npt.NDArray[np.generic] | None],
    gauges: Sequence[Gauge | None],
    shifted: Sequence[int],
) -> FloatArray:
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


def _onward(product: _Product, balance: _Balance, taken: Sequence[Settled]) -> Answer:
    """Answer while no gauge is on the result: operands take the scale, or it goes on; a shift goes on in any case."""
    site, output = product.site, product.site.output()
    rank = len(product.result)
    shift_alone = Gauge.old(ChannelAffine.of(1.0, balance.shift, rank))
    ways = [Settled(way.edit, way.demands + site.demand(output, shift_alone)) for way in taken]
    scale = product.lowered(balance.scale, product.result)
    if scale is not None and np.any(scale != 1.0):
        # old = scale x (new product) + shift.
        ways.append(Settled(None, site.demand(output, Gauge.old(ChannelAffine.of(scale, balance.shift, rank)))))
    return _choice(ways) if ways else Declined("has no operand that could take the scale")


def _taken(product: _Product, balance: _Balance) -> list[Settled]:
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


def _channel_axis(product: _Product, index: int) -> int | None:
    """Return the axis of a constant that is an axis of the result too.

    The slices along it must each keep their accuracy.
    """
    outer = [axis for axis, label in enumerate(product.operands[index]) if label in product.result]
    return outer[-1] if outer else None


def gemm(site: Site) -> Answer:
    """Gemm: alpha A B + beta C."""
    shapes = [site.shape_in(index) for index in (0, 1)]
    if any(shape is None or len(shape) != 2 for shape in shapes):
        return Declined("multiplies values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    flips = [bool(site.integer(name, 0)) for name in ("transA", "transB")]
    product = _Product(site, ("KM" if flips[0] else "MK", "NK" if flips[1] else "KN"), "MN")
    balance = _balance(product)
    if isinstance(balance, Declined):
        return balance
    ways = [_with_c(site, way, site.number("alpha", 1.0) * balance.shift) for way in _taken(product, balance)]
    settled = [way for way in ways if isinstance(way, Settled)]
    if settled:
        return _choice(settled)
    return ways[0] if ways else Declined("has no operand that could take the scale")


def _with_c(site: Site, way: Settled, spread: FloatArray) -> Settled | Declined:
    """Return the way that the factors take, with a C that adds beta C a_s + spread a_s + a_t."""
    after = site.after(2)
    assert after is not None
    inputs: list[int | Constant | None] = [0, 1] if way.edit is None else list(way.edit.inputs[:2])
    beta = site.number("beta", 1.0)
    adds = site.input(2) is not None and beta != 0.0
    # A quantized bias is small: it is written in full, since a shift would need other integers.
    bias = site.dequantized64(2) if adds else None
    shift = after.scale * spread + after.shift
    if adds and bias is None:
        value, shape = site.input(2), site.shape_in(2)
        assert value is not None
        lowered = None if shape is None else _lowered(Gauge.new(ChannelAffine.of(after.scale, shift / beta, 2)), shape)
        if lowered is None:
            return Declined("adds a value that lacks the axis on which the affine varies", code=Code.OTHER_AXIS)
        present = site.gauge_in(2)
        if present is not None and not present.same_as(lowered):
            return Declined("adds a value that would carry another affine", code=Code.READERS_DIFFER)
        return Settled(Edit((*inputs, 2), what="absorbs"), way.demands + site.demand(value, lowered))
    if site.gauge_in(2) is not None:
        return Declined("takes it for a constant")
    total = (0.0 if bias is None else beta * bias) * after.scale + shift
    rows = (site.shape_out() or (None,))[0]
    if total.shape[0] not in (1, rows):
        return Declined("has as many rows as its input, so its bias cannot vary along them")
    # Before opset 11 there had to be a C.
    if adds or np.any(total != 0.0) or site.opset < 11:
        dtype = site.value_dtype(2 if adds else 1)
        flat = total[0] if total.shape[0] == 1 else total
        inputs.append(Constant("bias", partial(np.array, flat), dtype, old=site.input(2)))
    attributes = {"beta": ir.AttrFloat32("beta", 1.0)}
    return Settled(Edit(tuple(inputs), attributes=attributes, what="absorbs"), way.demands)


def _lowered(gauge: Gauge, shape: Sequence[object]) -> Gauge | None:
    missing = 2 - len(shape)
    for axis in gauge.axes:
        if axis < missing or shape[axis - missing] != gauge.any.scale.shape[axis]:
            return None
    return gauge.map(lambda array: array.reshape(array.shape[missing:]))
