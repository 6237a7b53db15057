"""Tests of `onnxnorm verify`, onnxnorm/cli/verify.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx

from onnxnorm import cli
from tests.cli.samples import Captured, conv_bn_lrn, fails


def test_verify_tells_equal_models_from_others_by_its_exit_code(
    capsys: Captured, tmp_path: Path, model_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(conv_bn_lrn(bias=1.01), other)
    assert cli.main(["verify", str(model_path), str(model_path)]) == 0
    assert "passed" in capsys.readouterr().out.lower()
    assert cli.main(["verify", str(model_path), str(other)]) == 1
    captured = capsys.readouterr()
    assert "failed" in captured.out.lower()
    assert captured.err == ""


def test_verify_as_json_on_given_inputs(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    inputs = tmp_path / "x.npz"
    np.savez(inputs, x=np.ones((2, 3, 8, 8), np.float32))
    assert cli.main(["verify", str(model_path), str(model_path), "--inputs", str(inputs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_verify_takes_shapes(capsys: Captured, model_path: Path) -> None:
    assert cli.main(["verify", str(model_path), str(model_path), "--shape", "5,3,8,8", "--json"]) == 0
    assert "5" in capsys.readouterr().out
    message = fails(capsys, 2, "verify", model_path, model_path, "--shape", "x:5,3,8,9")
    assert "'x'" in message
    message = fails(capsys, 2, "verify", model_path, model_path, "--shape", "nosuch:1")
    assert "'nosuch'" in message


def test_verify_refuses_wrong_inputs(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    inputs = tmp_path / "x.npz"
    np.savez(inputs, nosuch=np.ones(2))
    assert "x" in fails(capsys, 2, "verify", model_path, model_path, "--inputs", inputs)
    assert "missing.npz" in fails(capsys, 2, "verify", model_path, model_path, "--inputs", tmp_path / "missing.npz")
