"""Tests of corrected biases: with int8 weights each layer has its float mean again, and what is proved is told."""

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
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.passes import Equalization
from onnxnorm.prepare.bias_correction import correct_biases
from testing.builder import Builder, random_feeds

SPREAD = np.array([1.0, 0.02, 0.3, 0.05, 0.6, 0.01])


def _weight(b: Builder, *shape: int, axis: int = 0) -> str:
    """A weight of which int8 with one scale keeps little: channels of different size, all of one sign."""
    size = SPREAD.reshape([-1 if each == axis else 1 for each in range(len(shape))])
    return b.constant(np.abs(b.normal(*shape)) * size, name="weight")


def _positive(b: Builder, *shape: int) -> str:
    return b.node("Exp", b.input(shape))


def _conv(b: Builder) -> str:
    weight = _weight(b, 6, 3, 3, 3)
    return b.node("Conv", _positive(b, 2, 3, 6, 5), weight, b.constant(b.normal(6)), pads=[1, 0, 2, 1], strides=[2, 1])


def _conv_without_bias(b: Builder) -> str:
    return b.node("Conv", _positive(b, 2, 6, 6, 5), _weight(b, 6, 2, 3, 3), group=3, pads=[1] * 4)


def _transposed(b: Builder) -> str:
    weight = _weight(b, 4, 6, 3, axis=1)
    return b.node("ConvTranspose", _positive(b, 2, 4, 5), weight, b.constant(b.normal(6)), strides=[2])


def _gemm(b: Builder) -> str:
    return b.node(
        "Gemm", _positive(b, 3, 5), _weight(b, 6, 5), b.constant(b.normal(1, 6)), transB=1, alpha=0.5, beta=2.0
    )


def _gemm_and_a_number(b: Builder) -> str:
    return b.node("Gemm", _positive(b, 3, 5), _weight(b, 5, 6, axis=1), b.constant(np.array(0.5)))


def _product_and_sum(b: Builder) -> str:
    x = b.node("MatMul", _positive(b, 2, 4, 5), _weight(b, 5, 6, axis=1))
    return b.node("Add", b.constant(b.normal(6)), x)


LAYERS = [_conv, _conv_without_bias, _transposed, _gemm, _gemm_and_a_number, _product_and_sum]


def _in_int8(model: onnx.ModelProto, weight: np.ndarray, axis: int | None) -> onnx.ModelProto:
    """The model with this weight rounded to 255 symmetric steps."""
    others = None if axis is None else tuple(each for each in range(weight.ndim) if each != axis)
    scale = np.abs(weight).max(axis=others, keepdims=True) / np.float32(127)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name == "weight":
            tensor.CopyFrom(numpy_helper.from_array((np.round(weight / scale) * scale).astype(np.float32), "weight"))
    return copy


def _mean(model: onnx.ModelProto, samples: list[dict[str, np.ndarray]], axis: int) -> np.ndarray:
    runs = [np.moveaxis(next(iter(evaluate_float64(model, feeds).values())), axis, 0) for feeds in samples]
    means: np.ndarray = np.mean([run.reshape(len(run), -1).mean(axis=1) for run in runs], axis=0)
    return means


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("build", LAYERS)
def test_rounded_weights_give_the_means_of_the_float_model(
    build: Callable[[Builder], str], opset: int, per_channel: bool
) -> None:
    b = Builder(dtype=np.float32, opset=opset)
    model = b.model(build(b))
    given = model.SerializeToString(deterministic=True)
    samples = [random_feeds(model, seed=seed) for seed in range(3)]
    (weight,) = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == "weight")
    rows = weight.shape.index(6) if build is not _conv_without_bias else 0
    channels = 1 if weight.ndim > 2 else -1
    work = load(model)
    done = correct_biases(work, samples, per_channel=per_channel)
    result = to_proto(work)
    onnx.checker.check_model(result, full_check=True)
    assert (done.layers, done.left) == (1, 0) and model.SerializeToString(deterministic=True) == given
    wanted = _mean(model, samples, channels)
    off = [
        np.abs(_mean(_in_int8(each, weight, rows if per_channel else None), samples, channels) - wanted).max()
        for each in (model, result)
    ]
    assert off[1] < 2e-6 * np.abs(wanted).max() and off[1] < 0.01 * off[0], off


def _without_a_bias(b: Builder) -> str:
    return b.node("Relu", b.node("MatMul", _positive(b, 2, 5), _weight(b, 5, 6, axis=1)))


def _computed_bias(b: Builder) -> str:
    return b.node("Conv", _positive(b, 1, 3, 6, 5), _weight(b, 6, 3, 3, 3), b.node("Relu", b.input((6,), name="bias")))


def _bias_of_rows(b: Builder) -> str:
    return b.node("Gemm", _positive(b, 3, 5), _weight(b, 5, 6, axis=1), b.constant(b.normal(3, 1)))


@pytest.mark.parametrize("build", [_without_a_bias, _computed_bias, _bias_of_rows])
def test_layers_without_a_bias_of_channels_are_counted(build: Callable[[Builder], str]) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(build(b))
    result = onnxnorm.optimize(
        model, prepare=Equalization(correct_biases="tensor"), calibration=[random_feeds(model)], passes=["clean"]
    )
    assert any("no bias is corrected" in note and "no layer" in note for note in result.notes), result.notes
    assert result.report is not None and not any("corrected" in note for note in result.report.notes)


def _two_layers(b: Builder) -> str:
    x = b.node("Sigmoid", b.node("Conv", _positive(b, 1, 3, 6, 6), _weight(b, 6, 3, 3, 3)))
    return b.node("Conv", x, b.constant(np.abs(b.normal(4, 6, 1, 1)) / SPREAD.reshape(1, -1, 1, 1)))


def test_what_is_proved_and_what_is_not_is_told() -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_two_layers(b))
    samples = [random_feeds(model, seed=seed) for seed in range(2)]
    choices = Equalization(strength=0.0, correct_biases="tensor")
    result = onnxnorm.optimize(model, prepare=choices, calibration=samples)
    (note,) = [note for note in result.notes if "are corrected for int8 weights" in note]
    assert "2 layers" in note and "as it was proved, is changed by" in note
    assert result.report is not None and result.report.passed
    assert any("before its biases are corrected" in note for note in result.report.notes)
    facts = {entry.key: entry.value for entry in result.model.metadata_props}
    assert facts["onnxnorm.biases"] == "corrected for int8 after the verification"
    assert not onnxnorm.verify(model, result.model)
    plain = onnxnorm.optimize(model, prepare="int8", calibration=samples)
    assert plain.report is not None and not any("corrected" in note for note in (*plain.notes, *plain.report.notes))


def test_weights_of_whole_steps_leave_nothing_to_correct() -> None:
    b = Builder(dtype=np.float32)
    steps = b.random.integers(-126, 127, (6, 3, 3, 3)).astype(float)
    steps[0, 0, 0, 0] = 127.0
    model = b.model(b.node("Conv", _positive(b, 1, 3, 6, 6), b.constant(steps)))
    result = onnxnorm.optimize(model, prepare=Equalization(correct_biases="tensor"), calibration=[random_feeds(model)])
    assert any("no bias is corrected" in note for note in result.notes)
    assert onnxnorm.verify(model, result.model)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 0.0])
def test_weights_that_are_not_finite_or_all_zero_stay(odd: float) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(b.node("Conv", _positive(b, 1, 3, 6, 6), b.constant(np.full((6, 3, 3, 3), odd))))
    done = correct_biases(load(model), [random_feeds(model)])
    assert done.layers == 0 and not done.helps


def test_wrong_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_two_layers(b))
    with pytest.raises(OnnxNormError, match="give calibration"):
        onnxnorm.optimize(model, prepare=Equalization(correct_biases="tensor"))
    with pytest.raises(OnnxNormError, match="correct_biases must be tensor or channel"):
        Equalization(correct_biases="row")
    onnx.save(model, tmp_path / "in.onnx")
    command = ["optimize", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--correct-biases", "tensor"]
    for options, told in (
        ([], "give --prepare int8"),
        (["--prepare", "int8"], "give --calibration"),
    ):
        assert cli.main([*command, *options]) != 0
        assert told in capsys.readouterr().err and not (tmp_path / "out.onnx").exists()


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_two_layers(b))
    onnx.save(model, tmp_path / "in.onnx")
    np.savez(tmp_path / "x.npz", **random_feeds(model))
    options: list[Any] = ["--prepare", "int8", "--calibration", tmp_path / "x.npz", "--correct-biases", "channel"]
    assert cli.main(["optimize", *map(str, (tmp_path / "in.onnx", tmp_path / "out.onnx", *options))]) == 0
    told = capsys.readouterr().out
    assert "with one scale for each channel" in told and "verified is the model as it is before" in told
