"""Tests of comparisons by tolerance, for results that lose accuracy on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnorm import OnnxNormError, cli
from onnxnorm.verification.tolerance import Tolerance
from onnxnorm.verification.verify import verify
from testing.builder import Builder


def _network(dtype: Any = np.float32, *, outputs: tuple[str, ...] = ("y", "z")) -> onnx.ModelProto:
    b = Builder(dtype=dtype)
    x = b.input(("n", 3, 8, 8))
    x = b.node("Relu", b.conv(x, 3, 4, (3, 3), name="first"))
    one = b.node("Tanh", x, out=outputs[0])
    two = b.conv(x, 4, 5, (3, 3), name="second", out=outputs[1])
    return b.model(one, two)


def _with_short_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Round the weights to half precision, which leaves about three digits."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        short = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(short, tensor.name))
    return copy


@pytest.mark.parametrize(
    ("loose", "tight"),
    [
        ({"atol": 0.1}, {"atol": 1e-6}),
        ({"rtol": 0.01, "atol": 0.01}, {"rtol": 1e-6}),
        ({"cosine": 0.999}, {"cosine": 1.0}),
        ({"snr": 40.0}, {"snr": 120.0}),
        ({"snr": 40.0, "cosine": 0.999, "atol": 0.1}, {"snr": 40.0, "cosine": 0.999, "atol": 1e-6}),
    ],
)
def test_a_tolerance_decides_alone(loose: dict[str, float], tight: dict[str, float]) -> None:
    model = _network()
    short = _with_short_weights(model)
    assert not verify(model, short), "without a tolerance it is a matter of proof"
    report = verify(model, short, **loose)
    assert report.passed and all(0.9999 < output.cosine < 1 for output in report.outputs if output.cosine)
    failed = verify(model, short, **tight)
    assert not failed.passed and failed.place is None
    said = {"atol": "times the tolerance", "rtol": "times the tolerance", "cosine": "cosine", "snr": "signal-to-noise"}
    assert any(said[kind] in str(failed) for kind in tight)


def test_the_figures_are_those_of_the_formulas() -> None:
    model = _network()
    inputs = {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    short = _with_short_weights(model)
    report = verify(model, short, inputs, atol=1.0)
    import onnxruntime

    seen = [
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
        for each in (model, short)
    ]
    for output, right, got in zip(report.outputs, *seen, strict=True):
        one, two = right.astype(np.float64).ravel(), got.astype(np.float64).ravel()
        assert output.cosine == pytest.approx(one @ two / np.sqrt((one @ one) * (two @ two)), abs=1e-9)
        assert output.snr == pytest.approx(10 * np.log10((one @ one) / ((one - two) @ (one - two))), abs=0.01)
        assert output.error_result == pytest.approx(np.abs(one - two).max(), rel=1e-2)


def test_another_real_type_is_a_matter_of_tolerance() -> None:
    model, half = _network(), _network(np.float16)
    assert "has the type" in str(verify(model, half))
    assert verify(model, half, rtol=0.05, atol=0.05)
    assert not verify(model, half, atol=1e-6)


def test_outputs_may_have_other_names_and_another_order() -> None:
    model = _network()
    other = _network(outputs=("first out", "z"))
    del other.graph.output[:]
    for name in ("z", "first out"):
        other.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    for each in other.graph.output:
        each.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    assert not verify(model, other)
    assert verify(model, other, renamed={"y": "first out"})
    # Names may change places too: then the outputs do not compute the same.
    assert not verify(model, _network(), renamed={"y": "z", "z": "y"})
    with pytest.raises(OnnxNormError, match="the result has no output 'nosuch'"):
        verify(model, other, renamed={"y": "nosuch"})


@pytest.mark.parametrize("wrong", [{"atol": -1.0}, {"rtol": float("inf")}, {"cosine": 2.0}, {"snr": float("nan")}])
def test_a_tolerance_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OnnxNormError, match=next(iter(wrong))):
        Tolerance(**wrong)


def test_infinities_and_shapes_are_no_matter_of_tolerance() -> None:
    def model(op_type: str) -> onnx.ModelProto:
        b = Builder(dtype=np.float32)
        return b.model(b.node(op_type, b.input((2, 3)), out="y"))

    assert not verify(model("Identity"), model("Log"), {"x": np.zeros((2, 3), np.float32)}, cosine=-1.0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _network()
    one, two = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(model, one)
    onnx.save(_with_short_weights(_network(outputs=("new", "z"))), two)
    paths = ["verify", str(one), str(two), "--map", "y=new"]
    assert cli.main(paths) == 1
    assert cli.main([*paths, "--rtol", "0.01", "--atol", "0.01"]) == 0
    assert cli.main([*paths, "--snr", "100"]) == 1
    capsys.readouterr()
    assert cli.main([*paths, "--cosine", "0.99", "--layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["value", "node", "operator"]
    assert any("first" in line and "Conv" in line for line in lines)
    assert cli.main([*paths, "--cosine", "0.99", "--layers", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["outputs"][0]["cosine"] > 0.99 and {"value", "error_result"} <= record["layers"][0].keys()
    assert cli.main(["verify", str(one), str(two), "--map", "y"]) == 2
