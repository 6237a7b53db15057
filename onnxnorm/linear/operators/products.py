"""MatMul and Gemm by a constant matrix as linear maps of the last axis, or by one on the left of the axis before."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.linear.channels import FloatArray, Integers
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.step import Family, Step, StepReader, Weight, rank_of

__all__ = ["LEFT_PRODUCTS", "PRODUCTS"]


def _matrix(value: ir.Value | None, facts: Facts) -> Weight | None:
    """Return a constant matrix, perhaps with axes of extent one before it."""
    weight = Weight.of(value, facts)
    return None if weight is None or weight.size != weight.shape[-1] * weight.shape[-2] else weight


def _matmul(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, weight = node.inputs[0], _matrix(node.inputs[1], facts)
    rank = None if x is None else rank_of(x, facts)
    if x is None or weight is None or rank is None or rank < len(weight.shape):
        return None
    shape = weight.shape[:-3:-1]

    def matrix(rows: Integers) -> FloatArray:
        return np.asarray(weight.array.reshape(shape[::-1]).T[rows], np.float64)

    return _product(x, weight, Convolution.later(shape, matrix, None, 1, ()))


def _gemm(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, weight = node.inputs[0], _matrix(node.inputs[1], facts)
    attributes = node.attributes
    if x is None or weight is None or len(weight.shape) != 2 or attributes.get_int("transA", 0) != 0:
        return None
    is_transposed, alpha = attributes.get_int("transB", 0) != 0, attributes.get_float("alpha", 1.0)
    outputs, inputs = weight.shape if is_transposed else weight.shape[::-1]
    shift, beta = node.inputs[2] if len(node.inputs) > 2 else None, attributes.get_float("beta", 1.0)
    bias = None
    if shift is not None and beta != 0.0:
        addend = facts.constant(shift)
        if addend is None or addend.size not in (1, outputs) or (addend.ndim and addend.shape[-1] != addend.size):
            return None
        bias = beta * np.broadcast_to(np.asarray(addend, np.float64).ravel(), (outputs,))

    def matrix(rows: Integers) -> FloatArray:
        return alpha * np.asarray((weight.array if is_transposed else weight.array.T)[rows], np.float64)

    return _product(x, weight, Convolution.later((outputs, inputs), matrix, bias, 1, ()))


def _left_matmul(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    weight, x = _matrix(node.inputs[0], facts), node.inputs[1]
    rank = None if x is None else rank_of(x, facts)
    if x is None or weight is None or rank is None or rank < len(weight.shape):
        return None
    shape = weight.shape[-2:]

    def matrix(rows: Integers) -> FloatArray:
        return np.asarray(weight.array.reshape(shape)[rows], np.float64)

    return _product(x, weight, Convolution.later(shape, matrix, None, 1, ()))


def _left_gemm(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    weight, x = _matrix(node.inputs[0], facts), node.inputs[1]
    attributes = node.attributes
    if x is None or weight is None or len(weight.shape) != 2 or attributes.get_int("transB", 0) != 0:
        return None
    is_transposed, alpha = attributes.get_int("transA", 0) != 0, attributes.get_float("alpha", 1.0)
    outputs, inputs = weight.shape[::-1] if is_transposed else weight.shape
    shift, beta = node.inputs[2] if len(node.inputs) > 2 else None, attributes.get_float("beta", 1.0)
    bias = None
    if shift is not None and beta != 0.0:
        addend = facts.constant(shift)
        if addend is None or (addend.size != 1 and addend.shape != (outputs, 1)):
            return None
        bias = beta * np.broadcast_to(np.asarray(addend, np.float64).ravel(), (outputs,))

    def matrix(rows: Integers) -> FloatArray:
        return alpha * np.asarray((weight.array.T if is_transposed else weight.array)[rows], np.float64)

    return _product(x, weight, Convolution.later((outputs, inputs), matrix, bias, 1, ()))


def _product(x: ir.Value, weight: Weight, own: Convolution) -> Step:
    return Step((x,), lambda parts, extents: parts[0].then(own, extents), own.work, weight)


LEFT_PRODUCTS: Mapping[str, StepReader] = MappingProxyType({"Gemm": _left_gemm, "MatMul": _left_matmul})
PRODUCTS: Mapping[str, StepReader] = MappingProxyType({"Gemm": _gemm, "MatMul": _matmul})
