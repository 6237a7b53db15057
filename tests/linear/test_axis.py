"""Windows against the matrices that they stand for: one axis, one channel, every place written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxnorm.linear.axis import AnyAxis, Axis, TransposedAxis

EXAMPLES = settings(max_examples=400, deadline=None, derandomize=True, database=None)


def axes(largest: int = 7) -> st.SearchStrategy[Axis]:
    return st.builds(
        Axis,
        st.integers(1, largest),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(-1, 4),
        st.integers(-1, 4),
    )


def transposed() -> st.SearchStrategy[TransposedAxis]:
    return st.builds(
        TransposedAxis,
        st.integers(1, 4),
        st.integers(1, 3),
        st.integers(1, 2),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 1),
    )


def matrix(axis: AnyAxis, weights: np.ndarray, extent: int) -> np.ndarray:
    """Row o, column i: what output o takes from input i; from the definition, not from the formula of `results`."""
    offsets = [k * axis.dilation - axis.begin for k in range(axis.kernel)]
    if isinstance(axis, TransposedAxis):
        # All that is written to, `begin` and `end` places cut away, `extra` added.
        length = (extent - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1 - axis.begin - axis.end + axis.extra
        result = np.zeros((length, extent))
        for i in range(extent):
            for weight, offset in zip(weights, offsets, strict=True):
                if 0 <= i * axis.stride + offset < length:
                    result[i * axis.stride + offset, i] += weight
        return result
    rows = []
    place = 0
    while place + offsets[-1] <= extent - 1 + axis.end:
        row = np.zeros(extent)
        for weight, offset in zip(weights, offsets, strict=True):
            if 0 <= place + offset < extent:
                row[place + offset] += weight
        rows.append(row)
        place += axis.stride
    return np.array(rows).reshape(-1, extent)


def spread(axis: AnyAxis, weights: np.ndarray, within: AnyAxis) -> np.ndarray:
    total = np.zeros(within.kernel)
    total[axis.embedded(within)] += weights
    return total


def composed(inner: AnyAxis, first: np.ndarray, outer: AnyAxis, second: np.ndarray, within: AnyAxis) -> np.ndarray:
    total = np.zeros(within.kernel)
    span, pace = inner.places(within), outer.places(within, inner.stride).step or 1
    for index, weight in enumerate(second):
        total[index * pace : index * pace + span.stop : span.step] += weight * first
    return total


def random_weights(axis: AnyAxis, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1.0, 2.0, axis.kernel)


@given(axes() | transposed(), st.integers(12, 20))
def test_results_count_the_rows(axis: AnyAxis, extent: int) -> None:
    assert max(axis.results(extent), 0) == len(matrix(axis, random_weights(axis, 0), extent))


@EXAMPLES
@given(axes(), axes() | transposed(), st.integers(16, 24), st.booleans())
def test_what_is_composed_is_the_product_of_matrices(a: Axis, b: AnyAxis, extent: int, known: bool) -> None:
    first, second = random_weights(a, 1), random_weights(b, 2)
    whole = a.then(b, extent if known else None)
    assume(whole is not None and a.results(extent) > 0 and b.results(a.results(extent)) > 0)
    assert whole is not None
    expected = matrix(b, second, a.results(extent)) @ matrix(a, first, extent)
    got = matrix(whole, composed(a, first, b, second, whole), extent)
    assert np.allclose(got, expected, rtol=1e-12, atol=0)


@EXAMPLES
@given(axes(5), axes(5), st.integers(24, 30))
def test_what_is_not_composed_has_no_window(a: Axis, b: Axis, extent: int) -> None:
    """Where it is declined, the window that would fit inside gives something else at the border."""
    b = replace(b, stride=1)  # so that it reads every place of its padding
    assume(a.results(extent) >= b.kernel * b.dilation + 4 and a.then(b, extent) is None)
    first, second = random_weights(a, 1), random_weights(b, 2)
    inside = Axis(b.kernel, b.stride, b.dilation)
    inner = a.then(inside, extent)
    assert inner is not None
    whole = Axis(
        inner.kernel, inner.stride, inner.dilation, inner.begin + b.begin * a.stride, inner.end + b.end * a.stride
    )
    expected = matrix(b, second, a.results(extent)) @ matrix(a, first, extent)
    got = matrix(whole, composed(a, first, b, second, whole), extent)
    assert got.shape == expected.shape
    assert not np.allclose(got, expected)


@EXAMPLES
@given(st.tuples(axes(), axes()) | st.tuples(transposed(), transposed()), st.integers(16, 24), st.booleans())
def test_what_is_joined_is_the_sum_of_matrices(pair: tuple[AnyAxis, AnyAxis], extent: int, known: bool) -> None:
    a, b = pair
    first, second = random_weights(a, 1), random_weights(b, 2)
    whole = a.joined(b, extent if known else None)
    parts = matrix(a, first, extent), matrix(b, second, extent)
    if whole is None:
        # Windows of one stride and equally many results join, where the extent is known.
        if known and not isinstance(a, TransposedAxis):
            assert a.stride != b.stride or a.results(extent) != b.results(extent)
        return
    got = matrix(whole, spread(a, first, whole) + spread(b, second, whole), extent)
    assert np.allclose(got, parts[0] + parts[1], rtol=1e-12, atol=0)


def test_windows_that_agree_on_one_extent_alone_are_not_joined_for_all() -> None:
    a, b = Axis(2, 2), Axis(1, 2)
    assert a.results(8) == b.results(8) and a.results(9) != b.results(9)
    assert a.joined(b, 8) == Axis(2, 2)
    assert a.joined(b, 9) is None
    assert a.joined(b, None) is None
    assert Axis(3, 2, 1, 1, 1).joined(b, None) == Axis(3, 2, 1, 1, 1)


def test_a_transposed_window_takes_the_identity_along() -> None:
    assert TransposedAxis(3, 1, 1, 1, 1).joined(Axis(), None) == TransposedAxis(3, 1, 1, 1, 1)
    assert TransposedAxis(3, 2, 1, 1, 1).joined(Axis(), None) is None
    assert TransposedAxis(3, 1, 1, 1, 1).joined(Axis(3, 1, 1, 1, 1), None) is None
