"""Models in pieces are judged as wholes are: the same verdicts on right results, mistakes and chains of any length."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from fuzz.mutations import KINDS, _mutants, network
from onnxnorm.errors import OnnxNormError
from onnxnorm.verification import cuts, memory_needed, walk
from onnxnorm.verification.cuts import Limits, PieceSizes, borders_of
from onnxnorm.verification.layout import layout_of
from onnxnorm.verification.verify import verify
from testing.builder import Builder

_TOLD = "compared in "


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "LIMITS", Limits(0, 0, PieceSizes(3, 1 << 27), last_run=0))


def _is_in_pieces(report: onnxnorm.VerifyReport) -> bool:
    return any(note.startswith(_TOLD) for note in report.notes)


def _blocks(count: int, seed: int = 0, *, normalized: bool = True, dtype: type = np.float32) -> onnx.ModelProto:
    b = Builder(seed=seed, dtype=dtype)
    x = b.input((1, 4, 6, 6))
    for _ in range(count):
        y = b.conv(x, 4, 4, (3, 3), pads=[1, 1, 1, 1])
        x = b.node("Add", b.node("Relu", b.batch_norm(y, 4) if normalized else y), x)
    return b.model(x)


def _changed(model: onnx.ModelProto, weight: str, factor: float) -> onnx.ModelProto:
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    tensor = next(each for each in copy.graph.initializer if each.name == weight)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] *= np.asarray(factor, values.dtype)
    tensor.CopyFrom(numpy_helper.from_array(values, weight))
    return copy


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", [0, 1, 2, 5, 8])
def test_right_results_and_mistakes_get_the_verdict_of_the_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, feeds = network(seed)
    result = onnxnorm.optimize(model, verify=False).model
    assert verify(model, result, feeds)
    for number, kind in enumerate(KINDS[:5]):
        mutant, _ = next(_mutants(result, kind, np.random.default_rng([seed, number])), (None, None))
        if mutant is None:
            continue
        in_pieces = verify(model, mutant, feeds)
        with monkeypatch.context() as patch:
            patch.setattr("onnxnorm.verification.verify.is_large", lambda *_: False)
            whole = verify(model, mutant, feeds)
        assert in_pieces.passed == whole.passed, (kind, in_pieces, whole)


@pytest.mark.usefixtures("small_pieces")
def test_a_mistake_in_a_piece_is_shown_at_its_node() -> None:
    model = _blocks(6)
    result = onnxnorm.optimize(model, verify=False).model
    report = verify(model, result)
    assert report and _is_in_pieces(report)
    conv = [node for node in result.graph.node if node.op_type == "Conv"][3]
    report = verify(model, _changed(result, conv.input[1], 1.001))
    assert not report.passed and report.place is not None and report.place.node == conv.name, report


def test_pieces_follow_each_other_and_cover_both_models() -> None:
    model = _blocks(8)
    result = onnxnorm.optimize(model, verify=False).model
    ours, theirs = layout_of(model), layout_of(result)
    assert ours is not None and theirs is not None
    borders = borders_of(ours, theirs, PieceSizes(4, 1 << 27))
    assert len(borders) >= 4
    for before, after in itertools.pairwise(borders):
        assert before.original < after.original and before.result < after.result
        assert before.lives <= before.handed
        made = {name for node in model.graph.node[: before.original] for name in node.output}
        read = {name for node in model.graph.node[before.original :] for name in node.input}
        assert before.handed == (made & read) | before.lives
    assert (borders[-1].original, borders[-1].result) == (len(model.graph.node), len(result.graph.node))
    assert [output.name for output in model.graph.output] == list(borders[-1].compared)


@pytest.mark.usefixtures("small_pieces")
def test_pieces_that_are_the_same_are_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _blocks(6, normalized=False)
    first = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
    compared: list[int] = []
    real = walk.collect

    def counted(one: onnx.ModelProto, *rest: Any, **more: Any) -> Any:
        compared.append(len(one.graph.node))
        return real(one, *rest, **more)

    monkeypatch.setattr(walk, "collect", counted)
    report = verify(model, model)
    assert report and _is_in_pieces(report) and len(compared) == 1
    compared.clear()
    assert not verify(model, _changed(model, first, 1.01))
    assert compared


@pytest.mark.usefixtures("small_pieces")
def test_a_value_that_means_something_else_in_the_result_is_no_border() -> None:
    model = _blocks(4, normalized=False)
    other = onnx.ModelProto.FromString(model.SerializeToString())
    # Twice the sum of the second block under its name, and half of it again behind it.
    added = [node for node in other.graph.node if node.op_type == "Add"][1]
    two, half = (numpy_helper.from_array(np.float32(v), n) for v, n in ((2.0, "two"), (0.5, "half")))
    other.graph.initializer.extend([two, half])
    name = added.output[0]
    place = list(other.graph.node).index(added)
    for node in other.graph.node[place + 1 :]:
        node.input[:] = ["halved" if each == name else each for each in node.input]
    added.output[0] = "sum"
    new = [
        helper.make_node("Mul", ["sum", "two"], [name], "double"),
        helper.make_node("Mul", [name, "half"], ["halved"], "halve"),
    ]
    for offset, node in enumerate(new):
        other.graph.node.insert(place + 1 + offset, node)
    report = verify(model, other)
    assert report and _is_in_pieces(report), report


@pytest.mark.usefixtures("small_pieces")
def test_models_without_values_in_common_are_compared_as_wholes() -> None:
    model = _blocks(3)
    other = onnx.ModelProto.FromString(model.SerializeToString())
    given = {value.name for value in (*other.graph.input, *other.graph.output, *other.graph.initializer)}
    for node in other.graph.node:
        node.input[:] = [each if each in given else f"{each}'" for each in node.input]
        node.output[:] = [each if each in given else f"{each}'" for each in node.output]
    report = verify(model, other)
    assert report and not _is_in_pieces(report)


@pytest.mark.usefixtures("small_pieces")
def test_samples_of_several_sizes_integers_and_several_outputs_pass_borders() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 4] x, int64[n] i) => (float[n, 4] y, int64[n] k, float[n] s) <float[4] w = {1, 2, 3, 4}> {
            a = Mul (x, w) j = Add (i, i) b = Relu (a) c = Exp (b) k = Sub (j, i) d = Neg (c) e = Abs (d)
            f = Sqrt (e) s = ReduceSum <keepdims = 0> (f, axes) g1 = Mul (f, w) h = Tanh (g1) y = Add (h, f)
        }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axes"))
    report = verify(model, model)
    assert report and _is_in_pieces(report), report
    assert [output.name for output in report.outputs] == ["y", "k", "s"]
    assert len({shapes["x"] for shapes in report.samples}) == 3
    other = onnx.ModelProto.FromString(model.SerializeToString())
    next(node for node in other.graph.node if node.output[0] == "k").input[1] = "j"
    assert not verify(model, other)


@pytest.mark.usefixtures("small_pieces")
def test_halves_are_judged_in_half_arithmetic_in_pieces_too() -> None:
    model = _blocks(4, dtype=np.float16)
    report = verify(model, model)
    assert report and _is_in_pieces(report), report
    conv = [node for node in model.graph.node if node.op_type == "Conv"][2]
    assert not verify(model, _changed(model, conv.input[1], 50.0))


@pytest.mark.usefixtures("small_pieces")
def test_random_draws_are_the_same_for_both_models() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
        g (float[2, 4] x) => (float[2, 4] y) {
            a = Exp (x) b = Neg (a) r = RandomNormalLike (b) c = Mul (b, r) d = Abs (c) e = Sqrt (d) f = Tanh (e)
            h = Sin (f) y = Mul (h, x) }"""
    model = onnx.parser.parse_model(text)
    assert verify(model, onnx.parser.parse_model(text.replace("Mul (h, x)", "Mul (x, h)")))
    assert not verify(model, onnx.parser.parse_model(text.replace("c = Mul", "c = Add")))


@pytest.mark.parametrize("is_right", [True, False])
def test_what_has_no_room_as_a_whole_is_decided_by_its_pieces(is_right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of which nothing but a piece fits: it is verified, and a mistake is still found."""
    monkeypatch.setattr(cuts, "LIMITS", Limits(0, 0, PieceSizes(3, 1 << 10)))
    monkeypatch.setattr(memory_needed, "_LEAST", 0)
    model = _blocks(6)
    result = onnxnorm.optimize(model, verify=False).model
    monkeypatch.setattr(memory_needed, "available_memory", lambda: 6000)
    if not is_right:
        conv = [node for node in result.graph.node if node.op_type == "Conv"][4]
        result = _changed(result, conv.input[1], 1.001)
    report = verify(model, result)
    assert report.passed == is_right
    assert is_right or (report.place is not None and "Conv" in report.place.op_type)
    monkeypatch.setattr("onnxnorm.verification.verify.in_pieces", lambda *_, **__: None)
    with pytest.raises(OnnxNormError, match="verifying it would take about"):
        verify(model, result)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_what_pieces_overlook_shows_in_a_last_run_as_wholes(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that are all taken for the same: only the runs of the whole models can tell."""
    monkeypatch.setattr(cuts, "LIMITS", Limits(0, 0, PieceSizes(3, 1 << 27), last_run=limit))
    monkeypatch.setattr(walk, "are_same", lambda *_: True)
    model = _blocks(6, normalized=False)
    report = verify(model, model)
    assert report and any("once as wholes" in note for note in report.notes) == bool(limit), report
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    report = verify(model, _changed(model, first.input[1], 1.01))
    assert report.passed == (not limit), report
    assert not limit or (report.place is not None and report.place.node == first.name)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_result_that_onnxruntime_opens_in_pieces_alone_is_wrong(
    is_right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "LIMITS", Limits(0, 0, PieceSizes(3, 1 << 27), last_run=1 << 20))
    model = _blocks(6)
    result = onnxnorm.optimize(model, verify=False).model
    if not is_right:
        result.graph.node[-1].name = result.graph.node[0].name
    report = verify(model, result)
    assert report.passed == is_right, report
    if is_right:
        assert _is_in_pieces(report)


@pytest.mark.usefixtures("small_pieces")
def test_inputs_that_the_original_refuses_are_drawn_again() -> None:
    """A Reshape to rows of eight refuses the first sizes drawn."""
    dims: dict[str, list[str] | None] = {"x": ["n", "m"], "y": None}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, each) for name, each in dims.items())
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Abs", ["b"], ["c"]),
        helper.make_node("Sqrt", ["c"], ["d"]),
        helper.make_node("Reshape", ["d", "rows"], ["e"]),
        helper.make_node("Tanh", ["e"], ["f"]),
        helper.make_node("Sin", ["f"], ["y"]),
    ]
    rows = numpy_helper.from_array(np.array([0, -1, 8]), "rows")
    graph = helper.make_graph(nodes, "rows", [x], [y], [rows])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    report = verify(model, model)
    assert report and _is_in_pieces(report), report
    assert any("does not run with x" in note and "was used instead" in note for note in report.notes)
    assert all(shapes["x"][1] % 8 == 0 for shapes in report.samples)


@pytest.mark.usefixtures("small_pieces")
def test_weights_that_are_inputs_too_are_constants_unless_they_are_given() -> None:
    model = _blocks(6)
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in model.graph.initializer
    )
    report = verify(model, model)
    assert report and _is_in_pieces(report), report
    tensor = model.graph.initializer[0]
    feeds = {"x": np.ones((1, 4, 6, 6), np.float32), tensor.name: 2 * numpy_helper.to_array(tensor)}
    report = verify(model, model, feeds)
    assert report and not _is_in_pieces(report), report
