"""Tests of the ranges of weights: channels by operator, the worst ratio, and which layers lose accuracy in int8."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxnorm import cli
from onnxnorm.io.load_and_save import load
from onnxnorm.prepare.ranges import weight_ranges
from testing.builder import Builder
from tests.cli.samples import Captured

SIZES = (4.0, 1.0, 0.125, 0.0, 2.0, 0.5)


def _weight(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Numbers of magnitude one times the size of their channel."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], shape)
    return signs * np.reshape(SIZES, [-1 if each == axis else 1 for each in range(len(shape))])


def _model(operator: str) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    if operator == "Conv":
        return b.model(b.node("Conv", b.input((1, 3, 4, 4)), b.constant(_weight((6, 3, 1, 1), 0))))
    if operator == "ConvTranspose":
        return b.model(b.node("ConvTranspose", b.input((1, 3, 4, 4)), b.constant(_weight((3, 6, 1, 1), 1))))
    if operator == "ConvTranspose in groups":
        own = np.concatenate([_weight((2, 6, 1, 1), 1)[:, :3], _weight((2, 6, 1, 1), 1)[:, 3:]])
        return b.model(b.node("ConvTranspose", b.input((1, 4, 4, 4)), b.constant(own), group=2))
    if operator == "Gemm transB":
        return b.model(b.node("Gemm", b.input((2, 3)), b.constant(_weight((6, 3), 0)), transB=1))
    return b.model(b.node(operator, b.input((2, 3)), b.constant(_weight((3, 6), 1))))


@pytest.mark.parametrize(
    "operator", ["Conv", "ConvTranspose", "ConvTranspose in groups", "Gemm", "Gemm transB", "MatMul"]
)
def test_the_channels_of_each_operator(operator: str) -> None:
    (record,) = weight_ranges(load(_model(operator)))
    assert record.ranges == SIZES and record.ratio == 32.0
    # 127 / 32 steps are left to one of five channels, that of zeros aside.
    assert record.poor == 1 and record.loses_accuracy


def test_even_channels_lose_nothing() -> None:
    b = Builder(dtype=np.float32)
    model = b.model(b.node("MatMul", b.input((2, 3)), b.constant(np.ones((3, 6)))))
    (record,) = weight_ranges(load(model))
    assert record.ratio == 1.0 and record.poor == 0 and not record.loses_accuracy


def test_quantized_weights_are_read_and_computed_ones_are_not() -> None:
    b = Builder(dtype=np.float32)
    scales = b.constant(np.array(SIZES) + 1.0)
    made = b.node("DequantizeLinear", b.constant(np.ones((3, 6), np.int8)), scales, axis=1)
    x = b.node("MatMul", b.input((2, 3)), made)
    model = b.model(b.node("MatMul", x, b.node("Transpose", x)))
    (record,) = weight_ranges(load(model))
    assert record.ratio == 5.0


def test_inspect_compares_before_and_after(tmp_path: Path, capsys: Captured) -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3))
    x = b.node("Relu", b.affine(x, (100.0, 1.0, 0.1, 1.0), (0.0,) * 4))
    onnx.save(b.model(b.conv(x, 4, 2, (1, 1))), tmp_path / "in.onnx")
    assert cli.main(["inspect", str(tmp_path / "in.onnx"), "--ranges", "--json"]) == 0
    ranges = json.loads(capsys.readouterr().out)["ranges"]
    worst = {name: max(record["ratio"] for record in records) for name, records in ranges.items()}
    assert worst["optimized"] > 100 > worst["equalized"] and worst["as it is"] < 100
    assert cli.main(["inspect", str(tmp_path / "in.onnx"), "--ranges"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any(row[:1] == ["optimized"] for row in rows) and next(r[:1] for r in rows if "equalized" in r) == [
        "equalized"
    ]
