"""Every convention of the LRN constants computes what its own formula says."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnorm import OnnxNormError, reference
from onnxnorm.errors import OnnxNormWarning
from onnxnorm.lrn import LongerSide, LRNParameters, Region

INTRA = Region.INTRA_CHANNEL
ALPHA = st.floats(1e-5, 10)
BETA = st.floats(0.1, 2)
BIAS = st.floats(0.1, 4)


def compute(parameters, x):
    constants = (parameters.alpha, parameters.beta, parameters.bias)
    if parameters.region is INTRA:
        return reference.intra_channel_lrn(x, parameters.kernel_shape, *constants)
    if parameters.longer_side is LongerSide.BACK:
        x = x[:, ::-1]
        return reference.inter_channel_lrn(x, parameters.size, *constants)[:, ::-1]
    return reference.inter_channel_lrn(x, parameters.size, *constants)


def loop(x, back, ahead, factor, beta, bias):
    """x: (C,); the formula, channel by channel."""
    y = []
    for c in range(len(x)):
        total = math.fsum(float(v) ** 2 for v in x[max(0, c - back) : c + ahead + 1])
        y.append(x[c] / (bias + factor * total) ** beta)
    return np.array(y)


def random_channels(seed):
    return np.random.default_rng(seed).normal(size=9)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), ALPHA, BETA, BIAS, st.integers(0, 2**31))
def test_inter_channel_conventions(n, alpha, beta, bias, seed):
    x = random_channels(seed)
    onnx = LRNParameters.from_onnx(n, alpha, beta, bias)
    torch = LRNParameters.from_torch(n, alpha, beta, bias)
    alexnet = LRNParameters.from_alexnet(n, bias, alpha, beta)
    tensorflow = LRNParameters.from_tensorflow(n - 1, bias, alpha, beta)
    cases = [
        (onnx, (n - 1) // 2, n // 2, alpha / n),
        (torch, n // 2, (n - 1) // 2, alpha / n),
        (alexnet, n // 2, n // 2, alpha),
        (tensorflow, n - 1, n - 1, alpha),
    ]
    if n % 2:
        cases.append((LRNParameters.from_caffe(n, alpha, beta, bias), n // 2, n // 2, alpha / n))
    for parameters, back, ahead, factor in cases:
        want = loop(x, back, ahead, factor, beta, bias)
        np.testing.assert_allclose(compute(parameters, x[None])[0], want, rtol=1e-12, atol=1e-14)


def test_torch_even_size_is_the_layer_of_torch():
    torch = pytest.importorskip("torch")
    x = torch.tensor(np.random.default_rng(3).normal(size=(2, 5, 3)))
    for size in (2, 3, 4):
        want = torch.nn.LocalResponseNorm(size, 0.4, 0.75, 1.5)(x).numpy()
        got = compute(LRNParameters.from_torch(size, 0.4, 0.75, 1.5), x.numpy())
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_within_channel_alpha_is_divided_by_the_square():
    x = np.random.default_rng(4).normal(size=(1, 2, 5, 6))
    caffe = LRNParameters.from_caffe(3, 0.9, 0.75, norm_region="WITHIN_CHANNEL")
    assert (caffe.region, caffe.kernel_shape, caffe.bias) == (INTRA, (3, 3), 1.0)
    np.testing.assert_array_equal(compute(caffe, x), reference.intra_channel_lrn(x, (3, 3), 0.9, 0.75, 1.0))


def test_alexnet_within_channel_with_n_two_has_a_three_by_three_window():
    parameters = LRNParameters.from_alexnet(2, 1.0, 1.0, 1.0, region=INTRA)
    assert parameters.kernel_shape == (3, 3)
    y = compute(parameters, np.ones((1, 1, 3, 3)))[0, 0]
    assert y[0, 0] == pytest.approx(1 / (1 + 4), rel=1e-15)
    assert y[0, 1] == pytest.approx(1 / (1 + 6), rel=1e-15)
    assert y[1, 1] == pytest.approx(1 / (1 + 9), rel=1e-15)
    assert LRNParameters.from_alexnet(5, 2, 1e-4, 0.75, region=INTRA, spatial_axes=3).kernel_shape == (5, 5, 5)


@pytest.mark.parametrize(
    ("parameters", "back"),
    [
        (LRNParameters.from_onnx(4, 0.5, 0.75, 2.0), "onnx"),
        (LRNParameters.from_torch(4, 0.5, 0.75, 2.0), "torch"),
        (LRNParameters.from_torch(5, 0.5, 0.75, 2.0), "onnx"),
        (LRNParameters.from_alexnet(5, 2.0, 0.25, 0.75), "alexnet"),
        (LRNParameters.from_alexnet(4, 2.0, 0.25, 0.75), "alexnet"),
        (LRNParameters.from_tensorflow(2, 2.0, 0.25, 0.75), "tensorflow"),
        (LRNParameters.from_tensorflow(0, 2.0, 0.25, 0.75), "torch"),
        (LRNParameters.from_caffe(5, 0.5, 0.75, 2.0), "caffe"),
        (LRNParameters.from_caffe(3, 0.5, norm_region="WITHIN_CHANNEL"), "caffe"),
        (LRNParameters.from_onnx(3), "caffe"),
    ],
)
def test_back_and_forth(parameters, back):
    values = getattr(parameters, f"to_{back}")()
    assert getattr(LRNParameters, f"from_{back}")(**values) == parameters


def test_an_even_size_never_changes_sides():
    ahead, behind = LRNParameters.from_onnx(4), LRNParameters.from_torch(4)
    assert ahead != behind
    assert LRNParameters.from_onnx(5) == LRNParameters.from_torch(5)
    for convert in (ahead.to_torch, behind.to_onnx, ahead.to_alexnet, behind.to_tensorflow, ahead.to_caffe):
        with pytest.raises(OnnxNormError, match=r"even size|window of \(4,\)"):
            convert()


def test_what_caffe_and_tensorflow_do_not_have():
    with pytest.raises(OnnxNormError, match="odd sizes only"):
        LRNParameters.from_caffe(4)
    with pytest.raises(OnnxNormError, match="norm_region"):
        LRNParameters.from_caffe(3, norm_region="ACROSS")
    with pytest.warns(OnnxNormWarning, match="k is 2, which Caffe ignores"):
        assert LRNParameters.from_caffe(3, k=2, norm_region="WITHIN_CHANNEL").bias == 1
    oblong = LRNParameters(kernel_shape=(3, 5), region=INTRA)
    with pytest.raises(OnnxNormError, match="one odd size"):
        oblong.to_caffe()
    with pytest.raises(OnnxNormError, match="always a bias of 1"):
        LRNParameters(kernel_shape=(3, 3), bias=2, region=INTRA).to_caffe()
    with pytest.raises(OnnxNormError, match="not a size"):
        oblong.to_tensorflow()


@pytest.mark.parametrize("size", [0, -3, 2.0, 2.5, True, None, "5", math.nan])
def test_bad_sizes_are_refused(size):
    for make in (LRNParameters.from_onnx, LRNParameters.from_torch, LRNParameters.from_caffe):
        with pytest.raises(OnnxNormError, match="size must be"):
            make(size)
    with pytest.raises(OnnxNormError, match="n must be"):
        LRNParameters.from_alexnet(size, 2, 1e-4, 0.75)
    with pytest.raises(OnnxNormError, match="kernel_shape must be"):
        LRNParameters(kernel_shape=(3, size), region=INTRA)


def test_numpy_integers_are_sizes():
    assert LRNParameters.from_onnx(np.int64(5)) == LRNParameters.from_onnx(5)


@pytest.mark.parametrize("name", ["alpha", "beta", "bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, None, "1", True, 1j])
def test_bad_constants_are_refused_by_name(name, value):
    with pytest.raises(OnnxNormError, match=f"^{name} (must be|is 1e)"):
        LRNParameters.from_onnx(5, **{name: value})


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"bias": -1.0}, "bias.*negative at small inputs"),
        ({"bias": 0.0, "alpha": 0.0}, "divides by zero at every input"),
        ({"bias": 0.0, "alpha": -1.0}, "never positive"),
    ],
)
def test_a_formula_without_a_meaning_is_refused(constants, message):
    with pytest.raises(OnnxNormError, match=message):
        LRNParameters.from_onnx(5, **constants)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"bias": 0.0}, r"bias \(k\) is 0: .* NaN"),
        ({"bias": -1.0, "beta": 1.0}, r"bias \(k\) is -1"),
        ({"alpha": -1.0}, "alpha is -1"),
        ({"alpha": -1.0, "beta": 2.0}, "alpha is -1"),
    ],
)
def test_a_formula_with_gaps_is_a_warning_by_name_at_the_callers_line(constants, message):
    with pytest.warns(OnnxNormWarning, match=message) as caught:
        LRNParameters.from_onnx(5, **constants)
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize("constants", [{}, {"alpha": 0.0}, {"beta": -0.5, "bias": 0.0}, {"beta": 0.0, "alpha": -1.0}])
def test_ordinary_constants_warn_nothing(constants):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LRNParameters.from_onnx(5, **constants)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_shape": (3, 3)}, "one size"),
        ({"kernel_shape": 3}, "sequence"),
        ({"kernel_shape": "33", "region": INTRA}, "sequence"),
        ({"kernel_shape": (), "region": INTRA}, "1 to 3 entries"),
        ({"kernel_shape": (3,) * 4, "region": INTRA}, "1 to 3 entries"),
        ({"kernel_shape": (3,), "region": "across"}, "region must be one of"),
        ({"kernel_shape": (4, 4), "region": INTRA, "longer_side": LongerSide.BACK}, "no framework mirrors it"),
    ],
)
def test_bad_windows_are_refused(arguments, message):
    with pytest.raises(OnnxNormError, match=message):
        LRNParameters(**arguments)
