"""`lrn.convert`: whatever the convention, the formula stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxnorm import OnnxNormError, lrn, reference

X = np.random.default_rng(0).normal(size=(2, 7, 5, 5))

# The formula of each framework, with the constants by its own names.
ACROSS: dict[str, tuple[dict[str, Any], Any]] = {
    "alexnet": ({"n": 5, "k": 2.0, "alpha": 0.1, "beta": 0.75}, lambda p: reference.alexnet_lrn(X, **p)),
    "caffe": (
        {"local_size": 5, "alpha": 0.5, "beta": 0.75, "k": 2.0},
        lambda p: reference.inter_channel_lrn(X, p["local_size"], p["alpha"], p["beta"], p["k"]),
    ),
    "mxnet": (
        {"nsize": 5, "alpha": 0.5, "beta": 0.75, "knorm": 2.0},
        lambda p: reference.inter_channel_lrn(X, p["nsize"], p["alpha"], p["beta"], p["knorm"]),
    ),
    "onnx": ({"size": 5, "alpha": 0.5, "beta": 0.75, "bias": 2.0}, lambda p: reference.inter_channel_lrn(X, **p)),
    "openvino": (
        {"size": 5, "alpha": 0.5, "beta": 0.75, "bias": 2.0, "axes": (1,)},
        lambda p: reference.inter_channel_lrn(X, p["size"], p["alpha"], p["beta"], p["bias"]),
    ),
    "tensorflow": (
        {"depth_radius": 2, "bias": 2.0, "alpha": 0.1, "beta": 0.75},
        lambda p: reference.alexnet_lrn(X, 2 * p["depth_radius"] + 1, p["bias"], p["alpha"], p["beta"]),
    ),
    "torch": (
        {"size": 5, "alpha": 0.5, "beta": 0.75, "k": 2.0},
        lambda p: reference.inter_channel_lrn(X, p["size"], p["alpha"], p["beta"], p["k"]),
    ),
}


@pytest.mark.parametrize("to", ACROSS)
@pytest.mark.parametrize("source", ACROSS)
def test_every_convention_to_every_other(source: str, to: str) -> None:
    params, formula = ACROSS[source]
    converted = lrn.convert(params, source, to)
    converted.pop("norm_region", None)
    assert set(converted) == set(ACROSS[to][0])
    np.testing.assert_allclose(ACROSS[to][1](converted), formula(params), rtol=1e-12)


def test_within_a_channel() -> None:
    caffe = {"local_size": 3, "alpha": 0.5, "beta": 0.75, "norm_region": "WITHIN_CHANNEL"}
    converted = lrn.convert(caffe, "caffe", "openvino")
    assert converted == {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0, "axes": (2, 3)}
    assert lrn.convert(converted, "openvino", "caffe") == caffe
    with pytest.raises(OnnxNormError, match="within a channel"):
        lrn.convert(caffe, "caffe", "tensorflow")


@pytest.mark.parametrize(
    ("params", "source", "to", "message"),
    [
        ({"size": 4}, "torch", "onnx", "flip the channels"),
        ({"size": 4}, "onnx", "torch", "flip the channels"),
        ({"size": 4}, "onnx", "tensorflow", "odd size"),
        ({"size": 4, "alpha": 1.0, "beta": 0.75, "bias": 1.0}, "openvino", "onnx", "must be odd"),
        ({"nsize": 4}, "mxnet", "onnx", "odd sizes only"),
        ({"size": 5, "alpha": 1.0, "beta": 0.75, "bias": 1.0, "axes": (1, 2)}, "openvino", "onnx", "axes must be"),
        ({"radius": 4}, "tensorflow", "onnx", "no such constants"),
        ({"size": 5}, "keras", "onnx", "no convention 'keras'"),
        ({"size": 5}, "onnx", "keras", "no convention 'keras'"),
    ],
)
def test_what_has_no_counterpart_is_refused(params: dict[str, Any], source: str, to: str, message: str) -> None:
    with pytest.raises(OnnxNormError, match=message):
        lrn.convert(params, source, to)
