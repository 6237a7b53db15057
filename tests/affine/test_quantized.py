"""Tests of quantized graphs: what onnxruntime makes of a folded one, and why one stays that rounds in between."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxnorm
from testing.builder import Builder, count, folded, session


def _pair(b: Builder, x: str, scale: Any, point: Any, **attributes: Any) -> str:
    operands = (b.constant(np.asarray(scale), dtype=np.float32), b.constant(np.asarray(point)))
    q = b.node("QuantizeLinear", x, *operands, **attributes)
    return b.node("DequantizeLinear", q, *operands, **attributes)


def _layer(b: Builder, x: str, operator: str, *, per_channel: bool, group: int, kind: str = "mixed") -> str:
    """A quantized convolution whose norm is in float, as training with quantization leaves it."""
    axis = 1 if operator == "ConvTranspose" else 0
    shape = (4, 4 // group, 3, 3)
    scales = b.random.uniform(0.01, 0.02, shape[axis]) if per_channel else np.array(0.015)
    integers = b.random.integers(-127, 128, shape).astype(np.int8)
    zeros = np.zeros(scales.shape, np.int8)
    weight = b.node(
        "DequantizeLinear",
        b.constant(integers),
        b.constant(scales),
        b.constant(zeros),
        **({"axis": axis} if per_channel else {}),
    )
    bias = b.node(
        "DequantizeLinear", b.constant(b.random.integers(-900, 900, 4).astype(np.int32)), b.constant(np.array(3e-4))
    )
    x = b.node(operator, x, weight, bias, group=group, kernel_shape=[3, 3], pads=[1] * 4)
    return _pair(b, b.node("Relu", b.batch_norm(x, 4, kind)), 0.03, np.uint8(0))


def _kernels(model: onnx.ModelProto, folder: Path) -> collections.Counter[str]:
    """The operators that onnxruntime runs in place of the model's."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return collections.Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("operator", "group"), [("Conv", 1), ("Conv", 2), ("Conv", 4), ("ConvTranspose", 1)])
def test_a_norm_behind_quantized_weights_goes(operator: str, group: int, per_channel: bool, tmp_path: Path) -> None:
    b = Builder(dtype=np.float32)
    x = _pair(b, b.input((1, 4, 8, 8)), 0.02, np.uint8(128))
    for _ in range(3):
        x = _layer(b, x, operator, per_channel=per_channel, group=group)
    model = b.model(x)
    result = onnxnorm.optimize(model, verify=True)
    assert not result.notes
    assert count(result.model, "BatchNormalization", "Mul") == 0, [str(each) for each in result.declined]
    if operator == "Conv":
        assert _kernels(model, tmp_path)["QLinearConv"] == 0
        assert _kernels(result.model, tmp_path)["QLinearConv"] == 3
    feeds = {"x": b.normal(1, 4, 8, 8).astype(np.float32)}
    (wanted,), (got,) = session(model).run(None, feeds), session(result.model).run(None, feeds)
    assert np.abs(wanted - got).max() <= 0.031, "by one step at the most, where rounding decides"
    assert np.mean(wanted != got) < 0.01


@pytest.mark.parametrize("parameters", [False, True])
def test_a_norm_between_two_roundings_stays_with_a_reason(parameters: bool) -> None:
    b = Builder(dtype=np.float32)
    x = _pair(b, b.conv(_pair(b, b.input((1, 3, 8, 8)), 0.02, np.uint8(128)), 3, 4, (1, 1)), 0.03, np.uint8(128))
    gamma, beta = (b.constant(b.normal(4)) for _ in "gb")
    if parameters:
        gamma, beta = (_pair(b, each, np.full(4, 0.01), np.zeros(4, np.int8), axis=0) for each in (gamma, beta))
    x = b.node("BatchNormalization", x, gamma, beta, b.constant(np.zeros(4)), b.constant(np.ones(4)))
    result = onnxnorm.optimize(b.model(_pair(b, x, 0.05, np.uint8(128))))
    assert count(result.model, "BatchNormalization") == 1
    (declined,) = result.declined
    assert "fold the float model before it is quantized" in declined.reason


def test_an_integer_convolution_gives_its_reason() -> None:
    b = Builder(dtype=np.float32)
    numbers = [b.constant(np.array(a), dtype=d) for a, d in ((0.02, np.float32), (128, np.uint8))]
    q = b.node("QuantizeLinear", b.input((1, 3, 8, 8)), *numbers)
    weight = [b.constant(b.random.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8))]
    weight += [b.constant(np.full(4, 0.01)), b.constant(np.zeros(4, np.int8))]
    q = b.node("QLinearConv", q, *numbers, *weight, *numbers)
    x = b.batch_norm(b.node("DequantizeLinear", q, *numbers), 4)
    (declined,) = onnxnorm.optimize(b.model(b.node("Relu", x))).declined
    assert "fold the float model before it is quantized" in declined.reason


@pytest.mark.parametrize("factor", [0.5, -0.5, (0.5, 0.25, 2.0, 1.0)])
def test_values_quantized_at_run_time_take_one_positive_factor(factor: Any) -> None:
    b = Builder(dtype=np.float32)
    x = _pair(b, b.input((1, 4, 8)), 0.02, np.int8(3))
    factors = np.reshape(factor, (1, -1, 1))
    result = folded(b.model(b.node("Sigmoid", b.node("Mul", x, b.constant(factors)))), tolerance=1e-6)
    assert count(result.model, "Mul") == (0 if factor == 0.5 else 1)


def _dynamic(b: Builder, operator: str) -> onnx.ModelProto:
    """What dynamic quantization makes of a convolution or a product with a bias, and its norm."""
    convolves = operator == "ConvInteger"
    x = b.input((2, 4, 6, 6) if convolves else (2, 4))
    columns = (4, 1, 1) if convolves else (4,)
    q, scale, zero = b.nodes_out("DynamicQuantizeLinear", x, outputs=3)
    weight = b.random.integers(-127, 128, (4, 4, 3, 3) if convolves else (4, 4)).astype(np.int8)
    y = b.node(operator, q, b.constant(weight), zero, b.constant(np.array(0, np.int8)))
    scales = b.node("Mul", scale, b.constant(np.array(0.02)))
    y = b.node("Mul", b.node("Cast", y, to=onnx.TensorProto.FLOAT), scales)
    return b.model(b.node("Sigmoid", b.batch_norm(b.node("Add", y, b.constant(b.normal(*columns))), 4)))


@pytest.mark.parametrize(("operator", "nodes"), [("ConvInteger", 6), ("MatMulInteger", 8)])
def test_dynamic_quantization_is_one_node_behind_a_matmul_alone(operator: str, nodes: int, tmp_path: Path) -> None:
    """Behind a convolution one affine is left of its scale, its bias and its norm; no runtime fuses these."""
    b = Builder(dtype=np.float32)
    model = _dynamic(b, operator)
    result = onnxnorm.optimize(model)
    before, after = _kernels(model, tmp_path).total(), _kernels(result.model, tmp_path).total()
    assert len(result.model.graph.node) == nodes and (after < before if operator == "ConvInteger" else after == before)
    feeds = {"x": b.random.normal(size=[d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim])}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    (wanted,), (got,) = session(model).run(None, feeds), session(result.model).run(None, feeds)
    assert np.abs(wanted - got).max() <= 1e-5
    if operator == "MatMulInteger":
        (declined,) = result.declined
        assert "fold the float model before it is quantized" in declined.reason


def test_new_constants_have_no_names_that_a_quantizer_takes() -> None:
    """onnxruntime's quantizer calls the scale of the value `relu` `relu_scale`, whatever else is called so."""
    from bench.quantize import int8

    b = Builder(dtype=np.float32)
    x = b.node("Relu", b.conv(b.input((1, 4, 6, 6)), 4, 4, (1, 1)), out="relu")
    scale, shift = (b.constant(np.reshape(each, (4, 1, 1))) for each in ([1.0, -2.0, 0.5, -1.0], [0.3, -1.0, 2.0, 1.0]))
    y = b.node("Relu", b.node("Add", b.node("Mul", x, scale), shift, name="relu"))
    result = onnxnorm.optimize(b.model(b.node("Concat", x, b.conv(y, 4, 3, (1, 1)), axis=1))).model
    assert not [t.name for t in result.graph.initializer if t.name.endswith(("_scale", "_zero_point", "_quantized"))]
    images = b.random.normal(size=(4, 4, 6, 6)).astype(np.float32)
    quantized = int8(result, images, per_channel=False)
    assert session(quantized).run(None, {"x": images[:1]})[0].shape == (1, 7, 6, 6)
