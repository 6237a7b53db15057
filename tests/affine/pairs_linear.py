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
def conv_folds(b: Builder) -> str:
    x = b.conv(b.affine(b.input((2, 4, 5)), MIXED, SHIFT), 4, 4, (2,), group=2, bias=False)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("Conv that pads after a shift")
def conv_that_pads_after_a_shift_stays(b: Builder) -> str:
    return b.node("Sigmoid", b.conv(b.affine(b.input((2, 4, 5)), MIXED, SHIFT), 4, 3, (3,), pads=[1, 1]))


@folds("Conv that pads after a scale")
def conv_that_pads_after_a_scale_folds(b: Builder) -> str:
    return b.node("Sigmoid", b.conv(b.affine(b.input((2, 4, 5)), MIXED), 4, 3, (3,), auto_pad="SAME_UPPER"))


@stays("Conv of a weight that is an input")
def conv_of_a_weight_that_is_an_input_stays(b: Builder) -> str:
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
def deform_conv_with_a_norm_behind_folds(b: Builder) -> str:
    return b.node("Sigmoid", b.affine(deformed(b, "x"), *SIX))


@folds("DeformConv with a norm behind, no bias and no mask", opset=19, ir_version=9)
def deform_conv_with_a_norm_behind_no_bias_and_no_mask_folds(b: Builder) -> str:
    return b.node("Sigmoid", b.affine(deformed(b, "x", mask=False), *SIX))


@folds("DeformConv with a scale before", opset=19, ir_version=9)
def deform_conv_with_a_scale_before_folds(b: Builder) -> str:
    return b.node("Sigmoid", deformed(b, b.affine(b.input((2, 4, 5, 6)), MIXED)))


@stays("DeformConv with a shift before", opset=19, ir_version=9)
def deform_conv_with_a_shift_before_stays(b: Builder) -> str:
    return b.node("Sigmoid", deformed(b, b.affine(b.input((2, 4, 5, 6)), (1.0,) * 4, SHIFT)))


@folds("ConvTranspose in groups")
def conv_transpose_in_groups_folds(b: Builder) -> str:
    weight = b.constant(b.normal(4, 2, 3))
    x = b.node("ConvTranspose", b.affine(b.input((2, 4, 5)), MIXED), weight, group=2, strides=[2])
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("ConvTranspose whose windows overlap")
def conv_transpose_whose_windows_overlap_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return b.node("Sigmoid", b.node("ConvTranspose", x, b.constant(b.normal(4, 2, 3)), strides=[2]))


@folds("Gemm")
def gemm_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4)), MIXED, SHIFT)
    x = b.node("Gemm", x, b.constant(b.normal(4, 4)), b.constant(b.normal(2, 1)), alpha=0.5, beta=-2.0, transB=1)
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("Gemm of the transposed value")
def gemm_of_the_transposed_value_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4)), MIXED, SHIFT)
    return b.node("Sigmoid", b.node("Gemm", x, b.constant(b.normal(2, 3)), transA=1))


@folds("MatMul from the left")
def mat_mul_from_the_left_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4)), MIXED, SHIFT)
    x = b.node("MatMul", b.constant(b.normal(3, 4)), b.node("Transpose", x))
    return linear(b, b.node("Transpose", x), 3, 2)


@folds("MatMul of rank 3")
def mat_mul_of_rank_3_folds(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@stays("MatMul of rank 3 and a norm along time")
def mat_mul_of_rank_3_and_a_norm_along_time_stays(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 4, 3)), b.constant(b.normal(3, 4)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("MatMul of two values")
def mat_mul_of_two_values_folds(b: Builder) -> str:
    q = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    k = b.node("MatMul", b.input((2, 5, 3), name="z"), b.constant(b.normal(3, 4)))
    scores = b.node("MatMul", q, b.node("Transpose", k, perm=[0, 2, 1]))
    return b.node("Softmax", b.node("Mul", scores, scalar(b, 0.5)))


@stays("MatMul of two inputs")
def mat_mul_of_two_inputs_stays(b: Builder) -> str:
    scores = b.node("MatMul", b.input((2, 5, 3)), b.input((2, 3, 5), name="z"))
    return b.node("Softmax", b.node("Mul", scores, scalar(b, 0.5)))


@folds("MatMul by a batch of matrices")
def mat_mul_by_a_batch_of_matrices_folds(b: Builder) -> str:
    x = b.node("MatMul", b.node("Mul", b.input((2, 5, 4)), b.constant(np.array(MIXED))), b.constant(b.normal(2, 4, 3)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(b.normal(3))))


@stays("MatMul by a batch of matrices")
def mat_mul_by_a_batch_of_matrices_stays(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 4, 5)), b.constant(b.normal(2, 5, 3)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("Gemm with a constant first factor")
def gemm_with_a_constant_first_factor_folds(b: Builder) -> str:
    x = b.node("Gemm", b.constant(b.normal(4, 2)), b.input((2, 3)), b.constant(b.normal(4, 1)))
    x = b.node("Mul", x, b.constant(np.array(MIXED).reshape(4, 1)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT).reshape(4, 1))))


@stays("Gemm with a constant first factor")
def gemm_with_a_constant_first_factor_stays(b: Builder) -> str:
    x = b.node("Gemm", b.constant(b.normal(3, 2)), b.input((2, 4)), b.constant(b.normal(3, 1)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@folds("Gemm that adds a value")
def gemm_that_adds_a_value_folds(b: Builder) -> str:
    added = b.node("MatMul", b.input((2, 3), name="z"), b.constant(b.normal(3, 4)))
    x = b.node("Gemm", b.input((2, 3)), b.constant(b.normal(3, 4)), added, beta=0.5)
    return b.node("Sigmoid", b.affine(x, MIXED))


@stays("Gemm that adds an input")
def gemm_that_adds_an_input_stays(b: Builder) -> str:
    x = b.node("Gemm", b.input((2, 3)), b.constant(b.normal(3, 4)), b.input((2, 4), name="z"))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("Einsum")
def einsum_folds(b: Builder) -> str:
    x = b.node("Mul", b.input((2, 5, 4)), b.constant(np.array(MIXED)))
    x = b.node("Einsum", x, b.constant(b.normal(4, 4)), equation="bij,jk->bki")
    return b.node("Sigmoid", b.affine(x, MIXED))


@stays("Einsum")
def einsum_stays(b: Builder) -> str:
    x = b.node("Einsum", b.input((2, 4, 5)), b.constant(b.normal(5, 3)), equation="bij,jk->bik")
    return b.node("Sigmoid", b.affine(x, MIXED))


@folds("DequantizeLinear of a weight", tolerance=1e-6, dtype=np.float32)
def dequantize_linear_of_a_weight_folds(b: Builder) -> str:
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
        def symmetric_quantized_weights_fold(
            b: Builder, operator: str = _operator, one_scale: bool = _one_scale
        ) -> str:
            return _quantized(b, operator, _rows(b, -127, 127), MIXED, one_scale=one_scale)


@folds("DequantizeLinear of symmetric weights and scales of zero", **QUANTIZED)
def dequantize_linear_of_symmetric_weights_and_scales_of_zero_folds(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -127, 127), ZERO, points=0, one_scale=True)


@folds("DequantizeLinear of weights with -128 where the scale is positive", **QUANTIZED)
def dequantize_linear_of_weights_with_128_where_the_scale_is_positive_folds(b: Builder) -> str:
    rows = _rows(b, -127, 127)
    rows[np.array(MIXED) > 0, 0] = -128
    return _quantized(b, "Conv", rows, MIXED)


@stays("DequantizeLinear of weights with -128", **QUANTIZED)
def dequantize_linear_of_weights_with_128_stays(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -128, 127), NEGATIVE)


@folds("DequantizeLinear of int4", **QUANTIZED)
def dequantize_linear_of_int4_folds(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -7, 7), MIXED, dtype=ml_dtypes.int4)


@stays("DequantizeLinear of int4 with -8", **QUANTIZED)
def dequantize_linear_of_int4_with_8_stays(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -8, 7), MIXED, dtype=ml_dtypes.int4)


@folds("DequantizeLinear of float8", **QUANTIZED)
def dequantize_linear_of_float8_folds(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, -8, 8), MIXED, dtype=ml_dtypes.float8_e4m3fn)


@folds("DequantizeLinear of weights about a zero point", **QUANTIZED)
def dequantize_linear_of_weights_about_a_zero_point_folds(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, 1, 255), MIXED, dtype=np.uint8, points=128, one_scale=True)


@folds("DequantizeLinear of unsigned weights with 0, all mirrored", **QUANTIZED)
def dequantize_linear_of_unsigned_weights_with_0_all_mirrored_folds(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, 0, 255), NEGATIVE, dtype=np.uint8, points=100, one_scale=True)


@stays("DequantizeLinear of unsigned weights with 0, some mirrored", **QUANTIZED)
def dequantize_linear_of_unsigned_weights_with_0_some_mirrored_stays(b: Builder) -> str:
    return _quantized(b, "Conv", _rows(b, 0, 255), MIXED, dtype=np.uint8, points=128, one_scale=True)


@folds("DequantizeLinear of weights about a zero point of each channel", **QUANTIZED)
def dequantize_linear_of_weights_about_a_zero_point_of_each_channel_folds(b: Builder) -> str:
    return _quantized(b, "ConvTranspose", _rows(b, 0, 255), MIXED, dtype=np.uint8, points=(3, 90, 200, 255))


def _blocks(b: Builder, factor: np.ndarray) -> str:
    """A product by a matrix of 4 rows and 6 columns in blocks of two rows, and a Mul before it."""
    weight, scales = b.random.integers(-7, 8, (4, 6)), b.random.uniform(0.01, 0.02, (2, 6))
    made = b.node(
        "DequantizeLinear", b.constant(weight, dtype=ml_dtypes.int4), b.constant(scales), block_size=2, axis=0
    )
    return b.node("Sigmoid", b.node("MatMul", b.node("Mul", b.input((2, 4)), b.constant(factor)), made))


@folds("DequantizeLinear in blocks", **QUANTIZED)
def dequantize_linear_in_blocks_folds(b: Builder) -> str:
    return _blocks(b, np.array((-2.0, -2.0, 0.5, 0.5)))


@stays("DequantizeLinear in blocks across which the scale varies", **QUANTIZED)
def dequantize_linear_in_blocks_across_which_the_scale_varies_stays(b: Builder) -> str:
    return _blocks(b, np.array((-2.0, 2.0, 0.5, 0.5)))


@folds("DequantizeLinear of a weight behind a shift", left=0, **QUANTIZED)
def dequantize_linear_of_a_weight_behind_a_shift_folds(b: Builder) -> str:
    weight = b.constant(b.random.integers(-127, 128, (4, 4, 2)), dtype=np.int8)
    made = b.node("DequantizeLinear", weight, b.constant(b.random.uniform(0.01, 0.02, 4)), axis=0)
    x = b.affine(b.input((2, 4, 5)), (1.0,) * 4, SHIFT)
    return b.node("Sigmoid", b.node("Conv", x, made))


@folds("DequantizeLinear of the parameters of a norm", **QUANTIZED)
def dequantize_linear_of_the_parameters_of_a_norm_folds(b: Builder) -> str:
    scale, zeros, ones = (b.constant(np.array(a)) for a in (0.25, np.zeros(4), np.ones(4)))
    gamma, beta = (
        b.node("DequantizeLinear", b.constant(b.random.integers(1, 9, 4), dtype=np.int8), scale) for _ in "gb"
    )
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    return b.node("Sigmoid", b.node("BatchNormalization", x, gamma, beta, zeros, ones))


@stays("DequantizeLinear of a value")
def dequantize_linear_of_a_value_stays(b: Builder) -> str:
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
def lstm_folds(b: Builder) -> str:
    x = b.node("Add", b.node("Mul", b.input((5, 2, 4)), b.constant(np.array(MIXED))), b.constant(np.array(SHIFT)))
    return _recurrent(b, x, "LSTM", 4)


@stays("LSTM along time")
def lstm_along_time_stays(b: Builder) -> str:
    return _recurrent(b, b.node("Mul", b.input((4, 2, 3)), b.constant(np.array(MIXED).reshape(4, 1, 1))), "LSTM", 3)


@folds("GRU")
def gru_folds(b: Builder) -> str:
    x = b.node("Add", b.node("Mul", b.input((5, 2, 4)), b.constant(np.array(MIXED))), b.constant(np.array(SHIFT)))
    return _recurrent(b, x, "GRU", 4)


@stays("GRU along the batch")
def gru_along_the_batch_stays(b: Builder) -> str:
    x = b.node("Mul", b.input((5, 4, 3)), b.constant(np.array(MIXED).reshape(4, 1)))
    return _recurrent(b, x, "GRU", 3)


@folds("RNN")
def rnn_folds(b: Builder) -> str:
    return _recurrent(b, b.node("Mul", b.input((5, 2, 4)), b.constant(np.array(MIXED))), "RNN", 4)


@stays("RNN")
def rnn_stays(b: Builder) -> str:
    return _recurrent(b, b.node("Mul", b.input((5, 4, 3)), b.constant(np.array(MIXED).reshape(4, 1))), "RNN", 3)


@folds("InstanceNormalization")
def instance_normalization_folds(b: Builder) -> str:
    x = b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1)))
    x = b.node("InstanceNormalization", x, b.constant(b.normal(4)), b.constant(b.normal(4)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@stays("InstanceNormalization")
def instance_normalization_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return b.node("InstanceNormalization", x, b.constant(b.normal(4)), b.constant(b.normal(4)))


@folds("GroupNormalization", opset=21, ir_version=10)
def group_normalization_folds(b: Builder) -> str:
    x = b.node("GroupNormalization", b.input((2, 4, 5)), b.constant(b.normal(4)), b.constant(b.normal(4)), num_groups=2)
    return b.node("Sigmoid", b.affine(b.told(x, (2, 4, 5)), MIXED, SHIFT))


@stays("GroupNormalization", check=False)
def group_normalization_stays(b: Builder) -> str:
    x = b.node("GroupNormalization", b.input((2, 4, 5)), b.constant(b.normal(2)), b.constant(b.normal(2)), num_groups=2)
    return b.node("Sigmoid", b.affine(b.told(x, (2, 4, 5)), MIXED, SHIFT))


@folds("LayerNormalization")
def layer_normalization_folds(b: Builder) -> str:
    x = b.node("LayerNormalization", b.input((2, 5, 4)), b.constant(b.normal(4)))
    x = b.node("Mul", x, b.constant(np.array(MIXED)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT))))


@stays("LayerNormalization and a norm along another axis")
def layer_normalization_and_a_norm_along_another_axis_stays(b: Builder) -> str:
    x = b.node("LayerNormalization", b.input((2, 4, 5)), b.constant(b.normal(5)))
    return b.node("Sigmoid", b.affine(x, MIXED, SHIFT))


@folds("RMSNormalization", opset=23, ir_version=11)
def rmsnormalization_folds(b: Builder) -> str:
    x = b.node("RMSNormalization", b.input((2, 5, 4)), b.constant(b.normal(4)))
    return b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED))))


@stays("RMSNormalization", opset=23, ir_version=11)
def rmsnormalization_stays(b: Builder) -> str:
    x = b.node("RMSNormalization", b.input((2, 5, 4)), b.constant(b.normal(4)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT))))


@folds("Softmax")
def softmax_folds(b: Builder) -> str:
    return b.node("Softmax", b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1))))


@stays("Softmax")
def softmax_stays(b: Builder) -> str:
    return b.node("Softmax", b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1))), axis=1)


@folds("LogSoftmax")
def log_softmax_folds(b: Builder) -> str:
    return b.node("LogSoftmax", b.node("Sub", b.input((2, 4)), scalar(b, 0.7)), axis=1)


@stays("LogSoftmax")
def log_softmax_stays(b: Builder) -> str:
    return b.node("LogSoftmax", b.node("Mul", b.input((2, 4)), scalar(b, 0.7)), axis=1)


@folds("LpNormalization along space")
def lp_normalization_along_space_folds(b: Builder) -> str:
    return b.node("LpNormalization", b.affine(b.input((2, 4, 5)), POSITIVE), axis=2)


@stays("LpNormalization of the channels")
def lp_normalization_of_the_channels_stays(b: Builder) -> str:
    return b.node("LpNormalization", b.affine(b.input((2, 4, 5)), POSITIVE), axis=1)


@folds("MeanVarianceNormalization", tolerance=1e-5, dtype=np.float32, opset=9)
def mean_variance_normalization_folds(b: Builder) -> str:
    x = b.node("Add", b.input((2, 4, 5, 3)), b.constant(np.array(SHIFT).reshape(4, 1, 1)))
    return b.told(b.node("MeanVarianceNormalization", x), (2, 4, 5, 3))


@stays("MeanVarianceNormalization of what varies in space", dtype=np.float32, opset=9)
def mean_variance_normalization_of_what_varies_in_space_stays(b: Builder) -> str:
    x = b.node("Add", b.input((2, 3, 5, 4)), b.constant(np.array(SHIFT)))
    return b.told(b.node("MeanVarianceNormalization", x), (2, 3, 5, 4))
