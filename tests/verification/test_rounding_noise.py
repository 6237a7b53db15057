"""Weights that are moved by one rounding keep everything else."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnorm.verification.rounding_noise import shake, shaken_weights
from testing.builder import Builder


def _norm_with_a_scalar_for_bias(dtype: np.dtype) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    b = Builder(dtype=dtype)
    given = {"scalar": np.asarray(1.1, dtype), "scale": np.asarray([0.7], dtype)}
    names = {each: b.constant(array) for each, array in given.items()}
    bias = b.node("Unsqueeze", names["scalar"], b.constant(np.array([0])))
    y = b.node("InstanceNormalization", b.input((2, 1, 4)), names["scale"], bias)
    return b.model(y), {names[each]: array for each, array in given.items()}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_shapes_stay_and_elements_move_by_one_step_at_most(dtype: np.dtype) -> None:
    model, given = _norm_with_a_scalar_for_bias(dtype)
    names = shaken_weights(model)
    assert set(names) == set(given)
    moved = set()
    for seed in range(8):
        shaken = shake(model, names, np.random.default_rng(seed))
        assert shaken is not None
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in shaken.graph.initializer}
        for name, before in given.items():
            after = arrays[name]
            assert (after.shape, after.dtype) == (before.shape, before.dtype)
            roundoff = float(ml_dtypes.finfo(before.dtype).eps)
            assert abs(float(after.item()) - float(before.item())) <= roundoff * abs(float(before.item()))
            if after.item() != before.item():
                moved.add(name)
    assert moved == set(given)


@pytest.mark.parametrize("still", [0.0, np.inf, np.nan])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_what_has_no_neighbours_of_its_kind_stays(still: float, shape: tuple[int, ...]) -> None:
    b = Builder(dtype=np.float32)
    weight = b.constant(np.full(shape, still, np.float32))
    model = b.model(b.node("MatMul", b.input((2, 2)), weight))
    shaken = shake(model, (weight,), np.random.default_rng(0))
    assert shaken is not None
    (after,) = (numpy_helper.to_array(tensor) for tensor in shaken.graph.initializer)
    np.testing.assert_array_equal(after, np.full(shape, still, np.float32))
