"""The float64 evaluator, operator by operator, against onnxruntime (optimizations off) and PyTorch in float64.

Bounds are derived: a sum of K products in float32 is off by at most (K + 2) u times the sum of their magnitudes, u =
2**-24 (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1); the magnitudes come from the same
operator on absolute values. Elementwise operators get a few roundings of their value.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxnorm import reference
from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator, NoFloat64Error, evaluate_float64

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
UNIT = 2.0**-24

Array = np.ndarray
seeds = st.integers(0, 2**32 - 1)


def single(
    op_type: str,
    arrays: Sequence[Array | None],
    *,
    opset: int = 22,
    outputs: int = 1,
    domain: str = "",
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A model of one node whose inputs are all graph inputs, and what to feed."""
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(arrays)]
    feeds = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    node = helper.make_node(op_type, names, [f"y{i}" for i in range(outputs)], domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), feeds


def exact(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    results = list(evaluate_float64(model, feeds).values())
    assert all(r.dtype == np.float64 or r.dtype.kind in "iub" for r in results)
    return results


def in_runtime(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def check(op_type: str, arrays: Sequence[Array | None], *, roundings: float, **keywords: Any) -> None:
    """Every output within so many roundings of its largest value, shapes and integers equal."""
    model, feeds = single(op_type, arrays, **keywords)
    for ours, theirs in zip(exact(model, feeds), in_runtime(model, feeds), strict=True):
        assert ours.shape == theirs.shape
        if ours.dtype.kind in "iub":
            np.testing.assert_array_equal(ours, theirs)
        else:
            scale = float(np.max(np.abs(ours), initial=0.0))
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=roundings * UNIT * scale)


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@st.composite
def windows(draw: st.DrawFn, *, pool: bool = False) -> tuple[list[int], list[int], dict[str, Any]]:
    """Spatial sizes, a kernel that fits, and the attributes of a window."""
    rank = draw(st.integers(1, 3))
    size = [draw(st.integers(1, 9)) for _ in range(rank)]
    kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
    attributes: dict[str, Any] = {}
    if draw(st.booleans()):
        attributes["strides"] = [draw(st.integers(1, 3)) for _ in range(rank)]
    padding = draw(st.sampled_from(["NOTSET", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    # onnxruntime ignores the dilations of pools with SAME padding, and refuses them for convolutions.
    if not padding.startswith("SAME") and draw(st.booleans()):
        attributes["dilations"] = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = attributes.get("dilations", [1] * rank)
    pads = [0] * (2 * rank)
    if padding == "pads":
        # In onnxruntime a pool's padding stays below its kernel.
        pads = [draw(st.integers(0, kernel[i % rank] - 1)) for i in range(2 * rank)]
        attributes["pads"] = pads
    elif padding != "NOTSET":
        attributes["auto_pad"] = padding
    if not padding.startswith("SAME"):
        for i in range(rank):
            assume((kernel[i] - 1) * dilations[i] + 1 <= size[i] + pads[i] + pads[rank + i])
    if pool:
        # A window that lies in the padding as a whole has no elements.
        assume(all(max(pads[i], pads[rank + i]) < size[i] and dilations[i] <= size[i] for i in range(rank)))
    return size, kernel, attributes


# --- convolutions


@settings(max_examples=60, deadline=None)
@given(seeds, windows(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_conv(
    seed: int, window: tuple[list[int], list[int], dict[str, Any]], group: int, fan_in: int, fan_out: int, biased: bool
) -> None:
    size, kernel, attributes = window
    x = normal(seed, 2, group * fan_in, *size)
    w = normal(seed + 1, group * fan_out, fan_in, *kernel)
    arrays = [x, w, normal(seed + 2, group * fan_out)] if biased else [x, w]
    model, feeds = single("Conv", arrays, group=group, **attributes)
    (ours,), (theirs,) = exact(model, feeds), in_runtime(model, feeds)
    (magnitude,) = exact(model, {name: np.abs(value) for name, value in feeds.items()})
    assert ours.shape == theirs.shape
    assert np.all(np.abs(theirs - ours) <= (math.prod(kernel) * fan_in + 2) * UNIT * magnitude)


@settings(max_examples=60, deadline=None)
@given(seeds, windows(), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.data())
def test_conv_transpose(
    seed: int,
    window: tuple[list[int], list[int], dict[str, Any]],
    group: int,
    fan_in: int,
    fan_out: int,
    biased: bool,
    data: st.DataObject,
) -> None:
    size, kernel, attributes = window
    rank = len(size)
    strides, dilations = (attributes.get(name, [1] * rank) for name in ("strides", "dilations"))
    pads = attributes.get("pads", [0] * (2 * rank))
    reach = [(size[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(rank)]
    assume(all(reach[i] - pads[i] - pads[rank + i] >= 1 for i in range(rank)))
    if data.draw(st.booleans()):
        attributes["output_padding"] = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    elif data.draw(st.booleans()):
        attributes["output_shape"] = [data.draw(st.integers(max(1, n - 2), n)) for n in reach]
    x = normal(seed, 2, group * fan_in, *size)
    w = normal(seed + 1, group * fan_in, fan_out, *kernel)
    arrays = [x, w, normal(seed + 2, group * fan_out)] if biased else [x, w]
    model, feeds = single("ConvTranspose", arrays, group=group, **attributes)
    (ours,), (theirs,) = exact(model, feeds), in_runtime(model, feeds)
    (magnitude,) = exact(model, {name: np.abs(value) for name, value in feeds.items()})
    assert ours.shape == theirs.shape
    assert np.all(np.abs(theirs - ours) <= (math.prod(kernel) * fan_in + 2) * UNIT * magnitude)


def test_convolutions_are_as_torch_computes_them_in_float64() -> None:
    torch = pytest.importorskip("torch")
    x, w, b = (normal(s, *shape).astype(np.float64) for s, shape in enumerate([(2, 6, 9, 8), (8, 3, 3, 2), (8,)]))
    settings_ = {"strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2]}
    model, feeds = single("Conv", [x, w, b], group=2, **settings_)
    tensors = [torch.from_numpy(t) for t in (x, w, b)]
    wanted = torch.nn.functional.conv2d(*tensors, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    np.testing.assert_allclose(exact(model, feeds)[0], wanted.numpy(), rtol=0, atol=1e-13)
    wt = normal(5, 6, 4, 3, 2).astype(np.float64)
    model, feeds = single("ConvTranspose", [x, wt, b], group=2, output_padding=[1, 0], **settings_)
    wanted = torch.nn.functional.conv_transpose2d(
        tensors[0], torch.from_numpy(wt), tensors[2], (2, 1), (1, 0), (1, 0), 2, (1, 2)
    )
    np.testing.assert_allclose(exact(model, feeds)[0], wanted.numpy(), rtol=0, atol=1e-13)


def test_a_large_convolution_in_blocks_is_the_small_one() -> None:
    """4 million gathered elements are multiplied at a time; a sum over single taps knows no blocks."""
    x, w = normal(0, 1, 32, 80, 80).astype(np.float64), normal(1, 4, 32, 5, 5).astype(np.float64)
    model, feeds = single("Conv", [x, w])
    wanted = sum(
        np.einsum("nchw,mc->nmhw", x[:, :, i : i + 76, j : j + 76], w[:, :, i, j]) for i in range(5) for j in range(5)
    )
    np.testing.assert_allclose(exact(model, feeds)[0], wanted, rtol=0, atol=1e-10)


# --- pools


@settings(max_examples=60, deadline=None)
@given(seeds, windows(pool=True), st.booleans(), st.sampled_from([0, 1]), st.sampled_from([12, 17, 22]))
def test_max_pool(
    seed: int, window: tuple[list[int], list[int], dict[str, Any]], ceil: bool, order: int, opset: int
) -> None:
    size, kernel, attributes = window
    x = normal(seed, 2, 3, *size)
    attributes |= {"kernel_shape": kernel, "ceil_mode": int(ceil), "storage_order": order}
    check("MaxPool", [x], roundings=0, opset=opset, outputs=2, **attributes)


@settings(max_examples=60, deadline=None)
@given(seeds, windows(pool=True), st.booleans(), st.booleans())
def test_average_pool(
    seed: int, window: tuple[list[int], list[int], dict[str, Any]], ceil: bool, count_padding: bool
) -> None:
    size, kernel, attributes = window
    attributes |= {"kernel_shape": kernel, "ceil_mode": int(ceil), "count_include_pad": int(count_padding)}
    model, feeds = single("AveragePool", [normal(seed, 2, 3, *size)], **attributes)
    (ours,), (theirs,) = exact(model, feeds), in_runtime(model, feeds)
    (magnitude,) = exact(model, {name: np.abs(value) for name, value in feeds.items()})
    assert ours.shape == theirs.shape
    assert np.all(np.abs(theirs - ours) <= (math.prod(kernel) + 2) * UNIT * magnitude)


@settings(max_examples=20, deadline=None)
@given(seeds, windows(pool=True), st.sampled_from([1, 2, 3]))
def test_lp_pool(seed: int, window: tuple[list[int], list[int], dict[str, Any]], p: int) -> None:
    size, kernel, attributes = window
    check("LpPool", [normal(seed, 2, 3, *size)], roundings=100, kernel_shape=kernel, p=p, **attributes)


@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("op_type", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
def test_global_pools_of_every_rank(op_type: str, rank: int) -> None:
    check(op_type, [normal(1, 2, 3, *[4, 5, 6][: rank - 2])], roundings=130, opset=13)


def test_max_pool_keeps_nan_and_padding_never_wins() -> None:
    x = np.full((1, 1, 4), -5.0, np.float32)
    x[0, 0, 1] = np.nan
    model, feeds = single("MaxPool", [x], kernel_shape=[2], strides=[2], pads=[1, 1])
    np.testing.assert_array_equal(exact(model, feeds)[0], [[[-5.0, np.nan, -5.0]]])


# --- normalizations


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 14, 15])
@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_batch_normalization_of_every_opset_uses_the_given_statistics(opset: int, rank: int) -> None:
    x = normal(0, 2, 5, *[4, 3, 2][: rank - 2])
    scale, bias, mean = (normal(i, 5) for i in (1, 2, 3))
    variance = np.abs(normal(4, 5)) + np.float32(0.1)
    check("BatchNormalization", [x, scale, bias, mean, variance], roundings=32, opset=opset, epsilon=1e-3)


@pytest.mark.parametrize("opset", [7, 8])
def test_per_activation_batch_normalization(opset: int) -> None:
    """onnxruntime has no kernel for spatial = 0, so the formula is the expectation."""
    x, *statistics = (normal(i, *shape) for i, shape in enumerate([(3, 2, 4, 5)] + [(2, 4, 5)] * 4))
    statistics[3] = np.abs(statistics[3]) + 0.1
    model, feeds = single("BatchNormalization", [x, *statistics], opset=opset, spatial=0)
    wide = [s.astype(np.float64) for s in statistics]
    wanted = (x.astype(np.float64) - wide[2]) / np.sqrt(wide[3] + np.float32(1e-5)) * wide[0] + wide[1]
    np.testing.assert_allclose(exact(model, feeds)[0], wanted, rtol=1e-14, atol=1e-14)


def test_batch_normalization_in_training() -> None:
    x, scale, bias, mean = normal(0, 4, 5, 3, 2), normal(1, 5), normal(2, 5), normal(3, 5)
    variance = np.abs(normal(4, 5))
    arrays = [x, scale, bias, mean, variance]
    check("BatchNormalization", arrays, roundings=64, opset=15, outputs=3, training_mode=1, momentum=0.7)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 9), st.integers(0, 3), st.integers(1, 3))
def test_lrn(seed: int, channels: int, half: int, batch: int) -> None:
    """Odd sizes, which onnxruntime knows; more samples than channels, where the reference evaluator is wrong."""
    x = normal(seed, batch, channels, 3, 4) * 3
    check("LRN", [x], roundings=64, size=2 * half + 1, alpha=0.4, beta=0.8, bias=1.5)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_lrn_by_its_formula_at_full_precision(size: int) -> None:
    """alpha / size is no float32, nor are alpha and beta the decimals that they look like."""
    x = normal(0, 2, 6, 3, 3)
    model, feeds = single("LRN", [x], size=size, alpha=0.1, beta=0.7, bias=1.1)
    alpha, beta, bias = (float(np.float32(v)) for v in (0.1, 0.7, 1.1))
    wanted = reference.inter_channel_lrn(x, size, alpha, beta, bias)
    np.testing.assert_allclose(exact(model, feeds)[0], wanted, rtol=1e-15, atol=0)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_layer_normalization_with_all_its_outputs(axis: int) -> None:
    x = normal(0, 2, 3, 4, 5)
    scale, bias = (normal(i, *x.shape[axis % 4 :]) for i in (1, 2))
    check("LayerNormalization", [x, scale, bias], roundings=128, opset=17, outputs=3, axis=axis, epsilon=1e-3)


def test_the_stash_type_does_not_round() -> None:
    x, scale, bias = (normal(i, *shape) for i, shape in enumerate([(2, 4, 5), (5,), (5,)]))
    (ours,) = exact(*single("LayerNormalization", [x, scale, bias], stash_type=1))
    wanted = reference.layer_norm(x, scale, bias, -1, float(np.float32(1e-5)))
    np.testing.assert_allclose(ours, wanted, rtol=1e-15)
    scale, bias = normal(1, 4), normal(2, 4)
    (ours,) = exact(*single("GroupNormalization", [x, scale, bias], opset=21, num_groups=2))
    wanted = reference.group_norm(x, 2, scale, bias, float(np.float32(1e-5)))
    np.testing.assert_allclose(ours, wanted, rtol=1e-15)


@pytest.mark.parametrize("axis", [-1, 1])
def test_rms_normalization(axis: int) -> None:
    x = normal(0, 2, 3, 5)
    check("RMSNormalization", [x, normal(1, *x.shape[axis % 3 :])], roundings=64, opset=23, axis=axis, epsilon=1e-3)


@pytest.mark.parametrize(("opset", "count"), [(18, 3), (21, 6)])
def test_group_normalization_has_scales_by_group_before_opset_21(opset: int, count: int) -> None:
    arrays = [normal(0, 2, 6, 4, 3), normal(1, count), normal(2, count)]
    check("GroupNormalization", arrays, roundings=128, opset=opset, num_groups=3)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_instance_normalization(rank: int) -> None:
    arrays = [normal(0, 2, 3, *[6, 5, 4][: rank - 2]), normal(1, 3), normal(2, 3)]
    check("InstanceNormalization", arrays, roundings=256, epsilon=1e-3)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization_of_negative_values(p: int) -> None:
    check("LpNormalization", [normal(0, 3, 7)], roundings=32, opset=17, axis=1, p=p)


def test_mean_variance_normalization() -> None:
    check("MeanVarianceNormalization", [normal(0, 3, 4, 5, 6) + 1], roundings=512, opset=13)


# --- the custom operators, with and without bodies


def _body(op_type: str) -> onnx.FunctionProto:
    """A body that is wrong on purpose: the formula must win."""
    node = helper.make_node("Neg", ["X"], ["Y"])
    return helper.make_function("onnxnorm", op_type, ["X"], ["Y"], [node], [helper.make_opsetid("", 18)])


@pytest.mark.parametrize("with_body", [False, True])
def test_the_custom_operators_follow_the_reference(with_body: bool) -> None:
    x = normal(0, 2, 6, 5, 4)
    within = {"kernel_shape": [3, 2], "alpha": 0.5, "beta": 0.75, "bias": 2.0}
    across = {"size": 4, "alpha": 0.5, "beta": 0.75, "bias": 2.0}
    for op_type, attributes, formula in (
        ("IntraChannelLRN", within, reference.intra_channel_lrn),
        ("InterChannelLRN", across, reference.inter_channel_lrn),
    ):
        model, feeds = single(op_type, [x], domain="onnxnorm", **attributes)
        if with_body:
            model.functions.append(_body(op_type))
        np.testing.assert_allclose(exact(model, feeds)[0], formula(x, **attributes), rtol=1e-15)


def test_the_custom_operators_take_their_defaults() -> None:
    x = normal(0, 2, 6, 5)
    model, feeds = single("IntraChannelLRN", [x], domain="onnxnorm", kernel_shape=[3])
    np.testing.assert_array_equal(exact(model, feeds)[0], reference.intra_channel_lrn(x, [3]))


# --- the rest


@settings(max_examples=20, deadline=None)
@given(seeds, st.booleans(), st.booleans(), st.sampled_from([(), (1,), (5,), (1, 5), (4, 1), (4, 5)]))
def test_gemm(seed: int, trans_a: bool, trans_b: bool, shape: tuple[int, ...]) -> None:
    a = normal(seed, *((6, 4) if trans_a else (4, 6)))
    b = normal(seed + 1, *((5, 6) if trans_b else (6, 5)))
    attributes = {"alpha": 0.7, "beta": -1.3, "transA": int(trans_a), "transB": int(trans_b)}
    check("Gemm", [a, b, normal(seed + 2, *shape)], roundings=64, **attributes)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "axis"), [(11, None), (11, 2), (12, -1), (13, None), (13, 1)])
def test_softmax_flattens_before_opset_13(op_type: str, opset: int, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    check(op_type, [normal(3, 2, 3, 4) * 5], roundings=32, opset=opset, **attributes)


def test_log_softmax_does_not_underflow() -> None:
    x = np.array([[0.0, 2000.0]], np.float32)
    np.testing.assert_array_equal(exact(*single("LogSoftmax", [x]))[0], [[-2000.0, 0.0]])


def test_erf_has_the_digits_of_float64() -> None:
    x = normal(0, 50)
    wanted = np.array([math.erf(float(v)) for v in x])
    np.testing.assert_array_equal(exact(*single("Erf", [x]))[0], wanted)


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(
    ("mode", "space"), [("linear", (4, 5)), ("nearest", (4, 5)), ("cubic", (4, 5)), ("linear", (3, 4, 2))]
)
def test_grid_sample_is_as_torch_computes_it_in_float64(
    mode: str, space: tuple[int, ...], padding: str, align: int
) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(5)
    x, grid = random.normal(size=(2, 3, *space)), random.uniform(-1.6, 1.6, (2, *(n + 1 for n in space), len(space)))
    model, feeds = single("GridSample", [x, grid], mode=mode, padding_mode=padding, align_corners=align)
    names = {"linear": "bilinear", "nearest": "nearest", "cubic": "bicubic"}
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(x), torch.from_numpy(grid), names[mode], padding, bool(align)
    )
    np.testing.assert_allclose(exact(model, feeds)[0], wanted.numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements_of_fewer_places(axis: int) -> None:
    places = np.array([[[1, -1], [0, 1]]], np.int64)
    check("GatherElements", [normal(0, 2, 3, 4), places], roundings=0, axis=axis)


def test_grid_sample_of_opset_16() -> None:
    x, grid = normal(0, 1, 2, 4, 5), np.tanh(normal(1, 1, 3, 3, 2))
    check("GridSample", [x, grid], roundings=64, opset=16, mode="bilinear")


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["constant", "edge", "reflect", "wrap"]), st.sampled_from([2, 11, 18, 19]))
def test_pad_adds_and_cuts(data: st.DataObject, mode: str, opset: int) -> None:
    assume(mode != "wrap" or opset >= 19)
    x = normal(3, 2, 5, 6)
    amounts = data.draw(st.lists(st.integers(-1, 2), min_size=4, max_size=4))
    pads = np.array([0, *amounts[:2], 0, *amounts[2:]], np.int64)
    fill = data.draw(st.sampled_from([0.0, 1.5, -7.0])) if mode == "constant" else 0.0
    if opset == 2:
        check("Pad", [x], roundings=0, opset=opset, mode=mode, pads=pads.tolist(), value=fill)
        return
    arrays: list[Array | None] = [x, pads, np.array(fill, np.float32)]
    if opset >= 18 and data.draw(st.booleans()):
        arrays[1:] = [np.array(amounts, np.int64), arrays[2], np.array([1, -1], np.int64)]
    check("Pad", arrays, roundings=0, opset=opset, mode=mode)


@settings(max_examples=30, deadline=None)
@given(
    seeds,
    st.sampled_from(["nearest", "linear", "cubic"]),
    st.sampled_from(["half_pixel", "align_corners", "asymmetric"]),
    st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    st.booleans(),
)
def test_resize(seed: int, mode: str, coordinates: str, tall: float, wide: float, by_size: bool) -> None:
    x = normal(seed, 1, 2, 4, 6)
    target = [None, None, np.array([1, 2, int(4 * tall), int(6 * wide)])]
    scales = target if by_size else [None, np.array([1, 1, tall, wide], np.float32)]
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    check("Resize", [x, *scales], roundings=256, opset=19, **attributes)


def test_a_resized_size_is_rounded_as_in_float32() -> None:
    x = normal(0, 1, 1, 10)
    (y,) = exact(*single("Resize", [x, None, np.array([1, 1, 0.7], np.float32)], opset=19, mode="linear"))
    assert y.shape == (1, 1, 7)


@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(opset: int) -> None:
    x, scales = normal(0, 1, 2, 3, 4), [1.0, 1.0, 2.0, 3.0]
    arrays, attributes = ([x], {"scales": scales}) if opset == 7 else ([x, np.array(scales, np.float32)], {})
    check("Upsample", arrays, roundings=0, opset=opset, mode="nearest", **attributes)


def test_dequantize_linear_keeps_large_integers() -> None:
    x = np.array([2**24 + 1, -(2**30) - 1], np.int32)
    model, feeds = single("DequantizeLinear", [x, np.array(0.5, np.float32), np.array(1, np.int32)])
    np.testing.assert_array_equal(exact(model, feeds)[0], [2**23, -(2**29) - 1])


def test_an_optional_value_is_the_value() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[2, 3] x) => (float[2, 3] y, float[4, 3] z, bool there) {
            o = Optional (x)
            y = OptionalGetElement (o)
            there = OptionalHasElement (o)
            s = SequenceConstruct (x, x)
            p = Optional (s)
            t = OptionalGetElement (p)
            z = ConcatFromSequence <axis: int = 0> (t)
        }"""
    )
    feeds = {"x": normal(1, 2, 3)}
    for own, other in zip(exact(model, feeds), in_runtime(model, feeds), strict=True):
        np.testing.assert_array_equal(own, other)


def test_every_real_type_is_lifted_wherever_it_occurs() -> None:
    """Casts to half types, constants, fills and subgraphs: each would round in the model's own type."""
    third = helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16)
    constant = helper.make_node("Constant", [], ["c"], value_float=0.1)
    fill = helper.make_node(
        "ConstantOfShape", ["shape"], ["f"], value=numpy_helper.from_array(np.array([0.1], np.float16))
    )
    like = helper.make_node("CastLike", ["half", "bf"], ["back"])
    branch = helper.make_graph(
        [helper.make_node("Add", ["back", "c"], ["t"])], "branch", [], [helper.make_empty_tensor_value_info("t")]
    )
    choice = helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch)
    last = helper.make_node("Add", ["chosen", "f"], ["y"])
    graph = helper.make_graph(
        [third, constant, fill, like, choice, last],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_empty_tensor_value_info("y")],
        [
            numpy_helper.from_array(np.array([3]), "shape"),
            numpy_helper.from_array(np.array(True), "yes"),
            helper.make_tensor("bf", TensorProto.BFLOAT16, [], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = np.array([1 / 3, 2 / 3, 1e-7], np.float32)
    wanted = x.astype(np.float64) + float(np.float32(0.1)) + float(np.float16(0.1))
    np.testing.assert_array_equal(evaluate_float64(model, {"x": x})["y"], wanted)


def test_functions_with_attributes_and_overloads() -> None:
    def function(overload: str, factor: float) -> onnx.FunctionProto:
        constant = helper.make_node("Constant", [], ["k"], value_float=factor)
        power = helper.make_node("Constant", [], ["p"])
        kind = onnx.AttributeProto.FLOAT
        power.attribute.append(onnx.AttributeProto(name="value_float", ref_attr_name="power", type=kind))
        nodes = [
            constant,
            power,
            helper.make_node("Pow", ["X", "p"], ["q"]),
            helper.make_node("Mul", ["q", "k"], ["Y"]),
        ]
        made = helper.make_function("own", "Scaled", ["X"], ["Y"], nodes, [helper.make_opsetid("", 18)], ["power"])
        made.overload = overload
        return made

    nodes = [
        helper.make_node("Scaled", ["x"], ["a"], domain="own", overload="one", power=2.0),
        helper.make_node("Scaled", ["a"], ["y"], domain="own", overload="two", power=3.0),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = [function("one", 2.0), function("two", 3.0)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)
    x = np.array([1.5, 2.0], np.float32)
    np.testing.assert_array_equal(evaluate_float64(model, {"x": x})["y"], 3.0 * (2.0 * x**2) ** 3)


def _loop(body_rank: int) -> onnx.ModelProto:
    """Three trips: the state grows by one, and each state is scanned out."""
    shape = [2] * body_rank
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "one"], ["next"]),
            helper.make_node("Identity", ["next"], ["scanned"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("scanned", TensorProto.FLOAT, shape),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "x"], ["y", "all"], body=body)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info("y"), helper.make_empty_tensor_value_info("all")],
        [numpy_helper.from_array(np.array(3), "trips"), numpy_helper.from_array(np.array(1.0, "f"), "one")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_a_loop_stacks_what_it_scans(rank: int) -> None:
    feeds = {"x": normal(0, *[2] * rank)}
    for ours, theirs in zip(exact(_loop(rank), feeds), in_runtime(_loop(rank), feeds), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(theirs, ours, rtol=8 * UNIT, atol=8 * UNIT)


def test_nodes_that_are_alike_share_an_operator_and_others_do_not() -> None:
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["a"], alpha=0.5),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.5),
        helper.make_node("LeakyRelu", ["b"], ["y"], alpha=0.25),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [3])] for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "graph", *ends), opset_imports=[helper.make_opsetid("", 18)])
    evaluator = Float64Evaluator(model)
    np.testing.assert_array_equal(evaluator.run({"x": np.array([-16, 0, 2], "f")})["y"], [-1, 0, 2])
    assert len({id(node) for node in evaluator._evaluator.rt_nodes_}) == 2


# --- refusals


@pytest.mark.parametrize(
    ("op_type", "arrays", "attributes"),
    [
        ("AffineGrid", [normal(0, 1, 2, 3), np.array([1, 1, 2, 2], np.int64)], {}),
        ("RandomNormalLike", [normal(0, 2)], {}),
        ("FusedConv", [normal(0, 1, 1, 3, 3), normal(1, 1, 1, 2, 2)], {"domain": "com.microsoft"}),
    ],
)
def test_what_cannot_be_computed_is_refused_by_name(
    op_type: str, arrays: list[Array], attributes: dict[str, Any]
) -> None:
    with pytest.raises(NoFloat64Error, match=op_type):
        evaluate_float64(*single(op_type, arrays, opset=20, **attributes))


def test_recurrent_operators_with_what_the_engine_ignores_are_refused() -> None:
    x, w, r = normal(0, 4, 2, 3), normal(1, 1, 8, 3), normal(2, 1, 8, 2)
    check("LSTM", [x, w, r], roundings=64, hidden_size=2)
    with pytest.raises(NoFloat64Error, match="clip"):
        evaluate_float64(*single("LSTM", [x, w, r], hidden_size=2, clip=0.1))
    lengths = np.array([2, 4], np.int32)
    with pytest.raises(NoFloat64Error, match="sequence_lens"):
        evaluate_float64(*single("LSTM", [x, w, r, None, lengths], hidden_size=2))


@pytest.mark.parametrize("feeds", [{}, {"x0": normal(0, 2), "other": normal(0, 2)}])
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, Array]) -> None:
    model, _ = single("Neg", [normal(0, 2)])
    with pytest.raises(OnnxNormError, match="x0"):
        evaluate_float64(model, feeds)


def test_shapes_that_do_not_fit_are_refused_with_the_node() -> None:
    with pytest.raises(NoFloat64Error, match="Conv"):
        evaluate_float64(*single("Conv", [normal(0, 1, 3, 5, 5), normal(1, 2, 2, 3, 3)]))


# --- whole models


@pytest.mark.parametrize("name", ["squeezenet", "resnet50"])
def test_a_published_model_in_seconds(name: str) -> None:
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    evaluator = Float64Evaluator(model)
    (data,) = evaluator.inputs
    feeds = {data: normal(0, 1, 3, 224, 224)}
    begin = time.process_time()
    (ours,) = evaluator.run(feeds).values()
    assert time.process_time() - begin < 30
    expected = onnx.TensorProto.FromString((LIGHT / f"light_{name}_output_0.pb").read_bytes())
    np.testing.assert_allclose(ours, numpy_helper.to_array(expected), rtol=1e-4)


def test_a_second_run_repeats_the_first_and_takes_other_constants() -> None:
    """Constants are computed once; one that the caller replaces is not."""
    model, feeds = single("Neg", [normal(0, 3)])
    model.graph.node.append(helper.make_node("Exp", ["c"], ["d"]))
    model.graph.node.append(helper.make_node("Add", ["y0", "d"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "c"))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [3]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [3]))
    evaluator = Float64Evaluator(model)
    first, second = evaluator.run(feeds)["y"], evaluator.run(feeds)["y"]
    np.testing.assert_array_equal(first, 1.0 - feeds["x0"].astype(np.float64))
    np.testing.assert_array_equal(first, second)
    other = evaluator.run(feeds | {"c": np.full(3, -np.inf, np.float32)})["y"]
    np.testing.assert_array_equal(other, -feeds["x0"].astype(np.float64))
    np.testing.assert_array_equal(evaluator.run(feeds)["y"], first)
