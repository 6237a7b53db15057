"""One session serves models that differ in weights and names alone, and gives what their own sessions give."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.runtime.random_samples import Ways
from onnxnorm.runtime.unoptimized import open_session
from onnxnorm.verification import shared_sessions
from onnxnorm.verification.cuts import PieceSizes, borders_of
from onnxnorm.verification.drawn_samples import DrawnSamples
from onnxnorm.verification.layout import layout_of
from onnxnorm.verification.runs import run_all
from onnxnorm.verification.shared_sessions import SharedSessions
from onnxnorm.verification.walk import Walk
from testing.builder import Builder

_FEEDS = {"x": np.random.default_rng(0).normal(size=(1, 3, 6, 6)).astype(np.float32)}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Levels of the sessions that were made."""
    levels: list[str] = []

    def counted(model: onnx.ModelProto, level: str, *rest: Any) -> Any:
        levels.append(level)
        return open_session(model, level, *rest)

    monkeypatch.setattr(shared_sessions, "open_session", counted)
    return levels


def _net(seed: int, *, prefix: str = "", pads: int = 1, shape: tuple[int, ...] = (0, 2, -1)) -> onnx.ModelProto:
    b = Builder(seed=seed, dtype=np.float32)
    x = b.conv(b.input((1, 3, 6, 6), "x"), 3, 4, (3, 3), pads=[pads] * 4)
    x = b.node("Relu", b.batch_norm(x, 4))
    model = b.model(b.node("Mul", b.node("Reshape", x, b.ints(*shape)), b.constant(b.normal(1))))
    for node in model.graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [name if name == "x" else prefix + name for name in names]
    for value in (*model.graph.initializer, *model.graph.output, *model.graph.value_info):
        value.name = prefix + value.name
    return model


def test_models_of_one_structure_share_a_session_and_keep_their_values(opened: list[str]) -> None:
    sessions = SharedSessions()
    for model in (_net(0), _net(1), _net(2, prefix="other/")):
        (seen,) = run_all(model, "off", [_FEEDS], None, sessions.open)
        (alone,) = run_all(model, "off", [_FEEDS])
        assert seen.keys() == alone.keys()
        for name, value in seen.items():
            np.testing.assert_array_equal(value, alone[name])
    assert opened == ["off"]


@pytest.mark.parametrize(
    ("model", "level"),
    [(_net(1, pads=0), "off"), (_net(1, shape=(0, 4, -1)), "off"), (_net(0), "on")],
    ids=["another attribute", "another shape", "with optimizations"],
)
def test_what_differs_in_more_than_weights_has_a_session_of_its_own(
    model: onnx.ModelProto, level: str, opened: list[str]
) -> None:
    sessions = SharedSessions()
    run_all(_net(0), "off", [_FEEDS], None, sessions.open)
    (seen,) = run_all(model, level, [_FEEDS], None, sessions.open)
    assert opened == ["off", level]
    for name, value in run_all(model, level, [_FEEDS])[0].items():
        np.testing.assert_array_equal(seen[name], value)


def test_errors_name_the_nodes_of_the_model_itself() -> None:
    model = _net(0, shape=(5, 7))
    with pytest.raises(OnnxNormError, match="Reshape") as shared:
        run_all(model, "off", [_FEEDS], None, SharedSessions().open)
    with pytest.raises(OnnxNormError) as alone:
        run_all(model, "off", [_FEEDS])
    assert str(shared.value) == str(alone.value)


@pytest.mark.parametrize("blocks", [1, 4])
def test_pieces_that_follow_each_other_give_what_the_whole_result_gives(blocks: int) -> None:
    b = Builder(seed=blocks, dtype=np.float32)
    x = b.input((1, 4, 6, 6), "x")
    for _ in range(blocks):
        x = b.node("Add", b.node("Relu", b.batch_norm(b.conv(x, 4, 4, (3, 3), pads=[1] * 4), 4)), x)
    model = b.model(x)
    result = onnxnorm.optimize(model, verify=False).model
    feeds = [{"x": np.random.default_rng(seed).normal(size=(1, 4, 6, 6)).astype(np.float32)} for seed in range(2)]
    ours, theirs = layout_of(model), layout_of(result)
    assert ours is not None and theirs is not None
    samples = DrawnSamples([Ways.only(each) for each in feeds])
    borders = borders_of(ours, theirs, PieceSizes(3, 1 << 27))
    walk = Walk(ours, theirs, borders, samples, 0, None, follows=True)
    verdict, runs = walk.verdict(), walk.whole()
    assert verdict is not None and verdict.report and runs is not None and runs.exact is not None
    for given, wanted in ((runs.original["off"], model), (runs.result["off"], result)):
        for seen, whole in zip(given, run_all(wanted, "off", feeds), strict=True):
            for name, value in whole.items():
                np.testing.assert_array_equal(seen[name], value)
    for seen, each in zip(runs.exact, feeds, strict=True):
        for name, value in evaluate_float64(model, each).items():
            np.testing.assert_allclose(seen[name], value, rtol=1e-12, atol=1e-12)
