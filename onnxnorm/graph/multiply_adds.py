"""Counts the multiply-adds of an operator from the shapes of what it reads and writes.

Counted are convolutions, products of matrices, attention and recurrent networks, of ONNX and of onnxruntime; all other
operators have none. A multiplication with its addition counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["COUNTED", "UNCOUNTED", "multiply_adds"]

# The place of the weight among the operands.
_CONVOLUTIONS = {
    "Conv": 1,
    "ConvInteger": 1,
    "DeformConv": 1,
    "FusedConv": 1,
    "NhwcConv": 1,
    "NhwcFusedConv": 1,
    "QLinearConv": 3,
}
_TRANSPOSED = {"ConvTranspose": 1, "QLinearConvTranspose": 3}
_PRODUCTS = frozenset(
    [
        "DynamicQuantizeMatMul",
        "FusedGemm",
        "FusedMatMul",
        "Gemm",
        "GemmFloat8",
        "MatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QLinearMatMul",
    ]
)
_MAY_TRANSPOSE = frozenset(["FusedGemm", "FusedMatMul", "Gemm", "GemmFloat8", "QGemm"])
_RECURRENT = frozenset(["GRU", "LSTM", "RNN"])

COUNTED = frozenset([*_CONVOLUTIONS, *_TRANSPOSED, *_PRODUCTS, *_RECURRENT, "Attention", "MultiHeadAttention"])
"""The operators whose multiply-adds are counted."""

UNCOUNTED = frozenset(["DFT", "DynamicQuantizeLSTM", "Einsum", "GroupQueryAttention", "QAttention", "STFT"])
"""Operators that multiply and add, and whose shapes alone do not say how often."""

Shape = Sequence[int]


def multiply_adds(op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    """Count the multiply-adds of one run of an operator.

    Args:
        op_type: the operator; whether it is ONNX's or onnxruntime's does not matter.
        inputs, outputs: the shapes.

    Returns:
        0 for operators that have none; None where the shapes do not say it.
    """
    if op_type in UNCOUNTED:
        return None
    if op_type not in COUNTED:
        return 0
    try:
        return _counted(op_type, inputs, outputs)
    except IndexError:  # shapes are missing, or are none that the operator takes
        return None


def _counted(op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    x = inputs[0]
    if op_type in _CONVOLUTIONS:
        return math.prod(outputs[0]) * _of_one_output(inputs[_CONVOLUTIONS[op_type]])
    if op_type in _TRANSPOSED:
        return math.prod(x) * _of_one_output(inputs[_TRANSPOSED[op_type]])
    if op_type in _PRODUCTS:
        return math.prod(outputs[0]) * _summed(op_type, x, outputs[0])
    if op_type in _RECURRENT:
        if len(inputs[1]) != 3 or len(inputs[2]) != 3:
            return None
        return x[0] * x[1] * (math.prod(inputs[1]) + math.prod(inputs[2]))
    return _of_attention(inputs)


def _of_one_output(weight: Shape) -> int:
    if len(weight) < 2:
        raise IndexError
    return math.prod(weight[1:])


def _summed(op_type: str, a: Shape, y: Shape) -> int:
    """Return over how many products each element of the result is a sum."""
    if op_type in _MAY_TRANSPOSE and a[-2] != y[-2]:
        return a[-2]
    return a[-1]


def _of_attention(inputs: Sequence[Shape]) -> int | None:
    """Count the products of queries with keys and of weights with values.

    Attention of onnxruntime, whose second operand is a weight, projects its input first.
    """
    q, k = inputs[0], inputs[1]
    if len(q) == len(k) + 1 == 3:
        batch, length, width = q
        return batch * length * width * k[1] + 2 * batch * length * length * (k[1] // 3)
    v = inputs[2]
    if not len(q) == len(k) == len(v) or len(q) not in (3, 4):
        return None
    # Groups of queries share keys and values where these have fewer heads.
    heads = q[1] if len(q) == 4 else 1
    if len(q) == 3 and q[2] != k[2]:
        return None
    pairs = q[0] * heads * q[-2] * k[-2]
    return pairs * (q[-1] + v[-1])
