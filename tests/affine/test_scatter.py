"""Affines behind what is written into other values; the expected results are those of onnxruntime unoptimized."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

from onnxnorm import optimize
from testing.builder import Builder, affines, random_feeds, session
from tests.affine.pairs import MIXED, SHIFT


def _pillars(b: Builder, rows: int, shift: tuple[float, ...] | None) -> str:
    """Features of points, written at their places among zeros, with an affine behind."""
    features = b.node("MatMul", b.input((3, 5)), b.constant(b.normal(5, 4)))
    zero = numpy_helper.from_array(np.zeros(1))
    canvas = b.node("ConstantOfShape", b.constant(np.array([rows, 4])), value=zero)
    written = b.node("ScatterND", canvas, b.constant(np.array([[2], [0], [4]])), features)
    scaled = b.node("Mul", written, b.constant(np.array(MIXED)))
    return b.node("Sigmoid", scaled if shift is None else b.node("Add", scaled, b.constant(np.array(shift))))


@pytest.mark.parametrize("rows", [8, 100_000])
@pytest.mark.parametrize("shift", [None, SHIFT])
def test_zeros_among_which_values_are_written(rows: int, shift: tuple[float, ...] | None) -> None:
    b = Builder()
    model = b.model(_pillars(b, rows, shift))
    result = optimize(model, verify=False)
    feeds = random_feeds(model)
    (expected,) = session(model).run(None, feeds)
    for level in (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ):
        np.testing.assert_allclose(session(result.model, level).run(None, feeds)[0], expected, rtol=1e-5, atol=1e-6)
    # Scaled zeros are zeros, whatever their number; shifted ones would have to be stored.
    stored = shift is not None and rows > 8
    adds = [node for node in result.model.graph.node if node.op_type == "Add"]
    assert affines(result.model) == len(adds) == int(stored)
    assert result.model.ByteSize() < model.ByteSize() + 1024
    assert not optimize(result.model, verify=False).rewrites
