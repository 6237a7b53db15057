"""What a constant would take is foreseen, also where ONNX's own arithmetic goes beyond 64 bits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxnorm.graph.constant_budget import ConstantBudget, foreseen_elements

X = np.zeros((3, 4), np.float32)


def _one(op_type: str, arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph([helper.make_node(op_type, list(arrays), ["y"])], "one", [], [], [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize(
    ("op_type", "arrays", "elements"),
    [
        ("Expand", {"x": X, "shape": np.array([2, 3, 4])}, 24),
        ("Pad", {"x": X, "pads": np.array([1, 0, 1, 0])}, 20),
        ("Tile", {"x": X, "repeats": np.array([2, 5])}, 120),
        ("Resize", {"x": X, "roi": np.zeros(0, np.float32), "scales": np.array([2.0, 1.0], np.float32)}, 24),
    ],
)
def test_a_small_result_is_foreseen_and_allowed(op_type: str, arrays: dict[str, np.ndarray], elements: int) -> None:
    assert foreseen_elements(_one(op_type, arrays), arrays) == elements
    assert ConstantBudget().allows(_one(op_type, arrays), arrays)


@pytest.mark.parametrize(
    ("op_type", "arrays"),
    [
        ("Expand", {"x": X, "shape": np.array([2**62, 3, 4])}),
        ("Pad", {"x": X, "pads": np.array([2**62, 0, 2**62, 0])}),
        ("Tile", {"x": X, "repeats": np.array([2**62, 2**62])}),
        ("Resize", {"x": X, "roi": np.zeros(0, np.float32), "scales": np.array([1e30, 1.0], np.float32)}),
        ("Range", {"start": np.array(0), "limit": np.array(2**62), "delta": np.array(1)}),
    ],
)
def test_what_is_beyond_every_memory_is_not_allowed(op_type: str, arrays: dict[str, np.ndarray]) -> None:
    assert not ConstantBudget().allows(_one(op_type, arrays), arrays)
