"""Pairs for linear operators and for normalizations by statistics of their input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from testing.builder import Builder
from tests.affine.pairs import MIXED, POSITIVE, SHIFT, folds, linear, scalar, stays


@folds("Conv")
def _(b: Builder) -> str:
    x = b.conv(b.affine(b.input((2, 4, 5)), MIXED, SHIFT), 4, 4, (2,), group=2, bias=False)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("Conv that pads after a shift")
def _(b: Builder) -> str:
    return b.node("Sigmoid", b.conv(b.affine(b.input((2, 4, 5)), MIXED, SHIFT), 4, 3, (3,), pads=[1, 1]))


@folds("Conv that pads after a scale")
def _(b: Builder) -> str:
    return b.node("Sigmoid", b.conv(b.affine(b.input((2, 4, 5)), MIXED), 4, 3, (3,), auto_pad="SAME_UPPER"))


@stays("Conv of a weight that is an input")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED)
    return b.node("Sigmoid", b.node("Conv", x, b.input((3, 4, 1), name="w")))


SIX = ((0.5, -2.0, 1.5, -0.25, 1.1, 0.7), (0.3, 1.0, -2.0, 0.1, 0.2, 0.4))


def deformed(b: Builder, x: str, *, mask: bool = True) -> str:
    """A deformable 3x3 convolution of 4 channels in 2 groups, its offsets and mask computed from the input as well."""
    source = b.input((2, 4, 5, 6)) if x == "x" else "x"
    offsets = b.conv(source, 4, 2 * 9, (3, 3), pads=[1] * 4)
    inputs = [x, b.constant(b.normal(6, 2, 3, 3)), offsets, b.constant(b.normal(6)) if mask else ""]
    inputs += [b.node("Sigmoid", b.conv(source, 4, 9, (3, 3), pads=[1] * 4))] if mask else []
    return b.node("DeformConv", *inputs, group=2, pads=[1] * 4, kernel_shape=[3, 3])


@folds("DeformConv with a norm behind", opset=19, ir_version=9)
def _(b: Builder) -> str:
    return b.node("Sigmoid", b.affine(deformed(b, "x"), *SIX))


@folds("DeformConv with a norm behind, no bias and no mask", opset=19, ir_version=9)
def _(b: Builder) -> str:
    return b.node("Sigmoid", b.affine(deformed(b, "x", mask=False), *SIX))


@folds("DeformConv with a scale before", opset=19, ir_version=9)
def _(b: Builder) -> str:
    return b.node("Sigmoid", deformed(b, b.affine(b.input((2, 4, 5, 6)), MIXED)))


@stays("DeformConv with a shift before", opset=19, ir_version=9)
def _(b: Builder) -> str:
    return b.node("Sigmoid", deformed(b, b.affine(b.input((2, 4, 5, 6)), (1.0,) * 4, SHIFT)))


@folds("ConvTranspose in groups")
def _(b: Builder) -> str:
    weight = b.constant(b.normal(4, 2, 3))
    x = b.node("ConvTranspose", b.affine(b.input((2, 4, 5)), MIXED), weight, group=2, strides=[2])
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("ConvTranspose whose windows overlap")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return b.node("Sigmoid", b.node("ConvTranspose", x, b.constant(b.normal(4, 2, 3)), strides=[2]))


@folds("Gemm")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4)), MIXED, SHIFT)
    x = b.node("Gemm", x, b.constant(b.normal(4, 4)), b.constant(b.normal(2, 1)), alpha=0.5, beta=-2.0, transB=1)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("Gemm of the transposed value")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4)), MIXED, SHIFT)
    return b.node("Sigmoid", b.node("Gemm", x, b.constant(b.normal(2, 3)), transA=1))


@folds("MatMul from the left")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4)), MIXED, SHIFT)
    x = b.node("MatMul", b.constant(b.normal(3, 4)), b.node("Transpose", x))
    return linear(b, b.node("Transpose", x), 3, 2)


@folds("MatMul of rank 3")
def _(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@stays("MatMul of rank 3 and a norm along time")
def _(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 4, 3)), b.constant(b.normal(3, 4)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("MatMul of two values")
def _(b: Builder) -> str:
    q = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    k = b.node("MatMul", b.input((2, 5, 3), name="z"), b.constant(b.normal(3, 4)))
    scores = b.node("MatMul", q, b.node("Transpose", k, perm=[0, 2, 1]))
    return b.node("Softmax", b.node("Mul", scores, scalar(b, 0.5)))


@stays("MatMul of two inputs")
def _(b: Builder) -> str:
    scores = b.node("MatMul", b.input((2, 5, 3)), b.input((2, 3, 5), name="z"))
    return b.node("Softmax", b.node("Mul", scores, scalar(b, 0.5)))


@folds("MatMul by a batch of matrices")
def _(b: Builder) -> str:
    x = b.node("MatMul", b.node("Mul", b.input((2, 5, 4)), b.constant(np.array(MIXED))), b.constant(b.normal(2, 4, 3)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(b.normal(3))))


@stays("MatMul by a batch of matrices")
def _(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 4, 5)), b.constant(b.normal(2, 5, 3)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("Gemm with a constant first factor")
def _(b: Builder) -> str:
    x = b.node("Gemm", b.constant(b.normal(4, 2)), b.input((2, 3)), b.constant(b.normal(4, 1)))
    x = b.node("Mul", x, b.constant(np.array(MIXED).reshape(4, 1)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT).reshape(4, 1))))


@stays("Gemm with a constant first factor")
def _(b: Builder) -> str:
    x = b.node("Gemm", b.constant(b.normal(3, 2)), b.input((2, 4)), b.constant(b.normal(3, 1)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@folds("Gemm that adds a value")
def _(b: Builder) -> str:
    added = b.node("MatMul", b.input((2, 3), name="z"), b.constant(b.normal(3, 4)))
    x = b.node("Gemm", b.input((2, 3)), b.constant(b.normal(3, 4)), added, beta=0.5)
    return b.node("Sigmoid", b.affine(x, MIXED))


@stays("Gemm that adds an input")
def _(b: Builder) -> str:
    x = b.node("Gemm", b.input((2, 3)), b.constant(b.normal(3, 4)), b.input((2, 4), name="z"))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("Einsum")
def _(b: Builder) -> str:
    x = b.node("Mul", b.input((2, 5, 4)), b.constant(np.array(MIXED)))
    x = b.node("Einsum", x, b.constant(b.normal(4, 4)), equation="bij,jk->bki")
    return b.node("Sigmoid", b.affine(x, MIXED))


@stays("Einsum")
def _(b: Builder) -> str:
    x = b.node("Einsum", b.input((2, 4, 5)), b.constant(b.normal(5, 3)), equation="bij,jk->bik")
    return b.node("Sigmoid", b.affine(x, MIXED))


@folds("DequantizeLinear of a weight", tolerance=1e-6, dtype=np.float32)
def _(b: Builder) -> str:
    weight = b.constant(b.random.integers(-127, 128, (4, 3, 2)).astype(np.int8))
    scales = b.constant(b.random.uniform(0.01, 0.02, 4))
    weight = b.node("DequantizeLinear", weight, scales, axis=0)
    x = b.node("Conv", b.input((2, 3, 5)), weight, b.constant(b.normal(4)))
    return b.node("Sigmoid", b.affine(x, POSITIVE, SHIFT))


QUANTIZED: dict[str, Any] = {"tolerance": 1e-6, "dtype": np.float32, "opset": 21, "ir_version": 10}
NEGATIVE = -np.abs(MIXED)
ZERO = (0.5, 0.0, -1.5, 0.0)


def _quantized(
    b: Builder, operator: str, integers: np.ndarray, scale: Sequence[float], *, dtype: Any = np.int8,
    points: Sequence[int] | int | None = None, one_scale: bool = False,
) -> str:  # fmt: skip
    """A linear operator whose weight has 4 output channels, the integers of each in one row, and a norm behind it."""
    axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1}[operator]
    channels = {"Conv": (4, -1, 1), "ConvTranspose": (4, -1, 1), "MatMul": (4, -1), "Gemm": (4, -1)}[operator]
    weight = np.asarray(integers).reshape(channels)
    weight = weight if axis == 0 else np.swapaxes(weight, 0, 1)
    scales = np.array(0.015) if one_scale else b.random.uniform(0.01, 0.02, 4)
    zero = [] if points is None else [b.constant(np.array(points).astype(dtype))]
    where = {"axis": axis} if scales.ndim else {}
    made = b.node("DequantizeLinear", b.constant(weight, dtype=dtype), b.constant(scales), *zero, **where)
    width = weight.size // 4
    x = b.node(operator, b.input((2, width) if operator in ("MatMul", "Gemm") else (2, width, 5)), made)
    if operator == "MatMul":
        return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(scale))))
    return b.node("Sigmoid", b.affine(x, scale, SHIFT))


def _rows(b: Builder, least: int, most: int, width: int = 6) -> np.ndarray:
    """Four rows of integers that each reach from the least to the most."""
    rows = b.random.integers(least, most + 1, (4, width))
    rows[:, 0], rows[:, 1] = least, most
    return rows


for _operator in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
    for _one_scale in (False, True):

        @folds(f"DequantizeLinear of symmetric weights of {_operator}, one scale {_one_scale}", **QUANTIZED)
        def _(b: Builder, operator: str = _operator, one_scale: bool = _one_scale) -> str:
            return _quantized(b, operator, _rows(b, -127, 127), MIXED, one_scale=one_scale)


@folds("DequantizeLinear of symmetric weights and scales of zero", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -127, 127), ZERO, points=0, one_scale=True)


@folds("DequantizeLinear of weights with -128 where the scale is positive", **QUANTIZED)
def _(b: Builder) -> str:
    rows = _rows(b, -127, 127)
    rows[np.array(MIXED) > 0, 0] = -128
    return _quantized(b, "Conv", rows, MIXED)


@stays("DequantizeLinear of weights with -128", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -128, 127), NEGATIVE)


@folds("DequantizeLinear of int4", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -7, 7), MIXED, dtype=ml_dtypes.int4)


@stays("DequantizeLinear of int4 with -8", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -8, 7), MIXED, dtype=ml_dtypes.int4)


@folds("DequantizeLinear of float8", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -8, 8), MIXED, dtype=ml_dtypes.float8_e4m3fn)


@folds("DequantizeLinear of weights about a zero point", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, 1, 255), MIXED, dtype=np.uint8, points=128, one_scale=True)


@folds("DequantizeLinear of unsigned weights with 0, all mirrored", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, 0, 255), NEGATIVE, dtype=np.uint8, points=100, one_scale=True)


@stays("DequantizeLinear of unsigned weights with 0, some mirrored", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, 0, 255), MIXED, dtype=np.uint8, points=128, one_scale=True)


@folds("DequantizeLinear of weights about a zero point of each channel", **QUANTIZED)
def _(b: Builder) -> str:
    return _quantized(b, "ConvTranspose", _rows(b, 0, 255), MIXED, dtype=np.uint8, points=(3, 90, 200, 255))


def _blocks(b: Builder, factor: np.ndarray) -> str:
    """A product by a matrix of 4 rows and 6 columns in blocks of two rows, and a Mul before it."""
    weight, scales = b.random.integers(-7, 8, (4, 6)), b.random.uniform(0.01, 0.02, (2, 6))
    made = b.node(
        "DequantizeLinear", b.constant(weight, dtype=ml_dtypes.int4), b.constant(scales), block_size=2, axis=0
    )
    return b.node("Sigmoid", b.node("MatMul", b.node("Mul", b.input((2, 4)), b.constant(factor)), made))


@folds("DequantizeLinear in blocks", **QUANTIZED)
def _(b: Builder) -> str:
    return _blocks(b, np.array((-2.0, -2.0, 0.5, 0.5)))


@stays("DequantizeLinear in blocks across which the scale varies", **QUANTIZED)
def _(b: Builder) -> str:
    return _blocks(b, np.array((-2.0, 2.0, 0.5, 0.5)))


@folds("DequantizeLinear of a weight behind a shift", left=0, **QUANTIZED)
def _(b: Builder) -> str:
    weight = b.constant(b.random.integers(-127, 128, (4, 4, 2)), dtype=np.int8)
    made = b.node("DequantizeLinear", weight, b.constant(b.random.uniform(0.01, 0.02, 4)), axis=0)
    x = b.affine(b.input((2, 4, 5)), (1.0,) * 4, SHIFT)
    return b.node("Sigmoid", b.node("Conv", x, made))


@folds("DequantizeLinear of the parameters of a norm", **QUANTIZED)
def _(b: Builder) -> str:
    scale, zeros, ones = (b.constant(np.array(a)) for a in (0.25, np.zeros(4), np.ones(4)))
    gamma, beta = (
        b.node("DequantizeLinear", b.constant(b.random.integers(1, 9, 4), dtype=np.int8), scale) for _ in "gb"
    )
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    return b.node("Sigmoid", b.node("BatchNormalization", x, gamma, beta, zeros, ones))


@stays("DequantizeLinear of a value")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    step, zero = b.constant(np.array(0.05), dtype=np.float32), b.constant(np.array(3, np.int8))
    x = b.node("Cast", x, to=TensorProto.FLOAT)
    x = b.node("DequantizeLinear", b.node("QuantizeLinear", x, step, zero), step, zero)
    return linear(b, b.node("Cast", x, to=TensorProto.DOUBLE), 4, 3)


def _recurrent(b: Builder, x: str, operator: str, size: int) -> str:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    inputs = [b.constant(b.normal(1, gates * 2, width)) for width in (size, 2)]
    inputs.append(b.constant(b.normal(1, 2 * gates * 2)))
    y = b.fresh()
    b.node(operator, x, *inputs, hidden_size=2, out=y)
    return b.node("Sigmoid", y)


@folds("LSTM")
def _(b: Builder) -> str:
    x = b.node("Add", b.node("Mul", b.input((5, 2, 4)), b.constant(np.array(MIXED))), b.constant(np.array(SHIFT)))
    return _recurrent(b, x, "LSTM", 4)


@stays("LSTM along time")
def _(b: Builder) -> str:
    return _recurrent(b, b.node("Mul", b.input((4, 2, 3)), b.constant(np.array(MIXED).reshape(4, 1, 1))), "LSTM", 3)


@folds("GRU")
def _(b: Builder) -> str:
    x = b.node("Add", b.node("Mul", b.input((5, 2, 4)), b.constant(np.array(MIXED))), b.constant(np.array(SHIFT)))
    return _recurrent(b, x, "GRU", 4)


@stays("GRU along the batch")
def _(b: Builder) -> str:
    x = b.node("Mul", b.input((5, 4, 3)), b.constant(np.array(MIXED).reshape(4, 1)))
    return _recurrent(b, x, "GRU", 3)


@folds("RNN")
def _(b: Builder) -> str:
    return _recurrent(b, b.node("Mul", b.input((5, 2, 4)), b.constant(np.array(MIXED))), "RNN", 4)


@stays("RNN")
def _(b: Builder) -> str:
    return _recurrent(b, b.node("Mul", b.input((5, 4, 3)), b.constant(np.array(MIXED).reshape(4, 1))), "RNN", 3)


@folds("InstanceNormalization")
def _(b: Builder) -> str:
    x = b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1)))
    x = b.node("InstanceNormalization", x, b.constant(b.normal(4)), b.constant(b.normal(4)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("InstanceNormalization")
def _(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return b.node("InstanceNormalization", x, b.constant(b.normal(4)), b.constant(b.normal(4)))


@folds("GroupNormalization", opset=21, ir_version=10)
def _(b: Builder) -> str:
    x = b.node("GroupNormalization", b.input((2, 4, 5)), b.constant(b.normal(4)), b.constant(b.normal(4)), num_groups=2)
    return b.node("Sigmoid", b.affine(b.told(x, (2, 4, 5)), MIXED, SHIFT))


@stays("GroupNormalization", check=False)
def _(b: Builder) -> str:
    x = b.node("GroupNormalization", b.input((2, 4, 5)), b.constant(b.normal(2)), b.constant(b.normal(2)), num_groups=2)
    return b.node("Sigmoid", b.affine(b.told(x, (2, 4, 5)), MIXED, SHIFT))


@folds("LayerNormalization")
def _(b: Builder) -> str:
    x = b.node("LayerNormalization", b.input((2, 5, 4)), b.constant(b.normal(4)))
    x = b.node("Mul", x, b.constant(np.array(MIXED)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT))))


@stays("LayerNormalization and a norm along another axis")
def _(b: Builder) -> str:
    x = b.node("LayerNormalization", b.input((2, 4, 5)), b.constant(b.normal(5)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("RMSNormalization", opset=23, ir_version=11)
def _(b: Builder) -> str:
    x = b.node("RMSNormalization", b.input((2, 5, 4)), b.constant(b.normal(4)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@stays("RMSNormalization", opset=23, ir_version=11)
def _(b: Builder) -> str:
    x = b.node("RMSNormalization", b.input((2, 5, 4)), b.constant(b.normal(4)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT))))


@folds("Softmax")
def _(b: Builder) -> str:
    return b.node("Softmax", b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1))))


@stays("Softmax")
def _(b: Builder) -> str:
    return b.node("Softmax", b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1))), axis=1)


@folds("LogSoftmax")
def _(b: Builder) -> str:
    return b.node("LogSoftmax", b.node("Sub", b.input((2, 4)), scalar(b, 0.7)), axis=1)


@stays("LogSoftmax")
def _(b: Builder) -> str:
    return b.node("LogSoftmax", b.node("Mul", b.input((2, 4)), scalar(b, 0.7)), axis=1)


@folds("LpNormalization along space")
def _(b: Builder) -> str:
    return b.node("LpNormalization", b.affine(b.input((2, 4, 5)), POSITIVE), axis=2)


@stays("LpNormalization of the channels")
def _(b: Builder) -> str:
    return b.node("LpNormalization", b.affine(b.input((2, 4, 5)), POSITIVE), axis=1)


@folds("MeanVarianceNormalization", tolerance=1e-5, dtype=np.float32, opset=9)
def _(b: Builder) -> str:
    x = b.node("Add", b.input((2, 4, 5, 3)), b.constant(np.array(SHIFT).reshape(4, 1, 1)))
    return b.told(b.node("MeanVarianceNormalization", x), (2, 4, 5, 3))


@stays("MeanVarianceNormalization of what varies in space", dtype=np.float32, opset=9)
def _(b: Builder) -> str:
    x = b.node("Add", b.input((2, 3, 5, 4)), b.constant(np.array(SHIFT)))
    return b.told(b.node("MeanVarianceNormalization", x), (2, 3, 5, 4))
