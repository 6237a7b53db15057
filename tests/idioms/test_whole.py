"""Idioms between linear layers come through `optimize` whole: onnxruntime makes of the result what it made before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxnorm
from onnxnorm.passes.targets import TARGETS
from testing.builder import Builder, affines, count, random_feeds
from testing.idioms import ACTIVATIONS, attention, layer_norm, rms_norm

WIDTH = 8


def fused(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Nodes by kind after onnxruntime's extended optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "fused.onnx").graph.node)


def outcome(model: onnx.ModelProto) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(run.run(None, random_feeds(model)))


def assert_no_worse(model: onnx.ModelProto, target: str, folder: Path) -> onnx.ModelProto:
    result = onnxnorm.optimize(model, target=target, verify=False).model
    assert isinstance(result, onnx.ModelProto)
    before, after = fused(model, folder), fused(result, folder)
    assert after.total() <= before.total(), (before, after)
    contrib = {"Gelu", "BiasGelu", "FastGelu", "QuickGelu", "SkipLayerNormalization", "LayerNormalization"}
    lost = {kind: before[kind] for kind in contrib if after[kind] < before[kind] and kind != "LayerNormalization"}
    assert not lost, (before, after)
    for old, new in zip(outcome(model), outcome(result), strict=True):
        np.testing.assert_allclose(new, old, rtol=2e-4, atol=2e-4)
    return result


def _linear(b: Builder, x: str) -> str:
    product = b.node("MatMul", x, b.constant(b.normal(WIDTH, WIDTH) / 3.0))
    return b.node("Add", product, b.constant(b.normal(WIDTH)))


@pytest.mark.parametrize("target", ["portable", "onnxruntime"])
@pytest.mark.parametrize("opset", [14, 17])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_between_linear_layers(name: str, opset: int, target: str, tmp_path: Path) -> None:
    b = Builder(opset=opset, dtype=np.float32)
    y = ACTIVATIONS[name][1](b, _linear(b, b.input((2, 5, WIDTH))))
    assert_no_worse(b.model(_linear(b, y)), target, tmp_path)


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("write", [layer_norm, rms_norm])
def test_norms_before_linear_layers_keep_their_scale(
    write: Callable[[Builder, str, int], str], target: str, tmp_path: Path
) -> None:
    b = Builder(opset=13, dtype=np.float32)
    x = _linear(b, b.input((2, 5, WIDTH)))
    result = assert_no_worse(b.model(_linear(b, write(b, x, WIDTH))), target, tmp_path)
    if target not in ("tensorrt", "openvino", "web"):
        assert count(result, "Mul") == 1


@pytest.mark.parametrize("target", ["portable", "onnxruntime"])
@pytest.mark.parametrize("write", [layer_norm, rms_norm])
def test_norms_of_an_input_whose_extents_are_not_known_stay_whole(
    write: Callable[[Builder, str, int], str], target: str, tmp_path: Path
) -> None:
    """Gamma and beta might enlarge the tensor, for all that is known; onnxruntime takes them for what they are."""
    b = Builder(dtype=np.float32, opset=14)
    x = write(b, b.input((None, None, None)), 3)
    x = b.node("Add", b.node("MatMul", x, b.constant(b.normal(3, 5))), b.constant(b.normal(5)))
    model = b.model(x)
    result = assert_no_worse(model, target, tmp_path)
    kind = "LayerNormalization" if write is layer_norm else "SimplifiedLayerNormalization"
    assert fused(result, tmp_path)[kind] == fused(model, tmp_path)[kind] == 1


@pytest.mark.parametrize("target", ["portable", "onnxruntime", "openvino"])
@pytest.mark.parametrize("scaled", ["queries", "keys", "scores"])
def test_attention_keeps_its_scale_and_mask(scaled: str, target: str, tmp_path: Path) -> None:
    b = Builder(opset=14, dtype=np.float32)
    x, mask = b.input((2, 5, WIDTH)), b.input((2, 1, 1, 5), "mask")
    model = b.model(attention(b, x, WIDTH, 2, mask, scaled=scaled))
    result = assert_no_worse(model, target, tmp_path)
    assert count(result, "MatMul", "Sub", "Div", "Mul") == count(model, "MatMul", "Sub", "Div", "Mul")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_batch_norms_around_an_activation_still_go(name: str, tmp_path: Path) -> None:
    b = Builder(opset=17, dtype=np.float32)
    x = b.batch_norm(b.conv(b.input((2, 4, 6, 6)), 4, 4, (3, 3)), 4)
    y = b.batch_norm(ACTIVATIONS[name][1](b, x), 4)
    model = b.model(b.conv(y, 4, 4, (1, 1)))
    result = assert_no_worse(model, "portable", tmp_path)
    assert count(result, "BatchNormalization") == 0


def test_a_lone_factor_goes_where_a_node_goes_with_it() -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Mul", b.node("Relu", b.input((2, 5, WIDTH))), b.constant(np.float32(0.5)))
    result = onnxnorm.optimize(b.model(b.node("MatMul", x, b.constant(b.normal(WIDTH, 3)))), verify=False).model
    assert affines(result) == 0


def test_a_lone_factor_stays_where_it_would_only_move() -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Mul", b.node("Sigmoid", b.input((2, 4, 8, 8))), b.constant(np.float32(0.5)))
    model = b.model(b.node("Erf", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])))
    result = onnxnorm.optimize(model, verify=False).model
    assert [node.op_type for node in result.graph.node] == [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("channels", [4, 400])
def test_affines_without_channels_become_no_batch_norm(channels: int) -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Erf", b.input((2, channels, 6)))
    x = b.node("Mul", b.node("Add", x, b.constant(np.float32(1.0))), b.constant(np.float32(0.5)))
    result = onnxnorm.optimize(b.model(b.node("Erf", x)), verify=False).model
    assert count(result, "BatchNormalization") == 0
    assert count(result, "Add", "Mul") == 2
