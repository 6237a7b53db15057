"""Tests of profiles: every node once, time counted once, and the bytes of what it reads and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxnorm.errors import OnnxNormError, RunError
from onnxnorm.runtime.profile import Profile, profiled, trace

LOOP = """<ir_version: 8, opset_import: ["" : 17]>
g (float[8, 32] x, float[32, 32] w, bool c) => (float[8, 32] y, float[8, 10] z) <int64 n = {5}, bool go = {1}> {
    [loop] y = Loop (n, go, x) <body = b (int64 i, bool on, float[8, 32] s) => (bool again, float[8, 32] t) {
        again = Identity (on)
        [inner] t = MatMul (s, w)
    }>
    [outer] z = Gemm (y, v)
}"""


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return options


@pytest.fixture
def path(tmp_path: Path) -> str:
    model = onnx.parser.parse_model(LOOP)
    weight = np.ones((32, 10), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "v"))
    onnx.save(model, tmp_path / "m.onnx")
    return str(tmp_path / "m.onnx")


def _profiled(paths: list[str], repeat: int = 3, **feeds: np.ndarray) -> tuple[Profile, ...]:
    given = {"x": np.ones((8, 32), np.float32), "w": np.ones((32, 32), np.float32), "c": np.array(True), **feeds}
    wrong = {**given, "x": np.ones((1, 1), np.float32)}
    return profiled(paths, [wrong, given], repeat, make_options=_options)


def test_a_loop_counts_what_runs_inside_it_and_no_time_twice(path: str) -> None:
    (profile,) = _profiled([path])
    nodes = {node.node: node for node in profile.nodes}
    assert len(nodes) == len(profile.nodes)
    inner, outer = nodes["inner"], nodes["outer"]
    assert (inner.calls, inner.multiply_adds) == (5, 5 * 8 * 32 * 32)
    assert inner.bytes == 5 * 4 * (8 * 32 + 32 * 32 + 8 * 32)
    # A kernel packs this weight, so that it is missing in what the profiler tells of the runs that are timed.
    assert (outer.calls, outer.multiply_adds) == (1, 8 * 32 * 10)
    assert outer.bytes == 4 * (8 * 32 + 32 * 10 + 8 * 10)
    assert profile.multiply_adds == inner.multiply_adds + outer.multiply_adds
    assert nodes["loop"].multiply_adds == 0
    # Medians do not add up, and the profiler counts whole microseconds.
    assert sum(node.ms for node in profile.nodes) < 1.5 * profile.ms + 0.1


def test_two_models_are_one_trace(path: str) -> None:
    profiles = _profiled([path, path], 2)
    assert [len(each.nodes) for each in profiles] == [len(profiles[0].nodes)] * 2
    document = trace(zip(("before", "after"), profiles, strict=True))
    events = document["traceEvents"]
    assert {event["pid"] for event in events} == {1, 2}
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == ["before", "after"]
    for number in (1, 2):
        # The one refused, the one that warms up, and two that are timed; the second model gets what the first took.
        runs = [event for event in events if event["pid"] == number and event["name"] == "model_run"]
        assert len(runs) >= 3
        assert sum(e["pid"] == number and e["name"] == "outer_kernel_time" for e in events) == 3


def test_what_no_input_suits_is_told(path: str) -> None:
    with pytest.raises(RunError, match="could not run it"):
        _profiled([path], x=np.ones((2, 3), np.float32))
    with pytest.raises(OnnxNormError, match="cannot read"):
        _profiled([path + ".missing"])
