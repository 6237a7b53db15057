"""MatMul and Gemm by a constant matrix as linear maps of the last axis."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from onnxnorm._facts import Facts
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.step import FLOATS, Family, Step, StepReader, rank_of

__all__ = ["PRODUCTS"]


def _matrix(value: ir.Value | None, facts: Facts) -> tuple[np.ndarray, ir.DataType] | None:
    """A constant matrix; axes of extent one before it are left out."""
    array = facts.constant(value)
    if value is None or array is None or array.ndim < 2 or array.size != array.shape[-1] * array.shape[-2]:
        return None
    dtype = value.dtype or ir.DataType.from_numpy(array.dtype)
    if dtype not in FLOATS or not np.isfinite(array).all():
        return None
    return array.reshape(array.shape[-2:]), dtype


def _matmul(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, found, weight = node.inputs[0], _matrix(node.inputs[1], facts), facts.constant(node.inputs[1])
    if x is None or found is None or weight is None:
        return None
    rank = rank_of(x, facts)
    if rank is None or rank < weight.ndim:
        return None
    matrix, dtype = found
    own = Convolution.of(matrix.T, None, 1, ())
    return _product(x, own, dtype)


def _gemm(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, found = node.inputs[0], _matrix(node.inputs[1], facts)
    attributes = node.attributes
    if x is None or found is None or attributes.get_int("transA", 0) != 0:
        return None
    matrix = np.asarray(found[0], np.float64)
    if attributes.get_int("transB", 0) == 0:
        matrix = matrix.T
    shift, beta = node.inputs[2] if len(node.inputs) > 2 else None, attributes.get_float("beta", 1.0)
    bias = None
    if shift is not None and beta != 0.0:
        addend = facts.constant(shift)
        if addend is None or addend.size not in (1, len(matrix)) or (addend.ndim and addend.shape[-1] != addend.size):
            return None
        bias = beta * np.broadcast_to(np.asarray(addend, np.float64).ravel(), (len(matrix),))
    own = Convolution.of(attributes.get_float("alpha", 1.0) * matrix, bias, 1, ())
    return _product(x, own, found[1])


def _product(x: ir.Value, own: Convolution, dtype: ir.DataType) -> Step:
    return Step((x,), lambda parts, extents: parts[0].then(own, extents), own.work, own.size, dtype=dtype)


PRODUCTS: Mapping[str, StepReader] = MappingProxyType({"Gemm": _gemm, "MatMul": _matmul})
