"""Resize in float64 against onnxruntime, over modes, coordinates, roundings, axes and scales."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.evaluate.evaluator import Float64Evaluator

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
)  # fmt: skip


def _model(inputs: dict[str, np.ndarray], **attributes: Any) -> onnx.ModelProto:
    names = ["x", "", *(name if name in inputs else "" for name in ("scales", "sizes"))]
    while not names[-1]:
        names.pop()
    if "roi" in inputs:
        names[1] = "roi"
    graph = helper.make_graph(
        [helper.make_node("Resize", names, ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in inputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def _agree(x: np.ndarray, inputs: dict[str, np.ndarray], **attributes: Any) -> None:
    model = _model(inputs, **attributes)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    got = Float64Evaluator(model).run({"x": x})["y"]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


X = np.random.default_rng(0).standard_normal((2, 3, 6, 10)).astype("f")


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scale", [(2.0, 2.0), (1.5, 0.5), (0.5, 1.7), (3.0, 0.9)])
def test_modes_and_coordinates(mode: str, coordinates: str, scale: tuple[float, float]) -> None:
    inputs = {"scales": np.array([1, 1, *scale], "f")}
    _agree(X, inputs, mode=mode, coordinate_transformation_mode=coordinates)


@pytest.mark.parametrize(
    ("rounding", "scale"),
    itertools.product(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"), (0.5, 2.0, 1.5)),
)
def test_roundings(rounding: str, scale: float) -> None:
    for coordinates in ("half_pixel", "asymmetric", "align_corners"):
        inputs = {"scales": np.array([1, 1, scale, scale], "f")}
        _agree(X, inputs, mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=coordinates)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scale", [0.4, 0.75, 2.0])
def test_antialias(mode: str, scale: float) -> None:
    for outside in (0, 1):
        _agree(X, {"scales": np.array([1, 1, scale, scale], "f")}, mode=mode, antialias=1, exclude_outside=outside)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes_axes_and_policies(mode: str) -> None:
    _agree(X, {"sizes": np.array([2, 3, 9, 7])}, mode=mode)
    for policy in ("stretch", "not_larger", "not_smaller"):
        _agree(X, {"sizes": np.array([9, 7])}, mode=mode, axes=[2, 3], keep_aspect_ratio_policy=policy)


def test_cubic_options_and_crops() -> None:
    scales = {"scales": np.array([1, 1, 1.5, 0.6], "f")}
    _agree(X, scales, mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    crop = {"roi": np.array([0, 0, 0.4, 0.6, 1, 1, 1.3, 1.7], "f"), "sizes": np.array([2, 3, 5, 4])}
    for mode in ("nearest", "linear"):
        _agree(X, crop, mode=mode, coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0)


def test_a_picture_takes_no_minutes() -> None:
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 64)).astype("f")
    start = time.perf_counter()
    _agree(x, {"scales": np.array([1, 1, 4, 4], "f")}, mode="linear")
    assert time.perf_counter() - start < 30
