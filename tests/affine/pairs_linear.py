"""Pairs for linear operators and for normalizations by statistics of their input."""

from __future__ import annotations

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


def _quantized(b: Builder, operator: str, least: int, *, dtype: str = "int8", point: int | None = None) -> str:
    """A convolution by quantized weights, of channels whose first integer is `least`, and a norm of mixed signs."""
    transposed, per_channel = operator == "ConvTranspose", point is None
    integers = np.abs(b.random.integers(least + 1, -least, (3, 4, 2) if transposed else (4, 3, 2)))
    integers.flat[0] = least
    zero = [] if point is None else [b.constant(np.array(point, dtype))]
    integers = (integers + (point or 0)).astype(dtype)
    scales = b.constant(b.random.uniform(0.01, 0.02, 4) if per_channel else np.array(0.015))
    axis = {"axis": 1 if transposed else 0} if per_channel else {}
    weight = b.node("DequantizeLinear", b.constant(integers), scales, *zero, **axis)
    x = b.node(operator, b.input((2, 3, 5)), weight, b.constant(b.normal(4)))
    return b.node("Sigmoid", b.affine(x, -np.abs(MIXED), SHIFT))


@folds("DequantizeLinear of symmetric weights", tolerance=1e-6, dtype=np.float32)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", -127)


@folds("DequantizeLinear of weights about a zero point", tolerance=1e-6, dtype=np.float32)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", -127, dtype="uint8", point=128)


@folds("DequantizeLinear of transposed weights", tolerance=1e-6, dtype=np.float32)
def _(b: Builder) -> str:
    return _quantized(b, "ConvTranspose", -127)


@stays("DequantizeLinear of weights with -128", tolerance=1e-6, dtype=np.float32)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", -128)


@stays("DequantizeLinear of unsigned weights with 0", tolerance=1e-6, dtype=np.float32)
def _(b: Builder) -> str:
    return _quantized(b, "Conv", -128, dtype="uint8", point=128)


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
