"""Tests of onnxnorm/_arrays.py against NumPy's own reductions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from onnxnorm._arrays import all_of, any_of, finite
from tests.affine.support import QUICK

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
