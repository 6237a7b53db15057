"""Matrix products and their kin: operators that are linear in each of several operands.

MatMul and Einsum are sums of products over labels (sums_of_products.py). Gemm adds alpha, beta and a third operand C,
which takes the shift; a MatMul of rank 2 becomes one where it has to.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.affine.interface import Answer, Constant, Declined, Edit, Settled, Site
from onnxnorm.affine.rules.sums_of_products import LeftOver, SumOfProducts, answer_of, balance_of, choice, taken
from onnxnorm.journal.reasons import Code

__all__ = ["einsum", "gemm", "matmul"]


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
    answer = answer_of(SumOfProducts(site, (left, right), result))
    if isinstance(answer, LeftOver):
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
    answer = answer_of(SumOfProducts(site, operands, result))
    return Declined("has no bias that could take the shift") if isinstance(answer, LeftOver) else answer


def gemm(site: Site) -> Answer:
    """Gemm: alpha A B + beta C."""
    shapes = [site.shape_in(index) for index in (0, 1)]
    if any(shape is None or len(shape) != 2 for shape in shapes):
        return Declined("multiplies values whose rank is not known", code=Code.UNKNOWN_SHAPE)
    flips = [bool(site.integer(name, 0)) for name in ("transA", "transB")]
    product = SumOfProducts(site, ("KM" if flips[0] else "MK", "NK" if flips[1] else "KN"), "MN")
    balance = balance_of(product)
    if isinstance(balance, Declined):
        return balance
    ways = [_with_c(site, way, site.number("alpha", 1.0) * balance.shift) for way in taken(product, balance)]
    settled = [way for way in ways if isinstance(way, Settled)]
    if settled:
        return choice(settled)
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
