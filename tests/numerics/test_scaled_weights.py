"""Tests of onnxnorm/numerics/scaled_weights.py against the same product in one go."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxnorm.numerics.scaled_weights import scaled

SHAPES = [(), (0, 3), (7,), (3, 5), (300, 700), (2, 90_000), (4, 3, 200, 200), (200_000,), (1500, 1600)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
def test_blocks_give_the_product_rounded_once(shape: tuple[int, ...], dtype: type) -> None:
    random = np.random.default_rng(3)
    old = random.normal(size=shape).astype(dtype)
    for kept in range(max(1, len(shape))):
        factors = random.normal(size=[1 if axis == kept else extent for axis, extent in enumerate(shape)])
        exact = old.astype(np.float64) * factors
        for channel_axis in (None, *range(len(shape))):
            others = None if channel_axis is None else tuple(axis for axis in range(len(shape)) if axis != channel_axis)
            largest = np.abs(exact).max(axis=others, initial=0.0)
            for smallest in (0.0, float(np.median(largest)) if largest.size else 1.0):
                found = scaled(old, factors, dtype, channel_axis, smallest)
                assert found.array.shape == shape and found.array.dtype == dtype
                assert found.array.tobytes() == exact.astype(dtype).tobytes()
                assert found.finite
                assert found.underflows == bool(np.any((largest > 0) & (largest < smallest)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_overflows_or_is_nan_is_told(dtype: type) -> None:
    huge = float(np.finfo(dtype).max)
    old = np.array([[1.0, 2.0], [np.nan, 3.0]], dtype)
    assert not scaled(old, np.array([[1.0], [1.0]]), dtype, 0).finite
    assert not scaled(old[:1], np.array([[huge]]), dtype, 0).finite
    assert scaled(old[:1], np.array([[2.0]]), dtype, 0).finite


@pytest.mark.parametrize("size", [3, 1100])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
def test_what_leaves_no_room_for_sums_of_products_is_told(size: int, dtype: type) -> None:
    old = np.ones((size, size), dtype)
    for channel_axis in (None, 0, 1):
        for factor, vast in (
            (2.0**63, False),
            (2.0**65, dtype is not np.float16),
            (-(2.0**120), dtype is not np.float16),
        ):
            found = scaled(old, np.array([[factor]]), dtype, channel_axis, 2.0**-126)
            assert found.vast is vast and found.finite is (dtype is not np.float16)


@pytest.mark.parametrize(("magnitude", "underflows"), [(2.0**-130, True), (2.0**-120, False), (0.0, False)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_of_subnormal_numbers_is_told(magnitude: float, underflows: bool, axis: int) -> None:
    """Zeros and NaN aside; its squares vanish in single precision whether it is normal or not."""
    old = np.ones((1100, 1100), np.float32)
    slices = np.moveaxis(old, axis, 0)
    slices[7] = 0.0
    slices[7, 5], slices[7, 6] = magnitude, np.nan
    assert scaled(old, np.ones((1, 1)), np.float32, axis, 2.0**-126).underflows is underflows
    assert not scaled(old, np.ones((1, 1)), np.float32, None, 2.0**-126).underflows


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_is_put_elsewhere_is_the_same(shape: tuple[int, ...], dtype: type) -> None:
    random = np.random.default_rng(4)
    old = random.normal(size=shape).astype(dtype)
    factors = random.normal(size=[1 if axis else extent for axis, extent in enumerate(shape)])
    kept = scaled(old, factors, dtype, 0 if shape else None, 1e-6)
    elsewhere = np.full(old.size, np.nan, dtype)

    def put(first: int, part: np.ndarray) -> None:
        elsewhere[first : first + part.size] = part.reshape(-1)

    found = scaled(old, factors, dtype, 0 if shape else None, 1e-6, put)
    assert found.array is None and kept.array is not None
    assert elsewhere.tobytes() == kept.array.tobytes()
    assert (found.finite, found.underflows, found.vast) == (kept.finite, kept.underflows, kept.vast)


def test_an_error_where_a_block_goes_to_is_told() -> None:
    def put(first: int, part: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        scaled(np.ones((3000, 3000), np.float32), np.ones((1, 1)), np.float32, 0, 0.0, put)


@pytest.mark.parametrize("channel_axis", [None, 0, 1])
@pytest.mark.parametrize(
    ("number", "factor"), [(0.3, 1.7), (2.0**-100, 2.0**-30), (1e30, 1e30), (0.0, 2.0), (np.nan, 1.0)]
)
def test_one_number_all_over_is_like_any_other_array(number: float, factor: float, channel_axis: int | None) -> None:
    filled = np.broadcast_to(np.float32(number), (40, 50, 3, 3))
    factors = np.linspace(factor, 1.0, 40).reshape(40, 1, 1, 1)
    for each in (factors, factors[:1]):
        found = scaled(filled, each, np.float32, channel_axis, 2.0**-126)
        wanted = scaled(filled.copy(), each, np.float32, channel_axis, 2.0**-126)
        assert found.array.tobytes() == wanted.array.tobytes()
        assert (found.finite, found.underflows, found.vast) == (wanted.finite, wanted.underflows, wanted.vast)
