"""Pairs for operators that work element by element, alone and of several values."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from testing.builder import Builder
from tests.affine.pairs import MIXED, POSITIVE, SHIFT, folds, linear, scalar, stays


@folds("Relu")
def relu_folds(b: Builder) -> str:
    return linear(b, b.node("Relu", b.affine(b.input((2, 4, 5)), POSITIVE)), 4, 3)


@stays("Relu")
def relu_stays(b: Builder) -> str:
    return linear(b, b.node("Relu", b.affine(b.input((2, 4, 5)), MIXED)), 4, 3)


@folds("LeakyRelu")
def leaky_relu_folds(b: Builder) -> str:
    return linear(b, b.node("LeakyRelu", b.affine(b.input((2, 4)), POSITIVE), alpha=0.3), 4, 2)


@stays("LeakyRelu")
def leaky_relu_stays(b: Builder) -> str:
    return linear(b, b.node("LeakyRelu", b.affine(b.input((2, 4)), POSITIVE, SHIFT), alpha=0.3), 4, 2)


@folds("PRelu turns over")
def prelu_turns_over_folds(b: Builder) -> str:
    slope = b.constant(np.array([0.1, 0.2, 0.3, 0.4]).reshape(4, 1))
    return linear(b, b.node("PRelu", b.affine(b.input((2, 4, 5)), MIXED), slope), 4, 3)


@stays("PRelu with a slope of zero")
def prelu_with_a_slope_of_zero_stays(b: Builder) -> str:
    slope = b.constant(np.array([0.1, 0.0, 0.3, 0.4]).reshape(4, 1))
    return linear(b, b.node("PRelu", b.affine(b.input((2, 4, 5)), MIXED), slope), 4, 3)


@folds("Clip")
def clip_folds(b: Builder) -> str:
    x = b.node("Add", b.node("Mul", b.input((2, 4, 5)), scalar(b, 2.0)), scalar(b, 0.5))
    return linear(b, b.node("Clip", x, scalar(b, -0.4), scalar(b, 1.0)), 4, 3)


@stays("Clip")
def clip_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("Clip", x, scalar(b, -0.4), scalar(b, 1.0)), 4, 3)


@folds("Identity")
def identity_folds(b: Builder) -> str:
    return linear(b, b.node("Identity", b.affine(b.input((2, 4)), MIXED, SHIFT)), 4, 2)


@stays("Identity")
def identity_stays(b: Builder) -> str:
    return b.node("Identity", b.affine(b.input((2, 4)), MIXED, SHIFT))


@folds("Dropout")
def dropout_folds(b: Builder) -> str:
    return linear(b, b.node("Dropout", b.affine(b.input((2, 4, 5)), MIXED, SHIFT)), 4, 3)


@stays("Dropout in training")
def dropout_in_training_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("Dropout", x, scalar(b, 0.0), b.constant(np.array(True))), 4, 3)


@folds("Cast", tolerance=1e-6)
def cast_folds(b: Builder) -> str:
    x = b.node("Cast", b.affine(b.input((2, 4)), MIXED, SHIFT), to=TensorProto.FLOAT)
    weights = [b.constant(b.normal(*shape), dtype=np.float32) for shape in ((4, 3), (3,))]
    return b.node("Sigmoid", b.node("Cast", b.node("Gemm", x, *weights), to=TensorProto.DOUBLE))


@stays("Cast to half precision")
def cast_to_half_precision_stays(b: Builder) -> str:
    x = b.node("Cast", b.affine(b.input((2, 4)), MIXED, SHIFT), to=TensorProto.FLOAT16)
    y = b.node("MatMul", x, b.constant(b.normal(4, 3), dtype=np.float16))
    return b.node("Sigmoid", b.node("Cast", y, to=TensorProto.DOUBLE))


@folds("Shape")
def shape_folds(b: Builder) -> list[str]:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return [linear(b, x, 4, 3), b.node("Cast", b.node("Shape", x), to=TensorProto.DOUBLE)]


@stays("Shape")
def shape_stays(b: Builder) -> list[str]:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return [linear(b, x, 4, 3), b.node("Cast", b.node("Shape", x), to=TensorProto.DOUBLE), b.node("Sigmoid", x)]


@folds("Size")
def size_folds(b: Builder) -> list[str]:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return [linear(b, x, 4, 3), b.node("Cast", b.node("Size", x), to=TensorProto.DOUBLE)]


@stays("Size")
def size_stays(b: Builder) -> list[str]:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return [b.node("Sigmoid", x), b.node("Cast", b.node("Size", x), to=TensorProto.DOUBLE)]


@folds("Add of branches", left=1)
def add_of_branches_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    y = b.node("Add", b.conv(x, 4, 4), b.affine(b.conv(x, 4, 4), POSITIVE))
    return b.node("Sigmoid", b.affine(y, MIXED, SHIFT))


@stays("Add of branches")
def add_of_branches_stays(b: Builder) -> str:
    y = b.node("Add", b.conv(b.input((2, 4, 5)), 4, 4), b.input((2, 4, 5), name="skip"))
    return b.node("Sigmoid", b.affine(y, MIXED, SHIFT))


@folds("Sub of branches", left=1)
def sub_of_branches_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    return b.node("Sigmoid", b.affine(b.node("Sub", b.conv(x, 4, 4), b.conv(x, 4, 4)), MIXED, SHIFT))


@stays("Sub of branches")
def sub_of_branches_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED)
    return b.node("Sigmoid", b.node("Sub", x, b.input((2, 4, 5), name="skip")))


@folds("Sum of branches")
def sum_of_branches_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    y = b.node("Sum", b.conv(x, 4, 4), b.conv(x, 4, 4), b.conv(x, 4, 4))
    return b.node("Sigmoid", b.affine(y, MIXED, SHIFT))


@stays("Sum of branches")
def sum_of_branches_stays(b: Builder) -> str:
    x = b.input((2, 4, 5))
    y = b.node("Sum", b.conv(x, 4, 4), x, b.conv(x, 4, 4))
    return b.node("Sigmoid", b.affine(y, MIXED, SHIFT))


@folds("Mul by a gate", left=1)
def mul_by_a_gate_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED)
    gate = b.node("Sigmoid", b.conv(b.node("GlobalAveragePool", x), 4, 4))
    return linear(b, b.node("Mul", x, gate), 4, 3)


@stays("Mul by a gate")
def mul_by_a_gate_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    gate = b.node("Sigmoid", b.conv(b.node("GlobalAveragePool", x), 4, 4))
    return linear(b, b.node("Mul", x, gate), 4, 3)


@folds("Div of values", left=1)
def div_of_values_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED)
    return linear(b, b.node("Div", x, b.node("Exp", b.input((2, 4, 5), name="z"))), 4, 3)


@stays("Div of values")
def div_of_values_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    return linear(b, b.node("Div", x, b.node("Exp", b.input((2, 4, 5), name="z"))), 4, 3)


@folds("Neg")
def neg_folds(b: Builder) -> str:
    return linear(b, b.node("Neg", b.input((2, 4))), 4, 2)


@stays("Neg")
def neg_stays(b: Builder) -> str:
    return b.node("Sigmoid", b.node("Neg", b.input((2, 4))))


@folds("Add")
def add_folds(b: Builder) -> str:
    return linear(b, b.node("Add", b.input((2, 4, 5)), b.constant(np.array(SHIFT).reshape(4, 1))), 4, 3)


@stays("Add that enlarges")
def add_that_enlarges_stays(b: Builder) -> str:
    x = b.node("Add", b.input((1, 4, 5)), b.constant(b.normal(2, 4, 1)))
    return linear(b, x, 4, 3)


@folds("Sub")
def sub_folds(b: Builder) -> str:
    return linear(b, b.node("Sub", b.constant(np.array(SHIFT).reshape(4, 1)), b.input((2, 4, 5))), 4, 3)


@stays("Sub along space")
def sub_along_space_stays(b: Builder) -> str:
    return linear(b, b.node("Sub", b.constant(b.normal(5)), b.input((2, 4, 5))), 4, 3)


@folds("Mul")
def mul_folds(b: Builder) -> str:
    return linear(b, b.node("Mul", b.input((2, 4, 5)), b.constant(np.array(MIXED).reshape(4, 1))), 4, 3)


@stays("Mul along space")
def mul_along_space_stays(b: Builder) -> str:
    return linear(b, b.node("Mul", b.input((2, 4, 4)), b.constant(np.array(MIXED))), 4, 3)


@folds("Div")
def div_folds(b: Builder) -> str:
    return linear(b, b.node("Div", b.input((2, 4)), b.constant(np.array(MIXED))), 4, 2)


@stays("Div by the value")
def div_by_the_value_stays(b: Builder) -> str:
    return b.node("Sigmoid", b.node("Div", b.constant(np.array(MIXED)), b.node("Exp", b.input((2, 4)))))


@folds("BatchNormalization")
def batch_normalization_folds(b: Builder) -> str:
    return linear(b, b.affine(b.affine(b.input((2, 4, 5)), MIXED, SHIFT), POSITIVE), 4, 3)


@stays("BatchNormalization in training")
def batch_normalization_in_training_stays(b: Builder) -> str:
    parameters = [b.constant(array) for array in b.statistics(4)]
    x, *_ = b.nodes_out("BatchNormalization", b.input((2, 4, 5)), *parameters, outputs=3, training_mode=1)
    return linear(b, x, 4, 3)


@folds("Abs")
def abs_folds(b: Builder) -> str:
    return linear(b, b.node("Abs", b.affine(b.input((2, 4, 5)), MIXED)), 4, 3)


@stays("Abs")
def abs_stays(b: Builder) -> str:
    return linear(b, b.node("Abs", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT)), 4, 3)


@folds("Sqrt")
def sqrt_folds(b: Builder) -> str:
    return linear(b, b.node("Sqrt", b.affine(b.node("Exp", b.input((2, 4, 5))), POSITIVE)), 4, 3)


@stays("Sqrt")
def sqrt_stays(b: Builder) -> str:
    return linear(b, b.node("Sqrt", b.affine(b.node("Exp", b.input((2, 4, 5))), POSITIVE, np.abs(SHIFT))), 4, 3)


@folds("Reciprocal")
def reciprocal_folds(b: Builder) -> str:
    return linear(b, b.node("Reciprocal", b.affine(b.node("Exp", b.input((2, 4, 5))), MIXED)), 4, 3)


@stays("Reciprocal")
def reciprocal_stays(b: Builder) -> str:
    x = b.affine(b.node("Exp", b.input((2, 4, 5))), POSITIVE, np.abs(SHIFT))
    return linear(b, b.node("Reciprocal", x), 4, 3)


@folds("Pow by a constant")
def pow_by_a_constant_folds(b: Builder) -> str:
    return linear(b, b.node("Pow", b.affine(b.input((2, 4, 5)), MIXED), scalar(b, 2.0)), 4, 3)


@stays("Pow by a constant")
def pow_by_a_constant_stays(b: Builder) -> str:
    x = b.affine(b.node("Exp", b.input((2, 4, 5))), POSITIVE, np.abs(SHIFT))
    return linear(b, b.node("Pow", x, scalar(b, 1.5)), 4, 3)


@folds("Max with a constant")
def max_with_a_constant_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT)
    return linear(b, b.node("Max", x, b.constant(b.normal(4, 1))), 4, 3)


@stays("Max of two values")
def max_of_two_values_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT)
    return linear(b, b.node("Max", x, b.input((2, 4, 5), name="z")), 4, 3)


@folds("Min of two values")
def min_of_two_values_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    return b.node("Sigmoid", b.affine(b.node("Min", b.conv(x, 4, 4), b.conv(x, 4, 4)), POSITIVE, SHIFT))


@stays("Min of two values")
def min_of_two_values_stays(b: Builder) -> str:
    x = b.input((2, 4, 5))
    return b.node("Sigmoid", b.affine(b.node("Min", b.conv(x, 4, 4), x), MIXED, SHIFT))


@folds("Where")
def where_folds(b: Builder) -> str:
    x, asked = b.input((2, 4, 5)), b.input((2, 4, 5), name="asked", element=TensorProto.BOOL)
    return b.node("Sigmoid", b.affine(b.node("Where", asked, b.conv(x, 4, 4), b.conv(x, 4, 4)), MIXED, SHIFT))


@stays("Where")
def where_stays(b: Builder) -> str:
    x, asked = b.input((2, 4, 5)), b.input((2, 4, 5), name="asked", element=TensorProto.BOOL)
    return b.node("Sigmoid", b.affine(b.node("Where", asked, b.conv(x, 4, 4), x), MIXED, SHIFT))


@folds("Mean of branches")
def mean_of_branches_folds(b: Builder) -> str:
    x = b.input((2, 3, 5))
    return b.node("Sigmoid", b.affine(b.node("Mean", b.conv(x, 3, 4), b.conv(x, 3, 4), b.conv(x, 3, 4)), MIXED, SHIFT))


@stays("Mean of branches, one of which cannot carry it")
def mean_of_branches_one_of_which_cannot_carry_it_stays(b: Builder) -> str:
    x = b.input((2, 4, 5))
    return b.node("Sigmoid", b.affine(b.node("Mean", b.conv(x, 4, 4), x), MIXED, SHIFT))


@folds("CumSum")
def cum_sum_folds(b: Builder) -> str:
    axis = b.constant(np.array(2, np.int64))
    return linear(b, b.node("CumSum", b.affine(b.input((2, 4, 5)), MIXED), axis), 4, 3)


@stays("CumSum along the channels")
def cum_sum_along_the_channels_stays(b: Builder) -> str:
    axis = b.constant(np.array(1, np.int64))
    return linear(b, b.node("CumSum", b.affine(b.input((2, 4, 5)), MIXED), axis), 4, 3)


@folds("Sign")
def sign_folds(b: Builder) -> str:
    return linear(b, b.node("Sign", b.affine(b.input((2, 4, 5)), POSITIVE)), 4, 3)


@stays("Sign of values that the scale makes zero")
def sign_of_values_that_the_scale_makes_zero_stays(b: Builder) -> str:
    return linear(b, b.node("Sign", b.affine(b.input((2, 4, 5)), np.multiply(POSITIVE, 1e-200))), 4, 3)


@stays("Sign")
def sign_stays(b: Builder) -> str:
    return linear(b, b.node("Sign", b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT)), 4, 3)


@folds("Mul of a tensor before a Relu and an Add", left=1)
def mul_of_a_tensor_becomes_part_of_an_add(b: Builder) -> str:
    x = b.node("Relu", b.node("Mul", b.input((2, 4, 5)), scalar(b, 0.3)))
    return b.node("Sigmoid", b.node("Add", x, b.constant(np.array(SHIFT).reshape(4, 1))))


@stays("Mul of a number before a product and an Add")
def mul_of_a_number_stays_one(b: Builder) -> str:
    """Dynamic quantization multiplies two scales, and their product with a tensor, before the bias."""
    scale = b.node("Mul", b.input((), name="scale"), scalar(b, 0.3))
    product = b.node("Mul", b.input((2, 4, 5)), scale)
    return b.node("Sigmoid", b.node("Add", product, b.constant(np.array(SHIFT).reshape(4, 1))))
