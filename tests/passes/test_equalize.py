"""Tests of equalizing: channels become alike wherever scales pass, and what is computed stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxnorm
from onnxnorm import OnnxNormError, cli
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.passes import Equalization
from testing.builder import Builder, assert_same, random_feeds

FACTORS = np.array([30.0, 0.05, 1.0, 4.0, 0.3, 12.0])
PASSES = ("infer_shapes", "equalize")


def _weights(model: onnx.ModelProto, least_rank: int = 2) -> dict[str, np.ndarray]:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: array for name, array in arrays.items() if array.ndim >= least_rank}


def _equalized(model: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
    """The result, which has the same nodes and computes the same."""
    result = onnxnorm.optimize(model, passes=PASSES, verify=False, **options).model
    onnx.checker.check_model(result, full_check=True)
    assert [node.op_type for node in result.graph.node] == [node.op_type for node in model.graph.node]
    feeds = random_feeds(model)
    assert_same(evaluate_float64(model, feeds), evaluate_float64(result, feeds), 1e-12)
    return result


def _made(b: Builder, x: str, inputs: int, axis: int = 0) -> str:
    """A convolution to six channels of very different size."""
    shape = (6, inputs, 3, 3)
    weight = b.normal(*shape) * FACTORS.reshape(-1, 1, 1, 1)
    return b.node(
        "Conv", x, b.constant(weight, name=f"made{len(b.nodes)}"), b.constant(b.normal(6) * FACTORS), pads=[1] * 4
    )


def _read(b: Builder, x: str, channels: int = 6, first: int = 0) -> str:
    spread = np.resize(np.roll(1 / FACTORS, -first), channels).reshape(1, -1, 1, 1)
    return b.node("Conv", x, b.constant(b.normal(4, channels, 1, 1) * spread, name=f"read{len(b.nodes)}"))


def _chain(b: Builder) -> str:
    return _read(b, b.node("Relu", _made(b, b.input((1, 3, 6, 6)), 3)))


def _residual(b: Builder) -> str:
    x = _made(b, b.input((1, 3, 6, 6)), 3)
    x = b.node("Add", x, _made(b, b.node("Relu", x), 6))
    return _read(b, b.node("Relu", x))


def _depthwise(b: Builder) -> str:
    x = b.node("Relu", _made(b, b.input((1, 3, 6, 6)), 3))
    weight = b.normal(6, 1, 3, 3)
    x = b.node("Conv", x, b.constant(weight, name="depthwise"), group=6)
    return _read(b, b.node("Relu", x))


def _concat(b: Builder) -> str:
    x = b.input((1, 3, 6, 6))
    joined = b.node(
        "Concat", b.node("Relu", _made(b, x, 3)), b.node("MaxPool", _made(b, x, 3), kernel_shape=[1, 1]), axis=1
    )
    return _read(b, joined, 12)


def _split(b: Builder) -> str:
    parts = b.nodes_out("Split", b.node("Relu", _made(b, b.input((1, 3, 6, 6)), 3)), b.ints(2, 4), outputs=2, axis=1)
    return b.node("Add", _read(b, parts[0], 2), _read(b, parts[1], 4, first=2))


def _products(b: Builder) -> str:
    x = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 6) * FACTORS, name="made"))
    x = b.node("PRelu", x, b.constant(np.full(6, 0.1)))
    return b.node("MatMul", x, b.constant(b.normal(6, 4) / FACTORS.reshape(-1, 1), name="read"))


def _pools(b: Builder) -> str:
    x = b.node("AveragePool", b.node("Relu", _made(b, b.input((1, 3, 6, 6)), 3)), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    return b.node("Gemm", x, b.constant(b.normal(6, 4) / FACTORS.reshape(-1, 1), name="read"), b.constant(b.normal(4)))


NETWORKS = [_chain, _residual, _depthwise, _concat, _split, _products, _pools]


def _unevenness(model: onnx.ModelProto) -> float:
    """The largest ratio of the channels' ranges among all rows that make and all columns that read six channels."""
    worst = 1.0
    for name, array in _weights(model).items():
        axis = 0 if name.startswith(("made", "depth")) and array.ndim == 4 else 1
        axis = (1 - axis) if array.ndim == 2 and name == "read" else axis
        sizes = np.abs(array).max(axis=tuple(each for each in range(array.ndim) if each != axis))
        worst = max(worst, float(sizes.max() / sizes.min()))
    return worst


@pytest.mark.parametrize("powers_of_two", [False, True])
@pytest.mark.parametrize("build", NETWORKS)
def test_channels_become_alike(build: Callable[[Builder], str], powers_of_two: bool) -> None:
    b = Builder()
    model = b.model(build(b))
    result = _equalized(model, prepare=None) if not powers_of_two else None
    if result is None:
        done = onnxnorm.optimize(
            model, passes=("infer_shapes",), prepare=Equalization(powers_of_two=True), verify=False
        )
        result = done.model
        before, after = _weights(model), _weights(result)
        for name, array in after.items():
            exponents = np.log2(np.abs(array / before[name]))
            assert np.array_equal(exponents, np.round(exponents)), name
    assert _unevenness(result) < 0.1 * _unevenness(model), (_unevenness(model), _unevenness(result))


def _sigmoid(b: Builder) -> str:
    return _read(b, b.node("Sigmoid", _made(b, b.input((1, 3, 6, 6)), 3)))


def _output(b: Builder) -> list[str]:
    x = b.node("Relu", _made(b, b.input((1, 3, 6, 6)), 3))
    return [x, _read(b, x)]


def _softmax(b: Builder) -> str:
    return _read(b, b.node("Softmax", _made(b, b.input((1, 3, 6, 6)), 3), axis=1))


@pytest.mark.parametrize("build", [_sigmoid, _output, _softmax])
def test_where_scales_do_not_pass_nothing_changes(build: Callable[[Builder], Any]) -> None:
    b = Builder()
    outputs = build(b)
    model = b.model(*([outputs] if isinstance(outputs, str) else outputs))
    before, after = _weights(model, 1), _weights(_equalized(model), 1)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def _smooth(b: Builder) -> str:
    x = b.node("LayerNormalization", b.input((2, 5, 6)), b.constant(FACTORS), b.constant(b.normal(6)), axis=-1)
    return b.node("MatMul", x, b.constant(b.normal(6, 4), name="read"))


def test_activations_share_what_weights_have_to_spare() -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_smooth(b))
    samples = [random_feeds(model, seed=seed) for seed in range(3)]
    result = onnxnorm.optimize(model, prepare="int8", calibration=samples)
    (before,), (after,) = _weights(model).values(), _weights(result.model).values()
    scale = numpy_helper.to_array(next(t for t in result.model.graph.initializer if t.dims == [6] and t.data_type == 1))
    # Half of what the activations differ by goes into the weights.
    assert 5 < scale.max() / scale.min() < 60 < FACTORS.max() / FACTORS.min()
    spread = np.abs(after).max(axis=1) / np.abs(before).max(axis=1)
    assert spread.max() / spread.min() > 5


def test_wrong_options() -> None:
    b = Builder()
    model = b.model(_chain(b))
    with pytest.raises(OnnxNormError, match="prepare must be 'int8'"):
        onnxnorm.optimize(model, prepare="int4")
    with pytest.raises(OnnxNormError, match="between 0 and 1"):
        Equalization(strength=2)


@pytest.mark.parametrize("options", [["--strength", "0.5"], ["--powers-of-two"], ["--calibration", "x.npz"]])
def test_options_of_nothing_are_refused(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = Builder()
    model = b.model(_chain(b))
    onnx.save(model, tmp_path / "in.onnx")
    assert cli.main(["optimize", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), *options]) != 0
    assert f"{options[0]} says how channels are made even: give --prepare int8" in capsys.readouterr().err
    assert not (tmp_path / "out.onnx").exists()
    with pytest.raises(OnnxNormError, match="give prepare or dtype"):
        onnxnorm.optimize(model, calibration=[random_feeds(model)])


def test_half_precision_makes_room() -> None:
    b = Builder(dtype=np.float32)
    x = b.node(
        "Conv", b.input((1, 3, 6, 6)), b.constant(b.normal(6, 3, 1, 1) * 3e4 * FACTORS.reshape(-1, 1, 1, 1) / 30)
    )
    model = b.model(b.node("Conv", b.node("Relu", x), b.constant(b.normal(4, 6, 1, 1) / 3e4)))
    result = onnxnorm.optimize(model, dtype="float16")
    assert any("scaled by powers of two" in note for note in result.notes), result.notes
    assert not any("stays" in note for note in result.notes)
    assert {tensor.data_type for tensor in result.model.graph.initializer} == {onnx.TensorProto.FLOAT16}


def test_the_command_line(tmp_path: Path) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_chain(b))
    onnx.save(model, tmp_path / "in.onnx")
    np.savez(tmp_path / "x.npz", **random_feeds(model))
    options = ["--prepare", "int8", "--calibration", str(tmp_path / "x.npz"), "--strength", "0.2", "--powers-of-two"]
    assert cli.main(["optimize", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), *options]) == 0
    assert _unevenness(onnx.load(tmp_path / "out.onnx")) < 0.2 * _unevenness(model)


def _noise_of_rounding(model: onnx.ModelProto, images: list[dict[str, np.ndarray]]) -> float:
    """How far the outputs are off with every weight rounded to int8, one scale for each tensor."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for tensor in rounded.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 4:
            step = np.abs(array).max() / 127
            tensor.CopyFrom(numpy_helper.from_array((np.round(array / step) * step).astype(array.dtype), tensor.name))
    (name,) = (output.name for output in model.graph.output)
    off = [evaluate_float64(rounded, feeds)[name] - evaluate_float64(model, feeds)[name] for feeds in images]
    return float(np.sqrt(np.mean(np.square(off))))


@pytest.mark.parametrize(("center", "apart"), [(3.0, True), (0.05, False)])
def test_branches_stay_apart_whose_sum_would_be_rounded_worse(center: float, apart: bool) -> None:
    """A RepVGG block: what its 1x1 branch adds in the middle of the 3x3 one decides how wide the step is."""
    b = Builder(dtype=np.float32)
    x = b.input((1, 8, 9, 9))
    wide = b.node("Conv", x, b.constant(0.1 * b.normal(8, 8, 3, 3)), pads=[1] * 4)
    narrow = b.node("Conv", x, b.constant((center * np.eye(8) + 0.01 * b.normal(8, 8))[..., None, None]))
    b.output(b.node("Sigmoid", b.node("Add", wide, narrow), out="out"), shape=(1, 8, 9, 9))
    model = b.model()
    result = onnxnorm.optimize(model, prepare="int8")
    convolutions = sum(node.op_type == "Conv" for node in result.model.graph.node)
    assert convolutions == (2 if apart else 1)
    assert any("branches of a sum stay apart" in note for note in result.notes) is apart
    merged = onnxnorm.optimize(model).model
    assert sum(node.op_type == "Conv" for node in merged.graph.node) == 1
    feeds = [random_feeds(model, seed=seed) for seed in range(3)]
    noise, merged_noise = _noise_of_rounding(result.model, feeds), _noise_of_rounding(merged, feeds)
    assert noise < 0.7 * merged_noise if apart else noise == pytest.approx(merged_noise, rel=0.2)


def _block(b: Builder, x: str, kind: str) -> str:
    """A sum of a convolution and what came in, through a norm; `kind` says which of the conditions does not hold."""
    scale = np.ones(6) if kind == "scale of one" else 0.5 + np.abs(b.normal(6))
    variance = np.full(6, 1.0 - 1e-5) if kind == "scale of one" else 1 + np.abs(b.normal(6))
    parameters = [b.constant(each) for each in (scale, b.normal(6), b.normal(6), variance)]
    wide = x if kind == "alone" else b.node("Conv", x, b.constant(0.1 * b.normal(6, 6, 3, 3)), pads=[1] * 4)
    side = b.node("BatchNormalization", x, *parameters)
    return side if kind == "alone" else b.node("Relu", b.node("Add", wide, side))


@pytest.mark.parametrize(("kind", "left"), [("identity branch", 2), ("scale of one", 0), ("alone", 0)])
def test_norms_stay_that_part_the_scales_of_a_residual_stream(kind: str, left: int) -> None:
    """Absorbed they would tie the scales of all blocks together, which int8 wants free."""
    b = Builder(dtype=np.float32)
    x = b.node("Relu", _made(b, b.input((1, 3, 6, 6)), 3))
    for _ in range(2):
        x = _block(b, x, kind)
    model = b.model(_read(b, x))

    def norms(result: onnxnorm.OptimizeResult[onnx.ModelProto]) -> int:
        return sum(node.op_type == "BatchNormalization" for node in result.model.graph.node)

    prepared = onnxnorm.optimize(model, prepare="int8")
    assert sum("int8 would round channels worse" in each.reason for each in prepared.declined) == left
    if left:
        absorbed = onnxnorm.optimize(onnxnorm.fold(model), prepare="int8")
        assert norms(prepared) == left and norms(absorbed) == 0
        feeds = [random_feeds(model, seed=seed) for seed in range(3)]
        noise, tied = _noise_of_rounding(prepared.model, feeds), _noise_of_rounding(absorbed.model, feeds)
        assert noise < tied, (noise, tied)
