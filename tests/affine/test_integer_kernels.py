"""Tests that a folded model gives the same in onnxruntime when that runs it on integers, in no fewer integer kernels.

What is wanted is what onnxruntime makes of the model as it was, with its optimizations off. Weights are small, since
kernels of some processors saturate where two products add up to more than 16 bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxnorm
from testing.builder import QUICK, Builder, count, session
from testing.optimized import operators_in_onnxruntime

_STEP = 0.005
_INTEGER = ("MatMulIntegerToFloat", "MatMulNBits", "QGemm", "QLinearConv", "QLinearMatMul")
_PRODUCTS = ("Conv", "Gemm", "GemmT", "MatMul")
_ALL = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def _pair(b: Builder, x: str, scale: float, point: int) -> str:
    operands = (b.constant(np.float32(scale)), b.constant(np.uint8(point)))
    return b.node("DequantizeLinear", b.node("QuantizeLinear", x, *operands), *operands)


def _shape(operator: str, outputs: int, group: int = 1) -> tuple[int, ...]:
    return {"Conv": (outputs, 4 // group, 3, 3), "GemmT": (outputs, 4)}.get(operator, (4, outputs))


def _product(
    b: Builder, x: str, operator: str, weight: np.ndarray, *, points: Any = 0, per_channel: bool = True,
    bias: bool = True, group: int = 1, step: float = 0.02,
) -> str:  # fmt: skip
    """A product of a dequantized value by a quantized weight, with a bias in the integers that kernels want."""
    axis = 0 if operator in ("Conv", "GemmT") else 1
    outputs = weight.shape[axis]
    scales = b.random.uniform(0.0005, 0.001, outputs) if per_channel else np.array(0.001)
    zero = np.broadcast_to(np.asarray(points), scales.shape).astype(weight.dtype)
    where = {"axis": axis} if per_channel else {}
    operands = [x, b.node("DequantizeLinear", b.constant(weight), b.constant(scales), b.constant(zero), **where)]
    if bias and operator != "MatMul":
        integers = b.random.integers(-9000, 9000, outputs).astype(np.int32)
        along = {"axis": 0} if per_channel else {}
        operands.append(b.node("DequantizeLinear", b.constant(integers), b.constant(step * scales), **along))
    if operator == "Conv":
        return b.node("Conv", *operands, kernel_shape=[3, 3], group=group)
    return b.node(operator[:4], *operands, transB=1) if operator == "GemmT" else b.node(operator, *operands)


def _kernels(model: onnx.ModelProto, folder: Path) -> int:
    found = operators_in_onnxruntime(model, folder, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    return sum(name in _INTEGER for name in found)


def _same(before: onnx.ModelProto, after: onnx.ModelProto, steps: int = 1) -> None:
    """Whether both give the same up to the rounding of the last QuantizeLinear, optimized or not."""
    x = np.random.default_rng(3).normal(size=[d.dim_value for d in before.graph.input[0].type.tensor_type.shape.dim])
    feeds = {"x": x.astype(np.float32)}
    (wanted,) = session(before).run(None, feeds)
    for level in (None, _ALL):
        (got,) = session(after, level).run(None, feeds)
        assert np.abs(wanted - got).max() <= steps * _STEP * 1.01


def _input(b: Builder, operator: str) -> str:
    return b.input((1, 4, 8, 8) if operator == "Conv" else (5, 4))


def _small(b: Builder, *shape: int) -> np.ndarray:
    return b.random.integers(-60, 61, shape).astype(np.int8)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("operator", ["Conv", "Gemm", "GemmT"])
@pytest.mark.parametrize("factor", [0.25, -0.25])
@pytest.mark.parametrize("as_norm", [False, True])
def test_a_quantized_bias_follows_the_scales(
    operator: str, per_channel: bool, factor: float, as_norm: bool, tmp_path: Path
) -> None:
    b = Builder(dtype=np.float32)
    x = _pair(b, _input(b, operator), 0.02, 128)
    x = b.affine(x, [factor] * 4) if as_norm else b.node("Mul", x, b.constant(np.array(factor)))
    x = _product(b, x, operator, _small(b, *_shape(operator, 6)), per_channel=per_channel)
    model = b.model(_pair(b, b.node("Relu", x), _STEP, 0))
    result = onnxnorm.optimize(model, verify=False)
    assert count(result.model, "Mul", "BatchNormalization") == 0
    _same(model, result.model)
    assert _kernels(model, tmp_path) == 0
    assert _kernels(result.model, tmp_path) == 1


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("outputs", [4, 6])
@pytest.mark.parametrize("operator", _PRODUCTS)
def test_scales_of_input_channels_stay_out_of_integer_products(
    operator: str, outputs: int, quantized: bool, tmp_path: Path
) -> None:
    b = Builder(dtype=np.float32)
    factors = np.array([0.5, 0.25, 2.0, 1.0]).reshape((1, 4, 1, 1) if operator == "Conv" else (4,))
    x = b.node("Mul", _pair(b, _input(b, operator), 0.02, 128), b.constant(factors))
    x = _product(b, x, operator, _small(b, *_shape(operator, outputs)), per_channel=False, bias=False)
    model = b.model(_pair(b, b.node("Relu", x), _STEP, 0) if quantized else b.node("Sigmoid", x))
    result = onnxnorm.optimize(model, verify=False)
    assert count(result.model, "Mul") == int(quantized or operator != "Conv")
    _same(model, result.model)
    assert _kernels(result.model, tmp_path) >= _kernels(model, tmp_path)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("kind", ["positive", "mixed"])
@pytest.mark.parametrize("room", [False, True])
def test_zero_points_of_a_convolution_become_one_or_it_stays_in_float(
    room: bool, kind: str, dtype: Any, group: int, tmp_path: Path
) -> None:
    b = Builder(dtype=np.float32)
    middle, bounds = (128, (68, 188)) if dtype is np.uint8 else (0, (-60, 60))
    weight = b.random.integers(*bounds, _shape("Conv", 4, group)).astype(dtype)
    if not room:
        # About zero points that lie twenty apart there is no one range for both.
        least, most = (0, 255) if dtype is np.uint8 else (-128, 127)
        weight[:, 0, 0, 0], weight[:, 0, 0, 1] = least, most
    x = _pair(b, _input(b, "Conv"), 0.02, 128)
    x = _product(b, x, "Conv", weight, points=middle + np.array([-10, 0, 4, 10]), group=group)
    model = b.model(_pair(b, b.node("Relu", b.batch_norm(x, 4, kind)), _STEP, 0))
    result = onnxnorm.optimize(model, verify=False)
    assert _kernels(model, tmp_path) == 0
    assert _kernels(result.model, tmp_path) == int(room)
    _same(model, result.model)
    if room:
        assert not result.declined
        points = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
        (own,) = [node.input[2] for node in result.model.graph.node if node.op_type == "DequantizeLinear"][1:2]
        assert np.unique(points[own]).size == 1
    else:
        assert count(result.model, "BatchNormalization") == 1
        assert "zero points that differ" in result.declined[0].reason


@pytest.mark.parametrize("least", [-8, -7])
@pytest.mark.parametrize("block", [0, 16])
@pytest.mark.parametrize("operator", ["Gemm", "MatMul"])
def test_products_of_four_bits_keep_their_kernel(operator: str, block: int, least: int, tmp_path: Path) -> None:
    b = Builder(dtype=np.float32, opset=21, ir_version=10)
    integers = b.random.integers(-7, 8, (32, 8))
    integers[0] = least
    scales = b.random.uniform(0.01, 0.02, (32 // block, 8) if block else (8,))
    where = {"axis": 0, "block_size": block} if block else {"axis": 1}
    weight = b.node("DequantizeLinear", b.constant(integers, dtype=ml_dtypes.int4), b.constant(scales), **where)
    x = b.node(operator, b.input((512, 32)), weight)
    model = b.model(b.node("Sigmoid", b.batch_norm(x, 8)))
    result = onnxnorm.optimize(model, verify=False)
    assert count(result.model, "BatchNormalization") == int(least == -8)
    assert _kernels(result.model, tmp_path) >= _kernels(model, tmp_path)
    _same(model, result.model)


@settings(QUICK, max_examples=12)
@given(data=st.data())
def test_quantized_layers_of_any_kind_fold_and_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    """Two layers of products with norms and scales before, behind and between, of either sign of weights and norms."""
    b = Builder(dtype=np.float32, seed=data.draw(st.integers(0, 999)))
    operator = data.draw(st.sampled_from(_PRODUCTS))
    x = _pair(b, _input(b, operator), 0.02, 128)
    for _ in range(2):
        if data.draw(st.booleans()):
            x = b.node("Mul", x, b.constant(np.array(data.draw(st.sampled_from([0.5, 2.0, -1.0])))))
        group = data.draw(st.sampled_from([1, 2, 4])) if operator == "Conv" else 1
        weight = _small(b, *_shape(operator, 4, group))
        if data.draw(st.booleans()):
            weight.flat[0] = -128
        step, per_channel = 0.02 if x == "v2" else _STEP, data.draw(st.booleans())
        x = _product(b, x, operator, weight, per_channel=per_channel, group=group, step=step)
        if data.draw(st.booleans()):
            x = b.batch_norm(x, 4, data.draw(st.sampled_from(["positive", "mixed", "zero"])))
        x = _pair(b, b.node("Relu", x), _STEP, 0)
    model, folder = b.model(x), tmp_path_factory.mktemp("kernels")
    result = onnxnorm.optimize(model, verify=False)
    # A value next to the boundary of a step falls to either side of it, in each of the layers.
    _same(model, result.model, steps=3)
    assert _kernels(result.model, folder) >= _kernels(model, folder)
