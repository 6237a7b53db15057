"""Tests of preprocessing put in front of a model: against NumPy's own, and how much of it is left after folding."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm import OnnxNormError
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.prepare.preprocessing import Preprocessing, prepend
from testing.builder import Builder, session

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _network(pads: int, *, rank: int = 4, dtype: Any = np.float32) -> onnx.ModelProto:
    b = Builder(dtype=dtype)
    space = (9, 8, 7)[: rank - 2]
    x = b.conv(b.input((2, 3, *space), name="image"), 3, 4, (3,) * len(space), pads=[pads] * 2 * len(space))
    return b.model(b.node("Relu", b.batch_norm(x, 4)))


def _normalized(pixels: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """The formula, in float64."""
    x = pixels.astype(np.float64)
    if options.get("input_layout", "").endswith("C"):
        x = np.moveaxis(x, -1, 1)
    if options.get("swap_rb"):
        x = x[:, ::-1]
    numbers = options.get("normalize_input") or {}
    columns = (1, -1, *(1,) * (x.ndim - 2))
    mean, std = (np.reshape(numbers.get(key, default), columns) for key, default in (("mean", 0.0), ("std", 1.0)))
    return (x * numbers.get("scale", 1.0) - mean) / std


def _compare(model: onnx.ModelProto, result: onnx.ModelProto, options: dict[str, Any], dtype: Any = np.float32) -> None:
    onnx.checker.check_model(result, full_check=True)
    (image,) = result.graph.input
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, shape).astype(options.get("input_dtype") or dtype)
    (wanted,) = session(model).run(None, {"image": _normalized(pixels, options).astype(dtype)})
    (got,) = session(result).run(None, {"image": pixels})
    assert np.abs(wanted - got).max() <= 3e-6 * np.abs(wanted).max()


NORMALIZED = {"mean": MEAN, "std": STD, "scale": 1 / 255}


@pytest.mark.parametrize(
    ("pads", "layout", "element", "swap"),
    list(itertools.product((0, 1), (None, "NHWC"), (None, "uint8"), (False, True))),
)
def test_folds_into_the_first_convolution(pads: int, layout: str | None, element: str | None, swap: bool) -> None:
    model = _network(pads)
    given = model.SerializeToString(deterministic=True)
    options: dict[str, Any] = {"normalize_input": NORMALIZED, "swap_rb": swap}
    options |= {"input_layout": layout} if layout else {}
    options |= {"input_dtype": element} if element else {}
    result = onnxnorm.optimize(model, verify=swap, **options)
    assert not result.notes and model.SerializeToString(deterministic=True) == given
    _compare(model, result.model, options)
    left = Counter(node.op_type for node in result.model.graph.node) - Counter({"Conv": 1, "Relu": 1})
    # A zero of the padding is a pixel of the mean, so that the mean stays before it.
    assert left.total() == bool(layout) + bool(element) + (pads > 0), left


@pytest.mark.parametrize(("stride", "growth", "goes"), [(4, 30.0, True), (4, 0.05, False), (1, 30.0, False)])
def test_the_mean_goes_behind_a_padding_where_that_is_less_work(stride: int, growth: float, goes: bool) -> None:
    """A tensor behind the convolution makes up for the border; at a stride it is smaller than the image."""
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 64, 64), name="image"), 3, 32, (7, 7), pads=[3] * 4, strides=[stride] * 2)
    tokens = b.node("Transpose", b.node("Reshape", x, b.ints(1, 32, -1)), perm=[0, 2, 1])
    model = b.model(b.node("Softplus", tokens))
    options: dict[str, Any] = {"normalize_input": NORMALIZED}
    result = onnxnorm.optimize(model, max_growth=growth, **options).model
    assert (result.graph.node[0].op_type == "Conv") is goes
    _compare(model, result, options)


@pytest.mark.parametrize("layout", [None, "NWC", "NDHWC"])
def test_other_ranks(layout: str | None) -> None:
    rank = len(layout or "NCW")
    options: dict[str, Any] = {"normalize_input": {"mean": 127.5, "std": (50.0, 60.0, 70.0)}}
    options |= {"input_layout": layout} if layout else {}
    model = _network(1, rank=rank)
    _compare(model, onnxnorm.optimize(model, verify=False, **options).model, options)


def test_the_nodes_alone_compute_the_formula() -> None:
    model = _network(1)
    options = {"normalize_input": NORMALIZED, "input_layout": "NHWC", "input_dtype": "uint8", "swap_rb": True}
    work = load(model)
    preprocessing = Preprocessing.of(**options)
    assert preprocessing is not None
    prepend(work, preprocessing)
    _compare(model, to_proto(work), options)


def test_an_input_that_is_an_output_too() -> None:
    b = Builder(dtype=np.float32)
    x = b.input((1, 3, 4, 4), name="image")
    model = b.model(b.node("Identity", x))
    options = {"normalize_input": NORMALIZED}
    _compare(model, onnxnorm.optimize(model, verify=False, **options).model, options)


def test_one_of_several_images_is_named() -> None:
    b = Builder(dtype=np.float32)
    x, z = (b.input((1, 3, 4, 4), name=name) for name in ("image", "other"))
    model = b.model(b.node("Add", b.conv(x, 3, 2, (1, 1)), b.conv(z, 3, 2, (1, 1))))
    with pytest.raises(OnnxNormError, match="'image', 'other' could be the image"):
        onnxnorm.optimize(model, normalize_input={"mean": 1.0})
    result = onnxnorm.optimize(model, normalize_input={"mean": 1.0, "input": "other"})
    assert [value.name for value in result.model.graph.input] == ["image", "other"]
    feeds = {"image": np.ones((1, 3, 4, 4), np.float32), "other": np.full((1, 3, 4, 4), 2.0, np.float32)}
    (wanted,) = session(model).run(None, {**feeds, "other": feeds["other"] - 1})
    (got,) = session(result.model).run(None, feeds)
    assert np.allclose(wanted, got, rtol=1e-5)


def test_nothing_asked_for_changes_nothing() -> None:
    assert Preprocessing.of() is None
    assert Preprocessing.of({"mean": 0.0, "std": 1, "scale": 1}) is None
    work = load(_network(0))
    prepend(work, Preprocessing(layout="NCHW", dtype="float32"))
    assert [node.op_type for node in work.graph] == ["Conv", "BatchNormalization", "Relu"]
    assert work.graph.inputs[0].name == "image"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize_input": {"maen": 1}}, "did you mean 'mean'|it takes mean"),
        ({"normalize_input": {"std": 0}}, "a std of zero"),
        ({"normalize_input": {"mean": "red"}}, "mean must be a number"),
        ({"normalize_input": {"scale": (1, 2)}}, "scale must be a number"),
        ({"normalize_input": {"mean": (1, 2)}}, "2 numbers of mean are given, and input 'image' has 3 channels"),
        ({"normalize_input": {"mean": (1, 2, 3), "std": (1, 2)}}, "3 numbers of mean, 2 of std: that is no one"),
        ({"normalize_input": {"mean": 1, "input": "x"}}, "has no input 'x'"),
        ({"normalize_input": {"input": "image"}}, "nothing to do with it: give a mean"),
        ({"input_layout": "HWC"}, r"input_layout \(--input-layout\) must be one of"),
        ({"input_layout": "NDHWC"}, "has rank 4"),
        ({"input_dtype": "uint9"}, r"input_dtype \(--input-dtype\) must be one of"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OnnxNormError, match=message):
        onnxnorm.optimize(_network(0), **options)


def test_a_model_without_an_image() -> None:
    b = Builder(dtype=np.float32)
    model = b.model(b.node("Relu", b.input((2, 4))))
    with pytest.raises(OnnxNormError, match="no input of the model is an image"):
        onnxnorm.optimize(model, swap_rb=True)


def test_export_takes_the_same() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    options: dict[str, Any] = {"normalize_input": NORMALIZED, "input_layout": "NHWC", "input_dtype": "uint8"}
    model = onnxnorm.export(module, (torch.zeros(1, 3, 8, 8),), fold=True, **options)
    assert [node.op_type for node in model.graph.node] == ["Transpose", "Cast", "Conv", "Relu"]
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    wanted = module(torch.from_numpy(_normalized(pixels, options).astype(np.float32))).detach().numpy()
    (got,) = session(model).run(None, {model.graph.input[0].name: pixels})
    assert np.allclose(wanted, got, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", [None, "NHWC", "NCHW"])
@pytest.mark.parametrize("swap", [False, True])
def test_a_model_whose_channels_come_last(layout: str | None, swap: bool) -> None:
    """Extents say which axis has the channels; a layout is that of the result's input."""
    b = Builder(dtype=np.float32)
    x = b.node("Transpose", b.input((2, 9, 8, 3), name="image"), perm=[0, 3, 1, 2])
    model = b.model(b.conv(x, 3, 4, (3, 3)))
    options: dict[str, Any] = {"normalize_input": NORMALIZED, "swap_rb": swap, "input_dtype": "uint8"}
    options |= {"input_layout": layout} if layout else {}
    result = onnxnorm.optimize(model, **options).model
    (image,) = result.graph.input
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert shape == ([2, 3, 9, 8] if layout == "NCHW" else [2, 9, 8, 3])
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    own = np.moveaxis(pixels, 1, -1) if layout == "NCHW" else pixels
    wanted = ((own[..., ::-1] if swap else own) / 255 - MEAN) / STD
    (wanted,), (got,) = (
        session(model).run(None, {"image": wanted.astype(np.float32)}),
        session(result).run(None, {"image": pixels}),
    )
    assert np.abs(wanted - got).max() <= 3e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("rank", [3, 5])
def test_open_channels_become_those_of_the_numbers(rank: int) -> None:
    model = _network(0, rank=rank)
    for extent, word in zip(model.graph.input[0].type.tensor_type.shape.dim, "NCXYZ", strict=False):
        extent.dim_param = word
    work = load(model)
    preprocessing = Preprocessing.of({"mean": MEAN, "scale": 1 / 255})
    assert preprocessing is not None
    prepend(work, preprocessing)
    dims = to_proto(work).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in dims] == ["N", 3, *"XYZ"[: rank - 2]]


@pytest.mark.parametrize(("element", "casts"), [("uint8", 1), ("uint16", 2), ("int32", 2)])
def test_integers_beyond_half_precision_are_normalized_before(element: str, casts: int) -> None:
    b = Builder(dtype=np.float16)
    model = b.model(b.node("Sigmoid", b.input((1, 3, 4, 4), name="image")))
    top = np.iinfo(element).max if element != "int32" else 1_000_000
    work = load(model)
    preprocessing = Preprocessing.of({"mean": 0.5, "std": 0.25, "scale": 1 / top}, input_dtype=element)
    assert preprocessing is not None
    prepend(work, preprocessing)
    result = to_proto(work)
    assert sum(node.op_type == "Cast" for node in result.graph.node) == casts
    pixels = np.linspace(0, top, 48).astype(element).reshape(1, 3, 4, 4)
    (got,) = session(result).run(None, {"image": pixels})
    wanted = 1 / (1 + np.exp(-(pixels / top - 0.5) / 0.25))
    assert np.abs(got - wanted).max() <= 2e-3
