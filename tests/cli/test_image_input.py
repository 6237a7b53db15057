"""Tests of the options of preprocessing, onnxnorm/cli/image_input.py."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnorm import cli
from onnxnorm.cli.image_input import add_image_arguments, image_arguments, image_options
from testing.builder import Builder
from tests.cli.samples import Captured, fails

OPTIONS = ["--mean", "0.5,0.25,1/8", "--std", "0.5", "--scale", "1/255", "--input-layout", "NHWC"]
OPTIONS += ["--input-dtype", "uint8", "--swap-rb", "--image-input", "image"]


def _parsed(options: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_image_arguments(parser)
    return parser.parse_args(options)


def _write(path: Path) -> None:
    b = Builder(dtype=np.float32)
    onnx.save(b.model(b.node("Relu", b.conv(b.input((1, 3, 4, 4), name="image"), 3, 2, (1, 1)))), path)


def test_the_options_mean_what_the_function_takes() -> None:
    assert image_arguments(_parsed(OPTIONS)) == {
        "normalize_input": {"mean": [0.5, 0.25, 0.125], "std": [0.5], "scale": 1 / 255, "input": "image"},
        "input_layout": "NHWC",
        "input_dtype": "uint8",
        "swap_rb": True,
    }
    assert not any(image_arguments(_parsed([])).values())


@pytest.mark.parametrize("options", [OPTIONS, ["--mean=-1.5"], []])
def test_the_options_are_handed_on_to_each_of_many_models(options: list[str]) -> None:
    given = _parsed(options)
    assert _parsed(image_options(given)) == given


def test_optimize_puts_the_preprocessing_in_front(tmp_path: Path) -> None:
    _write(tmp_path / "in.onnx")
    assert cli.main(["optimize", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), *OPTIONS]) == 0
    graph = onnx.load(tmp_path / "out.onnx").graph
    assert [node.op_type for node in graph.node] == ["Transpose", "Cast", "Conv", "Relu"]
    assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [1, 4, 4, 3]


def test_many_models(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "in").mkdir()
    for name in "a":
        _write(tmp_path / "in" / f"{name}.onnx")
    assert cli.main(["optimize", str(tmp_path / "in"), str(tmp_path / "out"), *OPTIONS]) == 0
    for name in "a":
        assert onnx.load(tmp_path / "out" / f"{name}.onnx").graph.node[0].op_type == "Transpose"


def test_mistakes(tmp_path: Path, capsys: Captured) -> None:
    _write(tmp_path / "in.onnx")
    model, output = str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx")
    assert "a std of zero" in fails(capsys, 2, "optimize", model, output, "--std", "0")
    assert "no number such as 0.5 or 1/255" in fails(capsys, 2, "optimize", model, output, "--mean", "red")
