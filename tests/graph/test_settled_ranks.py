"""An If whose branches make values of two ranks has the one with which the model runs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.settled_ranks import settle_ranks
from onnxnorm.io.load_and_save import load
from testing.builder import count

WIDTH = 4
# What reads the value of rank 2 or 3: nodes from `v` to `y`, and whether they run with rank 2 alone, 3 alone, or both.
READERS: dict[str, tuple[list[onnx.NodeProto], int | None]] = {
    **{
        kind: (
            [
                helper.make_node("Unsqueeze", ["v", "first"], ["s"]),
                helper.make_node(kind, ["s", f"w{gates}", f"r{gates}"], ["all"], hidden_size=WIDTH),
                helper.make_node("Neg", ["all"], ["y"]),
            ],
            2,
        )
        for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))
    },
    "Gemm": ([helper.make_node("Gemm", ["v", "square"], ["y"])], 2),
    "Gemm of the activation": (
        [helper.make_node("Relu", ["v"], ["s"]), helper.make_node("Gemm", ["s", "square"], ["y"])], 2
    ),
    "Conv": ([helper.make_node("Conv", ["v", "kernel"], ["y"])], 3),
    "Transpose to rows": ([helper.make_node("Transpose", ["v"], ["y"], perm=[1, 0])], 2),
    "Transpose of all": ([helper.make_node("Transpose", ["v"], ["y"], perm=[1, 0, 2])], 3),
    "Concat": ([helper.make_node("Concat", ["v", "square"], ["y"], axis=0)], 2),
    "Relu": ([helper.make_node("Relu", ["v"], ["y"])], None),
    "MatMul": ([helper.make_node("MatMul", ["v", "square"], ["y"])], None),
    "Transpose without an order": ([helper.make_node("Transpose", ["v"], ["y"])], None),
}  # fmt: skip


def _value(name: str, shape: list[int | str] | None = None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def model_of(nodes: list[onnx.NodeProto], *, by_size: bool = True) -> onnx.ModelProto:
    """Make v of x, (n, WIDTH, l): squeezed where l is 1, else as it is; with `by_size`, z hangs on the rank of v."""
    random = np.random.default_rng(0)
    constants = {
        "one": np.array(1),
        "two": np.array(2),
        "last": np.array([2]),
        "first": np.array([0]),
        "square": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "kernel": random.normal(size=(WIDTH, WIDTH, 1)).astype(np.float32),
    }
    for gates in (1, 3, 4):
        for name in (f"w{gates}", f"r{gates}"):
            constants[name] = random.normal(size=(1, gates * WIDTH, WIDTH)).astype(np.float32)
    squeezed = helper.make_graph([helper.make_node("Squeeze", ["x", "last"], ["a"])], "then", [], [_value("a")])
    whole = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "else", [], [_value("b")])
    first = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["length"]),
        helper.make_node("Equal", ["length", "one"], ["is_one"]),
        helper.make_node("If", ["is_one"], ["v"], then_branch=squeezed, else_branch=whole),
    ]
    second, outputs = [], [_value("y")]
    if by_size:
        doubled = helper.make_graph([helper.make_node("Add", ["v", "v"], ["c"])], "then", [], [_value("c")])
        same = helper.make_graph([helper.make_node("Identity", ["v"], ["d"])], "else", [], [_value("d")])
        second = [
            helper.make_node("Shape", ["v"], ["of_v"]),
            helper.make_node("Size", ["of_v"], ["rank"]),
            helper.make_node("Equal", ["rank", "two"], ["is_two"]),
            helper.make_node("If", ["is_two"], ["z"], then_branch=doubled, else_branch=same),
        ]
        outputs.append(_value("z"))
    used = {name for node in [*first, *second, *nodes] for name in node.input} | {"last"}
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used]
    graph = helper.make_graph(
        [*first, *second, *nodes], "ranks", [_value("x", ["n", WIDTH, "l"])], outputs, initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def runs_of(model: onnx.ModelProto) -> dict[int, list[np.ndarray] | None]:
    """Return the outputs for each length that the model runs with, None for one that it does not run with."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: dict[int, list[np.ndarray] | None] = {}
    for length in (1, WIDTH):
        x = np.random.default_rng(1).normal(size=(2, WIDTH, length)).astype(np.float32)
        try:
            found[length] = session.run(None, {"x": x})
        except Exception:
            # onnxruntime's bindings raise classes of their own.
            found[length] = None
    return found


@pytest.mark.parametrize("name", READERS)
def test_the_rank_is_the_one_with_which_the_reader_runs(name: str) -> None:
    nodes, rank = READERS[name]
    model = model_of(nodes)
    original = runs_of(model)
    assert [length for length, outputs in original.items() if outputs is not None] == {2: [1], 3: [WIDTH]}.get(
        rank or 0, [1, WIDTH]
    )
    result = onnxnorm.optimize(model, verify=False).model
    assert count(result, "Size") == (0 if rank else 1)
    for length, outputs in runs_of(result).items():
        if original[length] is not None:
            assert outputs is not None
            for ours, theirs in zip(outputs, original[length] or (), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def _asked(model: onnx.ModelProto) -> bool:
    loaded = load(model)
    return settle_ranks(loaded, Facts(loaded))


def test_a_reader_that_may_not_run_settles_nothing() -> None:
    inside = [helper.make_node("Gemm", ["v", "square"], ["e"])]
    square = helper.make_graph(inside, "then", [], [_value("e")])
    plain = helper.make_graph([helper.make_node("Relu", ["v"], ["f"])], "else", [], [_value("f")])
    model = model_of([helper.make_node("If", ["wanted"], ["y"], then_branch=square, else_branch=plain)], by_size=False)
    model.graph.input.append(_value("wanted", [], TensorProto.BOOL))
    model.graph.initializer.append(numpy_helper.from_array(np.eye(WIDTH, dtype=np.float32), "square"))
    assert not _asked(onnx.shape_inference.infer_shapes(model))


def test_a_value_that_the_graph_returns_keeps_its_open_rank() -> None:
    model = model_of(READERS["Gemm"][0])
    assert _asked(onnx.shape_inference.infer_shapes(model))
    model.graph.output.append(_value("v"))
    assert not _asked(onnx.shape_inference.infer_shapes(model))


def test_what_hangs_on_the_rank_itself_is_followed() -> None:
    """An LSTM behind an If that adds a dimension unless there are two, as torch.nn.LSTM is exported."""
    nodes = READERS["LSTM"][0]
    added = helper.make_graph([helper.make_node("Unsqueeze", ["v", "first"], ["g"])], "then", [], [_value("g")])
    kept = helper.make_graph([helper.make_node("Identity", ["v"], ["h"])], "else", [], [_value("h")])
    asked = [
        helper.make_node("Shape", ["v"], ["of_v"]),
        helper.make_node("Size", ["of_v"], ["rank"]),
        helper.make_node("Equal", ["rank", "two"], ["is_two"]),
        helper.make_node("Not", ["is_two"], ["is_not"]),
        helper.make_node("If", ["is_not"], ["u"], then_branch=added, else_branch=kept),
        helper.make_node("Unsqueeze", ["u", "first"], ["s"]),
    ]
    model = model_of([*asked, *nodes[1:]], by_size=False)
    result = onnxnorm.optimize(model, verify=False).model
    assert count(result, "If") == 1 and count(result, "Size") == 0
    np.testing.assert_array_equal(runs_of(result)[1][0], runs_of(model)[1][0])
    assert runs_of(result)[WIDTH] is runs_of(model)[WIDTH] is None
