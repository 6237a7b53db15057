"""Tests of onnxnorm/numerics/arrays.py against NumPy's own reductions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from onnxnorm.affine.channel import ChannelAffine
from onnxnorm.graph.facts import within_reach
from onnxnorm.numerics.arrays import MAX_ELEMENTS, TooLargeError, all_of, any_of, check_size, finite
from testing.builder import QUICK

ARRAYS = npst.arrays(
    np.float64,
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan]),
)


@QUICK
@given(ARRAYS)
def test_they_answer_as_the_reductions_do(array: np.ndarray) -> None:
    assert any_of(array) is bool(np.any(array))
    assert all_of(array >= 0.0) is bool(np.all(array >= 0.0))
    assert finite(array) is bool(np.all(np.isfinite(array)))
    assert finite(array.astype(np.float16)) is bool(np.all(np.isfinite(array)))


def test_little_may_not_become_much_and_much_may_become_twice_that() -> None:
    check_size((MAX_ELEMENTS,))
    check_size((2, MAX_ELEMENTS), given=MAX_ELEMENTS)
    for extents, given_ in (((MAX_ELEMENTS, 2), 3), ((2**62, 2**62), 0), ((3, MAX_ELEMENTS), MAX_ELEMENTS)):
        with pytest.raises(TooLargeError):
            check_size(extents, given_)


def test_an_affine_grows_over_no_more_extents_than_constants_have() -> None:
    rows = ChannelAffine(np.ones((2**13, 1)), np.zeros((2**13, 1)))
    assert rows.then(ChannelAffine(np.ones((1, 2)), np.zeros((1, 2)))).scale.shape == (1, 1)
    with pytest.raises(TooLargeError):
        rows.then(ChannelAffine(np.ones((1, 2**13)), np.zeros((1, 2**13))))
    assert ChannelAffine.identity(2).along_axis(1, 8) is not None
    with pytest.raises(TooLargeError):
        ChannelAffine.identity(2).along_axis(1, 2**31)


def test_extents_that_no_constant_has_count_as_unknown() -> None:
    assert within_reach((1, MAX_ELEMENTS, "n", None)) == (1, MAX_ELEMENTS, "n", None)
    assert within_reach((1, MAX_ELEMENTS + 1)) == (1, None)
    assert within_reach(None) is None
