"""The float64 reference against hand-worked values, brute-force loops and PyTorch in float64."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnorm import OnnxNormError, reference

RNG = np.random.default_rng(20)


def loop_lrn(x, windows, divisor, alpha, beta, bias):
    """Every window summed by itself; `windows` maps an axis to (back, ahead)."""
    y = np.empty_like(x)
    for index in itertools.product(*map(range, x.shape)):
        ranges = [
            range(max(0, i - windows[a][0]), min(x.shape[a], i + windows[a][1] + 1)) if a in windows else (i,)
            for a, i in enumerate(index)
        ]
        total = math.fsum(float(x[j]) ** 2 for j in itertools.product(*ranges))
        y[index] = x[index] / (bias + alpha / divisor * total) ** beta
    return y


def close(got, want):
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)


# Worked values, exact.


def test_alexnet_two_neighbours_of_one():
    x = np.array([1.0, 1.0, 0.0, 0.0]).reshape(1, 4, 1, 1)
    assert reference.alexnet_lrn(x, n=2, k=0, alpha=1, beta=1)[0, 0, 0, 0] == 0.5


def test_alexnet_even_n_reaches_one_to_each_side():
    x = np.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 4)
    want = [1 / (1 + 4), 2 / (1 + 4 + 16), 4 / (4 + 16 + 64), 8 / (16 + 64)]
    assert reference.alexnet_lrn(x, n=2, k=0, alpha=1, beta=1)[0].tolist() == want
    assert reference.alexnet_lrn(x, n=3, k=0, alpha=1, beta=1)[0].tolist() == want


def test_onnx_even_size_has_the_extra_channel_ahead():
    x = np.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 4)
    want = [1 / (1 + 4), 2 / (4 + 16), 4 / (16 + 64), 8 / 64]
    assert reference.inter_channel_lrn(x, 2, alpha=2, beta=1, bias=0)[0].tolist() == want


def test_intra_channel_three_by_three_is_cut_at_the_border():
    x = np.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    y = reference.intra_channel_lrn(x, (3, 3), alpha=9, beta=1, bias=0)[0, 0]
    assert y[0, 0] == 1 / (1 + 4 + 25 + 36)
    assert y[1, 1] == 6 / sum(v * v for v in (1, 2, 3, 5, 6, 7, 9, 10, 11))
    assert y[3, 2] == 15 / sum(v * v for v in (10, 11, 12, 14, 15, 16))


def test_batch_norm_with_gamma_sigma_and_beta_mu_is_the_identity():
    x = np.arange(24.0).reshape(2, 3, 4)
    mean, variance = np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.25, 16.0])
    assert np.array_equal(reference.batch_norm(x, np.sqrt(variance), mean, mean, variance, epsilon=0), x)


def test_per_activation_statistics_are_taken_over_the_batch():
    x = np.stack([np.arange(24.0).reshape(2, 3, 4), np.arange(24.0).reshape(2, 3, 4) * 3])
    mean, variance = reference.batch_statistics(x, per_activation=True)
    assert np.array_equal(mean, 2 * np.arange(24.0).reshape(2, 3, 4))
    assert np.array_equal(variance, np.arange(24.0).reshape(2, 3, 4) ** 2)
    y = reference.per_activation_batch_norm(x, np.ones((2, 3, 4)), np.full((2, 3, 4), 5.0), mean, variance, epsilon=0)
    assert np.isnan(y[:, 0, 0, 0]).all()  # a variance of zero
    assert np.array_equal(y.reshape(2, -1)[:, 1:], [[4.0] * 23, [6.0] * 23])


def test_channel_statistics():
    x = np.array([[[1.0, 3.0], [0.0, 0.0]], [[5.0, 7.0], [2.0, 2.0]]])
    mean, variance = reference.batch_statistics(x)
    assert mean.tolist() == [4.0, 1.0]
    assert variance.tolist() == [5.0, 1.0]


@pytest.mark.parametrize(
    "lrn",
    [
        lambda x: reference.inter_channel_lrn(x, 3, alpha=1, beta=0.75, bias=0),
        lambda x: reference.intra_channel_lrn(x, (3, 3), alpha=1, beta=0.75, bias=0),
        lambda x: reference.alexnet_lrn(x, 2, k=0, alpha=1, beta=0.75),
    ],
)
def test_an_all_zero_window_with_k_zero_is_nan_and_warns_nothing(lrn):
    x = np.zeros((1, 4, 4, 4))
    x[0, 3, 3, 3] = 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = lrn(x)
    assert math.isnan(y[0, 0, 0, 0])
    assert math.isfinite(y[0, 3, 3, 3])


def test_a_window_next_to_a_huge_value_keeps_its_digits():
    """A running sum that subtracts what leaves the window would return zero or noise here."""
    x = np.zeros((1, 8))
    x[0, 0], x[0, 4:] = 1e9, 1e-3
    y = reference.inter_channel_lrn(x, 3, alpha=3, beta=1, bias=0)
    assert y[0, 5] == 1e-3 / (1e-3**2 + 1e-3**2 + 1e-3**2)


def test_nan_stays_inside_its_windows():
    x = np.ones((1, 9))
    x[0, 4] = np.nan
    assert np.isnan(reference.inter_channel_lrn(x, 3)).tolist() == [[False] * 3 + [True] * 3 + [False] * 3]


def test_lp_norm_of_zero_is_zero():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert reference.lp_norm(x, axis=1, p=2).tolist() == [[0.6, 0.8], [0.0, 0.0]]
    assert reference.lp_norm(x, axis=-1, p=1).tolist() == [[3 / 7, 4 / 7], [0.0, 0.0]]
    assert reference.lp_norm(x, axis=0, p=1).tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_mean_variance_norm_of_a_constant_is_zero():
    assert np.array_equal(reference.mean_variance_norm(np.full((2, 1, 2, 2), 7.0)), np.zeros((2, 1, 2, 2)))


def test_variance_survives_a_large_mean():
    x = np.array([[[1e9, 1e9 + 2.0]]])
    want = float(1 / np.sqrt(1 + 1e-5))
    assert reference.instance_norm(x, [1.0], [0.0]).tolist() == [[[-want, want]]]


# Brute force.


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=2),
    st.integers(1, 7),
    st.integers(1, 20),
    st.integers(0, 2**31),
)
def test_inter_channel_lrn_is_the_loop(spatial, channels, size, seed):
    x = np.random.default_rng(seed).normal(size=(2, channels, *spatial))
    want = loop_lrn(x, {1: ((size - 1) // 2, size - 1 - (size - 1) // 2)}, size, 0.7, 0.75, 1.5)
    close(reference.inter_channel_lrn(x, size, alpha=0.7, beta=0.75, bias=1.5), want)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 8)), min_size=1, max_size=3),
    st.integers(0, 2**31),
)
def test_intra_channel_lrn_is_the_loop(axes, seed):
    spatial, kernel = zip(*axes, strict=True)
    x = np.random.default_rng(seed).normal(size=(1, 2, *spatial))
    windows = {a: ((n - 1) // 2, n // 2) for a, n in enumerate(kernel, start=2)}
    want = loop_lrn(x, windows, math.prod(kernel), 2.0, 0.5, 0.3)
    close(reference.intra_channel_lrn(x, kernel, alpha=2.0, beta=0.5, bias=0.3), want)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 12), st.integers(0, 2**31))
def test_alexnet_lrn_is_the_loop(channels, n, seed):
    x = np.random.default_rng(seed).normal(size=(2, channels, 3))
    close(
        reference.alexnet_lrn(x, n, k=2.0, alpha=0.4, beta=0.75),
        loop_lrn(x, {1: (n // 2, n // 2)}, 1, 0.4, 0.75, 2.0),
    )


def test_statistics_in_exact_arithmetic():
    x = RNG.normal(size=(3, 2, 5))
    mean, variance = reference.batch_statistics(x)
    for c in range(2):
        values = [Fraction(float(v)) for v in x[:, c].ravel()]
        exact_mean = sum(values) / 15
        assert mean[c] == pytest.approx(float(exact_mean), rel=1e-14)
        assert variance[c] == pytest.approx(float(sum((v - exact_mean) ** 2 for v in values) / 15), rel=1e-14)


# PyTorch in float64.


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = torch.tensor(RNG.normal(size=(3, 6, 4, 5)))
    per_channel = [torch.tensor(RNG.normal(size=6)) for _ in range(3)]
    variance = torch.tensor(RNG.uniform(0.1, 3, size=6))
    scale, bias, mean = per_channel
    close(reference.inter_channel_lrn(x, 5, 0.3, 0.75, 2.0), functional.local_response_norm(x, 5, 0.3, 0.75, 2.0))
    flipped = functional.local_response_norm(x.flip(1), 4, 0.3, 0.75, 2.0).flip(1)
    close(reference.inter_channel_lrn(x, 4, 0.3, 0.75, 2.0), flipped)
    close(
        reference.batch_norm(x, scale, bias, mean, variance, 1e-3),
        functional.batch_norm(x, mean, variance, scale, bias, eps=1e-3),
    )
    close(
        reference.batch_norm(x, scale, bias, *reference.batch_statistics(x), 1e-3),
        functional.batch_norm(x, None, None, scale, bias, training=True, eps=1e-3),
    )
    flat = x.reshape(3, -1)
    close(
        reference.per_activation_batch_norm(
            x, np.ones((6, 4, 5)), np.zeros((6, 4, 5)), *reference.batch_statistics(x, per_activation=True)
        ).reshape(3, -1),
        functional.batch_norm(flat, None, None, training=True),
    )
    close(reference.group_norm(x, 3, scale, bias, 1e-3), functional.group_norm(x, 3, scale, bias, 1e-3))
    close(
        reference.instance_norm(x, scale, bias, 1e-3),
        functional.instance_norm(x, weight=scale, bias=bias, eps=1e-3),
    )
    weight, shift = (torch.tensor(RNG.normal(size=(4, 5))) for _ in range(2))
    close(reference.layer_norm(x, weight, shift, 2, 1e-3), functional.layer_norm(x, (4, 5), weight, shift, 1e-3))
    close(reference.layer_norm(x, weight, None, -2), functional.layer_norm(x, (4, 5), weight))
    close(reference.rms_norm(x, weight, -2, 1e-3), functional.rms_norm(x, (4, 5), weight, 1e-3))
    close(reference.lp_norm(x, 1, 2), functional.normalize(x, p=2, dim=1))
    deviation, centre = torch.std_mean(x, (0, 2, 3), correction=0, keepdim=True)
    close(reference.mean_variance_norm(x, (0, 2, 3), epsilon=0.1), (x - centre) / (deviation + 0.1))


# Types and refusals.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16, np.int8])
def test_every_type_comes_out_in_float64_and_the_input_is_kept(dtype):
    x = np.arange(12).reshape(1, 3, 4).astype(dtype)
    kept = x.copy()
    y = reference.inter_channel_lrn(x, 3)
    assert y.dtype == np.float64
    assert np.array_equal(x, kept)
    assert np.array_equal(y, reference.inter_channel_lrn(x.astype(np.float64), 3))


def test_empty_batches_are_fine():
    assert reference.inter_channel_lrn(np.zeros((0, 3, 2)), 3).shape == (0, 3, 2)
    assert reference.intra_channel_lrn(np.zeros((0, 3, 2)), (3,)).shape == (0, 3, 2)
    assert reference.intra_channel_lrn(np.zeros((1, 3, 0)), (3,)).shape == (1, 3, 0)
    assert reference.group_norm(np.zeros((0, 4, 2)), 2, np.ones(4), np.zeros(4)).shape == (0, 4, 2)


X = np.ones((2, 4, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reference.inter_channel_lrn(X, 0), "size must be at least 1"),
        (lambda: reference.inter_channel_lrn(X, 2.5), "size must be a whole number"),
        (lambda: reference.inter_channel_lrn(X[0, 0, 0], 3), "rank 2 or more"),
        (lambda: reference.intra_channel_lrn(X, (3,)), "1 entries and the input 2 spatial axes"),
        (lambda: reference.intra_channel_lrn(X, (3, -1)), "kernel_shape must be at least 1"),
        (lambda: reference.alexnet_lrn(X, 0, 1, 1, 1), "n must be at least 1"),
        (
            lambda: reference.batch_norm(X, np.ones(3), np.ones(4), np.ones(4), np.ones(4)),
            r"scale must have shape \(4,\)",
        ),
        (lambda: reference.per_activation_batch_norm(X, *[np.ones(4)] * 4), r"shape \(4, 3, 3\)"),
        (lambda: reference.group_norm(X, 3, np.ones(4), np.ones(4)), "4 channels cannot be split into 3"),
        (lambda: reference.instance_norm(X[:, :, 0, 0], np.ones(4), np.ones(4)), "rank 3 or more"),
        (lambda: reference.layer_norm(X, np.ones(5)), "does not broadcast"),
        (lambda: reference.rms_norm(X, np.ones(3), axis=4), "axis 4 is out of range"),
        (lambda: reference.lp_norm(X, p=3), "p must be 1 or 2"),
        (lambda: reference.inter_channel_lrn(X + 1j, 3), "real numbers"),
        (lambda: reference.inter_channel_lrn([[1, 2], [3]], 3), "real numbers"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(OnnxNormError, match=message):
        call()
