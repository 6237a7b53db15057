"""Tests of `onnxnorm profile`, onnxnorm/cli/profile.py and profile_tables.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm import cli
from tests.cli.samples import Captured, conv_bn_lrn, fails

WORDS = ("--repeat", "2", "--threads", "1")


def _told(capsys: Captured, *words: object) -> list[dict]:
    assert cli.main(["profile", *map(str, words), *WORDS, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["models"]


def test_a_model_is_profiled_before_and_after(capsys: Captured, model_path: Path) -> None:
    before, after = _told(capsys, model_path, "--as-written")
    assert (before["model"], after["model"]) == (str(model_path), "optimized")
    assert {node["node"] for node in before["nodes"]} == {"conv", "bn", "relu", "lrn"}
    assert "BatchNormalization" not in after["operators"]
    # What the convolution multiplies is the same, and a pass over the tensor is saved.
    assert before["operators"]["Conv"]["multiply_adds"] == after["operators"]["Conv"]["multiply_adds"] == 64 * 4 * 27
    assert before["operators"]["BatchNormalization"]["bytes"] == 4 * (2 * 4 * 64 + 4 * 4)
    for model in (before, after):
        assert model["runs"] == 2 and model["ms"] > 0
        assert model["multiply_adds"] == sum(node["multiply_adds"] for node in model["nodes"])
        assert model["bytes"] == sum(each["bytes"] for each in model["operators"].values())


def test_two_models_and_one_alone(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    onnxnorm.fold(model_path).save(tmp_path / "folded.onnx")
    names = [model["model"] for model in _told(capsys, model_path, tmp_path / "folded.onnx", "--shape", "x:2,3,8,8")]
    assert names == [str(model_path), str(tmp_path / "folded.onnx")]
    (alone,) = _told(capsys, model_path, "--alone", "--as-written", "--shape", "x:2,3,8,8")
    assert alone["multiply_adds"] == 2 * 64 * 4 * 27


def test_tables_and_trace(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    words = ["profile", str(model_path), "--as-written", "--top", "1", "--trace", str(path), *WORDS]
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{model_path} -> optimized: ") and "multiply-adds" in lines[0]
    (row,) = [line for line in lines if line.startswith("BatchNormalization")]
    assert "1 -> -" in row and "528" not in row
    assert any(line.startswith("and ") and "more nodes" in line for line in lines)
    events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    assert {event["args"]["name"] for event in events if event["ph"] == "M"} == {str(model_path), "optimized"}


def test_the_mistakes_of_a_caller_are_told(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    assert "does not exist" in fails(capsys, 2, "profile", model_path, "--trace", tmp_path / "no" / "t.json")
    assert "'nosuch'" in fails(capsys, 2, "profile", model_path, "--alone", "--shape", "nosuch:1")
    assert "cannot read" in fails(capsys, 2, "profile", tmp_path / "missing.onnx")
    model = conv_bn_lrn(open_batch=False)
    model.graph.node.append(onnx.helper.make_node("Reshape", ["y", "dims"], ["z"], name="reshape"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, 11], np.int64), "dims"))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("z", 1, None))
    onnx.save(model, tmp_path / "wrong.onnx")
    for command in (["profile", "--alone"], ["run"]):
        told = fails(capsys, 1, *command, tmp_path / "wrong.onnx")
        assert "wrong.onnx: onnxruntime could not run it: " in told and "'reshape'" in told
        assert "onnxruntime_src" not in told and "ONNXRuntimeError" not in told


@pytest.mark.parametrize("options", [("--portable",), ()])
def test_kernels_of_this_project_are_profiled(capsys: Captured, tmp_path: Path, options: tuple[str, ...]) -> None:
    onnxnorm.optimize(conv_bn_lrn(), target="onnxruntime").save(tmp_path / "fast.onnx")
    (model,) = _told(capsys, tmp_path / "fast.onnx", "--alone", *options)
    assert all(node["bytes"] > 0 for node in model["nodes"])
