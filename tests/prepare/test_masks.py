"""Tests of attention masks in half precision: what a softmax leaves out stays out, and nothing else is made smaller."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxnorm
from onnxnorm.evaluate.rounded import RoundedEvaluator
from onnxnorm.io.load_and_save import load
from onnxnorm.runtime.inputs import input_specs
from testing.builder import Builder, session

LEAST = float(np.finfo(np.float32).min)


def _scores(b: Builder) -> str:
    x = b.input((2, 4, 6, 8))
    return b.node("MatMul", x, b.constant(b.normal(8, 6) * 0.5))


def _chosen(b: Builder, number: float) -> str:
    keep = b.node("Unsqueeze", b.node("Cast", b.input((2, 6), "keep", onnx.TensorProto.INT64), to=9), b.ints(1, 2))
    return b.node("Where", keep, b.constant(np.array(0.0)), b.constant(np.array(number)))


def _added(b: Builder, number: float) -> str:
    return b.node("Softmax", b.node("Add", _scores(b), _chosen(b, number)))


def _masked(b: Builder, number: float) -> str:
    keep = b.node("Unsqueeze", b.node("Cast", b.input((2, 6), "keep", onnx.TensorProto.INT64), to=9), b.ints(1, 2))
    return b.node("Softmax", b.node("Where", keep, _scores(b), b.constant(np.array(number))))


def _multiplied(b: Builder, number: float) -> str:
    keep = b.node("Cast", b.node("Cast", b.input((2, 6), "keep", onnx.TensorProto.INT64), to=9), to=1)
    gone = b.node("Sub", b.constant(np.array(1.0)), b.node("Unsqueeze", keep, b.ints(1, 2)))
    return b.node("Softmax", b.node("Add", _scores(b), b.node("Mul", gone, b.constant(np.array(number)))))


def _numbered(b: Builder, number: float) -> str:
    """A mask whose name tells nothing of what it is, as PyTorch's older exporter gives them."""
    numbers = b.node("Unsqueeze", b.input((2, 6), "keep", onnx.TensorProto.INT64), b.ints(1, 2))
    gone = b.node("Sub", b.constant(np.array(1.0)), b.node("Cast", numbers, to=1))
    return b.node("Softmax", b.node("Add", _scores(b), b.node("Mul", gone, b.constant(np.array(number)))))


def _causal(b: Builder, number: float) -> str:
    b.input((2, 6), "keep", onnx.TensorProto.INT64)
    table = b.constant(np.triu(np.full((1, 1, 6, 6), number), 1))
    return b.node("Softmax", b.node("Add", _scores(b), b.node("Slice", table, b.ints(0), b.ints(6), b.ints(3))))


def _to_attention(b: Builder, number: float) -> str:
    x = b.input((2, 4, 6, 8))
    mask = b.node("Expand", _chosen(b, number), b.ints(2, 1, 6, 6))
    k, v = (b.node("MatMul", x, b.constant(b.normal(8, 8))) for _ in range(2))
    return b.node("Attention", x, k, v, mask)


MASKS = [_added, _masked, _multiplied, _numbered, _causal, _to_attention]


def _feeds() -> dict[str, np.ndarray]:
    keep = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 0, 1, 1]])
    return {"x": np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype(np.float32), "keep": keep}


@pytest.mark.parametrize("number", [-1e5, -1e9, LEAST])
@pytest.mark.parametrize("build", MASKS)
def test_masks_become_finite_and_mask_as_before(build: Callable[[Builder, float], str], number: float) -> None:
    b = Builder(dtype=np.float32, opset=23 if build is _to_attention else 18, ir_version=10)
    model = b.model(build(b, number))
    result = onnxnorm.optimize(model, dtype="float16", calibration=[_feeds()])
    onnx.checker.check_model(result.model, full_check=True)
    assert any("only take elements out of a softmax are -16376 in float16" in note for note in result.notes)
    assert not any("stays" in note for note in result.notes), result.notes
    (wanted,) = session(model).run(None, _feeds())
    (got,) = RoundedEvaluator(result.model).evaluate(_feeds()).values()
    assert np.abs(got - wanted).max() <= 4e-3 * np.abs(wanted).max()
    if build is not _to_attention:
        assert np.array_equal(got == 0, wanted == 0)
    arrays = [numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer]
    assert all(np.isfinite(array.astype(np.float64)).all() for array in arrays if array.dtype == np.float16)


@pytest.mark.parametrize(("number", "bound"), [(LEAST, 2), (-1e4, 2), (-2.0, 4), (1e9, 4)])
def test_an_input_that_leaves_elements_out_is_drawn_as_zeros_and_ones(number: float, bound: int) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_numbered(b, number))
    assert {spec.name: spec.bound for spec in input_specs(model)}["keep"] == bound
    if bound == 2:
        result = onnxnorm.optimize(model, dtype="float16", verify=False)
        assert not any("stays" in note for note in result.notes), result.notes


def test_infinity_stays_infinity() -> None:
    b = Builder(dtype=np.float32)
    model = b.model(_added(b, -np.inf))
    result = onnxnorm.optimize(model, dtype="float16", calibration=[_feeds()])
    assert not any("stays" in note for note in result.notes), result.notes
    assert any(
        np.isneginf(numpy_helper.to_array(tensor).astype(np.float64)).any() for tensor in result.model.graph.initializer
    )


def _also_an_output(b: Builder) -> list[str]:
    mask = _chosen(b, -1e9)
    return [b.node("Softmax", b.node("Add", _scores(b), mask)), b.node("Identity", mask)]


def _to_a_log_softmax(b: Builder) -> list[str]:
    return [b.node("LogSoftmax", b.node("Add", _scores(b), _chosen(b, -1e9)))]


def _beside_large_scores(b: Builder) -> list[str]:
    large = b.node("Mul", _scores(b), b.constant(np.array(8e3)))
    return [b.node("Softmax", b.node("Add", large, _chosen(b, -1e9)))]


def _of_soft_choices(b: Builder) -> list[str]:
    b.input((2, 6), "keep", onnx.TensorProto.INT64)
    soft = b.node("Sigmoid", _scores(b))
    return [b.node("Softmax", b.node("Mul", soft, b.constant(np.array(-1e5))))]


def _of_many(b: Builder) -> list[str]:
    x = _scores(b)
    b.input((2, 6), "keep", onnx.TensorProto.INT64)
    for _ in range(4):
        x = b.node("Add", x, b.constant(np.triu(np.full((6, 6), -1e9), 1)))
    return [b.node("Softmax", x)]


@pytest.mark.parametrize(
    "build", [_also_an_output, _to_a_log_softmax, _beside_large_scores, _of_soft_choices, _of_many]
)
def test_what_is_no_mask_stays_in_float32(build: Callable[[Builder], list[str]]) -> None:
    b = Builder(dtype=np.float32)
    model = b.model(*build(b))
    result = onnxnorm.optimize(model, dtype="float16", keep_io_types=True, calibration=[_feeds()], passes=[])
    assert any("stays" in note for note in result.notes), result.notes
    wanted = session(model).run(None, _feeds())
    got = RoundedEvaluator(result.model).evaluate(_feeds())
    for array, other in zip(wanted, got.values(), strict=True):
        assert np.allclose(array, other, rtol=0.03, atol=1e-2 * np.abs(array).max())


def test_bfloat16_holds_no_least_number_of_float32() -> None:
    b = Builder(dtype=np.float32, opset=22, ir_version=10)
    model = b.model(_added(b, LEAST))
    result = onnxnorm.optimize(model, dtype="bfloat16", calibration=[_feeds()])
    assert not any("stays" in note for note in result.notes), result.notes
    (got,) = RoundedEvaluator(result.model).evaluate(_feeds()).values()
    (wanted,) = session(model).run(None, _feeds())
    assert np.abs(got - wanted).max() <= 0.03


@pytest.mark.parametrize("opset", [18, 23])
def test_rms_norms_have_their_statistics_in_float32(opset: int) -> None:
    """Values whose squares overflow float16, before a norm that makes them small again."""
    b = Builder(dtype=np.float32, opset=18, ir_version=10)
    x = b.node("MatMul", b.input((2, 5, 8)), b.constant(b.normal(8, 8) * 300))
    size = b.node("Sqrt", b.node("Add", b.node("ReduceMean", b.node("Mul", x, x), b.ints(-1)), b.constant(1e-6)))
    model = b.model(
        b.node("MatMul", b.node("Mul", b.node("Div", x, size), b.constant(b.normal(8))), b.constant(b.normal(8, 4)))
    )
    result = onnxnorm.optimize(model, dtype="float16", opset=opset)
    casts = sum(node.op_type == "Cast" for node in result.model.graph.node)
    hint = any("at opset 23 an RMS norm is one node" in note for note in result.notes)
    assert (casts, hint) == ((2, True) if opset == 18 else (0, False)), result.notes
    load(result.model)
