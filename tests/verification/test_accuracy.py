"""The criterion of `verify` on outputs whose errors are powers of two, so that every limit is known by hand."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from onnxnorm.verification.accuracy import (
    ELEMENT_MARGIN,
    SLICE_MARGIN,
    measure,
    noise_and_size,
    relative_noise,
    unit_roundoff,
)

STEP = 2.0**-20
"""The error of the original at every element, which float32 holds exactly beside 1."""


def off(errors: object, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 ones of this shape that are off by so many steps."""
    array = (1.0 + STEP * np.broadcast_to(np.asarray(errors, np.float64), shape)).astype(np.float32)
    assert np.array_equal((array.astype(np.float64) - 1.0) / STEP, np.broadcast_to(errors, shape))
    return array


def excess(result: object, shape: tuple[int, ...], original: object = 1.0, elsewhere: float = 0.0) -> float:
    seen = off(original, shape)
    return measure(np.ones(shape), seen, off(result, shape), [seen], elsewhere=elsewhere).excess


def at(index: tuple[int, ...], shape: tuple[int, ...], steps: float) -> np.ndarray:
    errors = np.zeros(shape)
    errors[index] = steps
    return errors


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_the_unit_roundoff_is_half_the_epsilon(dtype: type) -> None:
    assert unit_roundoff(np.dtype(dtype)) == float(ml_dtypes.finfo(dtype).eps) / 2


@pytest.mark.parametrize("steps", [0, 1, 4, 8, 9, 64])
def test_all_elements_together_may_be_off_by_the_margin_of_slices(steps: int) -> None:
    assert excess(float(steps), (4, 4)) == pytest.approx(steps / SLICE_MARGIN)


@pytest.mark.parametrize("steps", [16, 24, 48])
def test_one_element_may_be_off_by_the_margin_of_elements(steps: int) -> None:
    shape, index = (4, 4), (2, 1)
    seen = off(1.0, shape)
    found = measure(np.ones(shape), seen, off(at(index, shape, steps), shape), [seen])
    assert found.excess == pytest.approx(steps / ELEMENT_MARGIN) and found.index == index
    assert (found.reason is None) is (steps <= ELEMENT_MARGIN)
    assert (found.error_original, found.error_result) == (STEP, steps * STEP)
    assert (found.least_absolute, found.least_relative) == (steps * STEP, steps * STEP)


def test_a_slice_of_32_elements_or_more_is_judged_alone() -> None:
    steps = np.array([[0.0], [8.0], [0.0], [0.0]])
    assert excess(steps, (4, 64)) == pytest.approx(8.0 / SLICE_MARGIN)
    # Slices of fewer elements tell too little: the four together are off by half as much.
    assert excess(steps, (4, 8)) == pytest.approx(4.0 / SLICE_MARGIN)
    seen = off(1.0, (4, 64))
    index = measure(np.ones((4, 64)), seen, off(steps, (4, 64)), [seen]).index
    assert index is not None and index[0] == 1


def test_a_slice_without_noise_of_its_own_may_have_that_of_the_typical_one() -> None:
    original, result = np.array([[1.0], [1.0], [0.0]]), np.array([[0.0], [0.0], [4.0]])
    assert excess(result, (3, 64), original) == pytest.approx(4.0 / SLICE_MARGIN)
    # Where the typical slice has none, one rounding of the output is what remains: 2**-24, a 16th of a step.
    assert excess(result, (3, 64), np.array([[1.0], [0.0], [0.0]])) == pytest.approx(16 * 4.0 / SLICE_MARGIN)


def test_an_output_of_few_elements_may_have_the_noise_seen_elsewhere() -> None:
    assert excess(1.0, (1,), original=0.0) == pytest.approx(16 / SLICE_MARGIN)
    assert excess(1.0, (1,), original=0.0, elsewhere=STEP / 4) == pytest.approx(4 / SLICE_MARGIN)


@pytest.mark.parametrize("power", [-900, -200, 0, 200, 900])
def test_the_size_of_the_values_does_not_matter(power: int) -> None:
    random = np.random.default_rng(0)
    exact = random.normal(size=(8, 64))
    seen, got = (exact * (1 + 2.0**-30 * random.normal(size=exact.shape)) for _ in range(2))
    factor = 2.0**power
    found = measure(exact * factor, seen * factor, got * factor, [seen * factor])
    plain = measure(exact, seen, got, [seen])
    assert found.excess == pytest.approx(plain.excess, rel=1e-9) and found.index == plain.index
    loudest, size = noise_and_size(exact * factor, [seen * factor])
    assert size / factor == pytest.approx(np.sqrt(np.mean(exact**2)))
    assert loudest / factor == pytest.approx(np.sqrt(np.mean((seen - exact) ** 2)))


def test_noise_is_the_loudest_of_the_samples() -> None:
    exact = np.full(4, 2.0)
    assert noise_and_size(exact, [exact + 0.25, exact - 0.5]) == (0.5, 2.0)
    assert relative_noise(exact, [exact + 0.25, exact - 0.5]) == 0.25
    assert relative_noise(np.zeros(4), [np.ones(4)]) == 0.0
    # What is not finite in exact arithmetic has no size and no noise.
    assert noise_and_size(np.array([2.0, math.inf]), [np.array([3.0, 7.0])]) == pytest.approx((2**-0.5, 2**0.5))


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("exact", "original", "result", "same"),
    [
        (1.0, 1.0, NAN, False),
        (1.0, 1.0, INF, False),
        (INF, INF, -INF, False),
        (INF, INF, 1.0, False),
        (NAN, NAN, 1.0, False),
        (NAN, NAN, INF, False),
        (NAN, NAN, NAN, True),
        (INF, INF, INF, True),
        # As the original or as exact arithmetic: either is right.
        (1.0, INF, 1.0, True),
        (1.0, INF, INF, True),
        (1.0, NAN, 1.0, True),
        (1.0, NAN, INF, False),
        # Infinite in float16, of which the largest number is 65504.
        (7e4, INF, INF, True),
        (7e4, 65504.0, INF, True),
        (7e4, 65504.0, 65504.0, True),
        (7e4, INF, 65504.0, False),
    ],
)
def test_nan_and_infinity_stand_where_the_original_or_exact_arithmetic_has_them(
    exact: float, original: float, result: float, same: bool
) -> None:
    seen, got = (np.array([1.0, each], np.float16) for each in (original, result))
    found = measure(np.array([1.0, exact]), seen, got, [seen])
    if same:
        assert found.excess <= 1 and found.reason is None
    else:
        assert found.excess == math.inf and found.index == (1,) and "where the original has" in (found.reason or "")


def test_an_output_without_elements_is_right() -> None:
    empty = np.zeros((0, 3), np.float32)
    found = measure(empty.astype(np.float64), empty, empty, [empty])
    assert (found.excess, found.index, found.reason) == (0.0, None, None)
