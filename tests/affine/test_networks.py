"""Whole random networks: whatever is folded, nothing is ever wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm._evaluate import evaluate_float64
from tests.affine.networks import random_network


@pytest.mark.parametrize("seed", range(40))
def test_folding_a_random_network_changes_no_result(seed: int) -> None:
    random = np.random.default_rng(seed)
    model = random_network(seed, int(random.integers(5, 60)))
    feeds = {
        value.name: random.normal(size=[dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in model.graph.input
    }
    before = evaluate_float64(model, feeds)
    result = onnxnorm.fold(model).model
    onnx.checker.check_model(result, full_check=True)
    after = evaluate_float64(result, feeds)
    assert list(after) == list(before)
    for name, expected in before.items():
        size = np.abs(expected).max(initial=0.0)
        # In double precision an exact rewriting differs by some 1e-13, a wrong one by about one.
        np.testing.assert_allclose(after[name], expected, rtol=0.0, atol=1e-8 * size, err_msg=name)
