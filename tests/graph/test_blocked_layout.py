"""What folding leaves of a BatchNormalization among convolutions is one that onnxruntime computes in its blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxnorm
from testing.builder import Builder, affines, count, same_in_onnxruntime
from testing.optimized import operators_in_onnxruntime


def _residual(channels: int, rank: int = 4) -> onnx.ModelProto:
    """A norm behind the Relu of a residual sum, which its scale passes and its shift does not."""
    b, sides = Builder(dtype=np.float32), rank - 2
    x = b.input((1, channels, *[8] * sides))

    def conv(value: str) -> str:
        weight = b.constant(b.normal(channels, channels, *[3] * sides) * 0.2)
        return b.node("Conv", value, weight, b.constant(b.normal(channels)), pads=[1] * 2 * sides)

    first = b.node("Relu", conv(x))
    total = b.node("Relu", b.node("Add", first, conv(b.node("Relu", conv(first)))))
    normed = b.batch_norm(total, channels, "positive")
    return b.model(b.node("Relu", b.node("Add", normed, conv(b.node("Relu", conv(normed))))))


def _nodes_that_run(model: onnx.ModelProto, folder: Path) -> int:
    return len(operators_in_onnxruntime(model, folder))


@pytest.mark.parametrize("target", ["portable", "onnxruntime"])
def test_no_constant_sum_parts_convolutions_that_run_in_blocks(target: str, tmp_path: Path) -> None:
    model = _residual(8)
    result = onnxnorm.optimize(model, target=target).model
    assert count(result, "BatchNormalization") == 1
    assert _nodes_that_run(result, tmp_path) <= _nodes_that_run(model, tmp_path)
    same_in_onnxruntime(model, result)


@pytest.mark.parametrize(("channels", "rank"), [(8, 3), (6, 4)])
def test_elsewhere_a_shift_that_is_left_is_a_sum(channels: int, rank: int) -> None:
    model = _residual(channels, rank)
    result = onnxnorm.optimize(model).model
    assert count(result, "BatchNormalization") == 0
    assert affines(result) == 1 + 2
    same_in_onnxruntime(model, result)
