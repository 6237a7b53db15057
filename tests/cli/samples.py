"""A small model, and how the tests of the command line run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm import cli

__all__ = ["ROOT", "Captured", "command_line", "conv_bn_lrn", "fails"]

ROOT = Path(__file__).resolve().parent.parent.parent

Captured = pytest.CaptureFixture[str]


def conv_bn_lrn(*, open_batch: bool = True, channels: int = 4, bias: float = 1.0) -> onnx.ModelProto:
    """Conv, a BatchNormalization that folds into it, Relu, and an LRN that stays."""
    rng = np.random.default_rng(7)

    def constant(name: str, array: np.ndarray[Any, Any]) -> onnx.TensorProto:
        return numpy_helper.from_array(array.astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], name="bn"),
        helper.make_node("Relu", ["b"], ["r"], name="relu"),
        helper.make_node("LRN", ["r"], ["y"], name="lrn", size=3, bias=bias),
    ]
    initializers = [
        constant("w", rng.normal(size=(channels, 3, 3, 3))),
        constant("scale", rng.normal(size=channels)),
        constant("shift", rng.normal(size=channels)),
        constant("mean", rng.normal(size=channels)),
        constant("var", rng.uniform(0.5, 2, size=channels)),
    ]
    batch = "N" if open_batch else 1
    graph = helper.make_graph(
        nodes,
        "conv_bn_lrn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, channels, 8, 8])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def command_line(*arguments: str | Path, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "onnxnorm", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def fails(capsys: Captured, code: int, *arguments: str | Path) -> str:
    """Runs a command line that has to fail in one line on stderr; returns what that line says."""
    assert cli.main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("onnxnorm: error: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err.removeprefix("onnxnorm: error: ").strip()
