"""Tests that weights held beside messages are the same to everything that reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxnorm.evaluate import evaluator
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.model import held
from onnxnorm.model.held import HeldWeights, array_of, held_arrays, is_held, materialized, size_of
from onnxnorm.optimizer.optimize import optimize
from onnxnorm.runtime.unoptimized import open_session
from onnxnorm.verification.verify import verify
from testing.builder import Builder


def _network() -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.input((1, 16, 6, 6))
    for _ in range(2):
        x = b.node("Relu", b.batch_norm(b.conv(x, 16, 16, (3, 3), pads=[1, 1, 1, 1]), 16))
    return b.model(x)


@pytest.fixture(autouse=True)
def _hold_all_but_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "_LEAST", 1024)


def test_nothing_but_the_weights_leaves_the_message() -> None:
    model = _network()
    model.producer_name, model.graph.doc_string = "somebody", "a graph"
    weights = HeldWeights()
    light = weights.take(model)
    names = [tensor.name for tensor in light.graph.initializer if is_held(tensor)]
    assert len(names) == 2 and light.ByteSize() < model.ByteSize() / 4
    assert materialized(light) == model
    assert abs(size_of(light) - model.ByteSize()) < 1000
    for tensor, given in zip(light.graph.initializer, model.graph.initializer, strict=True):
        np.testing.assert_array_equal(array_of(tensor), numpy_helper.to_array(given))


def test_onnxruntime_and_float64_see_what_they_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network()
    weights = HeldWeights()
    light = weights.take(model)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 16, 6, 6)).astype(np.float32)}
    for level in ("off", "on"):
        (one,), (two,) = (open_session(each, level).run(None, feeds) for each in (model, light))
        np.testing.assert_array_equal(one, two)
    wanted = evaluate_float64(model, feeds)
    # Large models are lifted to float64 one weight at a time.
    for large in (1 << 30, 0):
        monkeypatch.setattr(evaluator, "_LARGE", large)
        got = evaluate_float64(light, feeds)
        assert all(np.array_equal(got[name], wanted[name]) for name in wanted)


def test_weights_go_when_nobody_shares_them() -> None:
    weights = HeldWeights()
    light = weights.take(_network())
    other = onnx.ModelProto()
    other.CopyFrom(light)
    first = next(tensor for tensor in other.graph.initializer if is_held(tensor))
    first.CopyFrom(weights.reference(first, array_of(first) + 1))
    assert len(weights._arrays) == 3
    weights.forget(other, light)
    assert len(weights._arrays) == 2 and len(held_arrays(light)) == 2


@pytest.mark.parametrize("external", [False, True])
def test_a_graph_and_a_file_are_taken_as_they_are(external: bool, tmp_path: Path) -> None:
    model, path = _network(), tmp_path / "model.onnx"
    onnx.save(_network(), path, save_as_external_data=external, location="model.data", size_threshold=0)
    weights = HeldWeights()
    found = weights.take(onnx.load(path, load_external_data=False), tmp_path.joinpath)
    for light in (found, weights.take_graph(ir.load(path))):
        assert len(held_arrays(light)) == 2
        whole = materialized(light)
        assert {t.name: numpy_helper.to_array(t).tobytes() for t in whole.graph.initializer} == {
            t.name: numpy_helper.to_array(t).tobytes() for t in model.graph.initializer
        }


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_the_judgement_is_the_same(
    external: bool, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(evaluator, "_LARGE", 0)
    path = tmp_path / "model.onnx"
    onnx.save(_network(), path, save_as_external_data=external, location="model.data")
    result = optimize(path, verify=True)
    assert result.report is not None and result.report.passed
    other = tmp_path / "result.onnx"
    result.save(other, external_data=external)
    assert verify(path, other)
    broken = onnx.load(other)
    tensor = max(broken.graph.initializer, key=lambda each: len(each.raw_data))
    values = np.array(numpy_helper.to_array(tensor))
    values.flat[int(np.argmax(np.abs(values)))] *= 1.001
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(broken, other)
    report = verify(path, other, bisect=tmp_path / "pair")
    assert not report and report.place is not None and report.place.op_type == "Conv"
    pair = [onnx.load(tmp_path / "pair" / f"{part}.onnx") for part in ("original", "result")]
    assert not verify(*pair, tmp_path / "pair" / "inputs.npz")
