"""Tests of onnxnorm/_blocks.py against the same product in one go."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxnorm._blocks import scaled


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 5), (300, 700), (2, 90_000), (4, 3, 200, 200), (200_000,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
def test_blocks_give_the_product_rounded_once(shape: tuple[int, ...], dtype: type) -> None:
    random = np.random.default_rng(3)
    old = random.normal(size=shape).astype(dtype)
    factors = [
        random.normal(size=[1 if axis == kept else extent for axis, extent in enumerate(shape)]) for kept in (0, 1)
    ]
    exact = old.astype(np.float64) * factors[0] * factors[1]
    for channel_axis in (None, *range(len(shape))):
        found = scaled(old, factors, dtype, channel_axis)
        assert found.array.shape == shape and found.array.dtype == dtype
        assert found.array.tobytes() == exact.astype(dtype).tobytes()
        others = None if channel_axis is None else tuple(axis for axis in range(len(shape)) if axis != channel_axis)
        np.testing.assert_array_equal(found.largest, np.abs(exact).max(axis=others, initial=0.0))
        assert found.finite


def test_what_overflows_or_is_nan_is_told() -> None:
    old = np.array([[1.0, 2.0], [np.nan, 3.0]], np.float16)
    found = scaled(old, [np.array([[1e5], [1.0]])], np.float16, 0)
    assert not found.finite
    np.testing.assert_array_equal(found.largest, [2e5, 3.0])
    assert scaled(old[:1], [np.array([[2.0]])], np.float16).finite
