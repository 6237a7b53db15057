"""The bench of runtimes in short: no result has more nodes or bytes than a runtime makes of its original."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.affine.cost import node_cost
from testing.builder import Builder

pytest.importorskip("torch")

from bench.runtime.command import SHORT
from bench.runtime.complaints import complaints
from bench.runtime.counting import after_onnxruntime
from bench.runtime.exports import Case, cases, planned
from bench.runtime.judge import TARGETS, Row, judge, verdict
from bench.runtime.predicted import Agreement, Fit, agreement, fit, work_of
from bench.runtime.report import SECTIONS, by_file, by_network
from bench.runtime.store import Measured, Store
from bench.runtime.timing import Latency, summarize


@pytest.mark.parametrize("name", SHORT)
def test_no_result_is_worse_in_nodes_or_bytes(name: str, tmp_path: Path) -> None:
    rows = list(judge(cases(tmp_path, [name], ("torchscript",), (17,), ()), TARGETS, seconds=None))
    assert [row.target for row in rows] == list(TARGETS)
    assert [(row.target, row.worse) for row in rows if row.worse] == []


def _gelu(path: Path) -> None:
    constants = {"root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [
        helper.make_node("Div", ["x", "root"], ["a"]),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("Mul", ["x", "c"], ["d"]),
        helper.make_node("Mul", ["d", "half"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "gelu", values[:1], values[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_counts_are_those_of_the_graph_that_onnxruntime_makes(tmp_path: Path) -> None:
    _gelu(tmp_path / "gelu.onnx")
    assert after_onnxruntime(tmp_path / "gelu.onnx", "basic").total() == 5
    assert after_onnxruntime(tmp_path / "gelu.onnx", "extended") == Counter(Gelu=1)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (Counter(Gelu=1, MatMul=1), Counter(Gelu=1, MatMul=1), []),
        (Counter(MatMul=1, Add=1), Counter(FusedMatMul=1), []),
        (Counter(MatMul=1, Add=1), Counter(MatMul=1, Add=1, Mul=1), ["all: 2 -> 3 nodes (Mul +1; )"]),
        (Counter(Gelu=1, Mul=3), Counter(Erf=1, Mul=2), ["all: transcendentals 0 -> 1"]),
        (Counter(Conv=1, Mul=2), Counter(Conv=2), ["all: convolutions 1 -> 2"]),
        (Counter(Mul=1, Add=1), Counter(BatchNormalization=1), []),
        (Counter(Mul=3), Counter(BatchNormalization=1, Mul=2), ["all: normalizations 0 -> 1"]),
        (Counter(Conv=1), "INVALID_GRAPH", ["all: no longer runs: INVALID_GRAPH"]),
        ("NOT_IMPLEMENTED", Counter(Conv=9), []),
    ],
)
def test_complaints_name_what_is_worse(before: Counter[str] | str, after: Counter[str] | str, told: list[str]) -> None:
    assert complaints({"all": before}, {"all": after}) == told


def test_what_cannot_be_exported_is_left_out_with_its_reason(tmp_path: Path) -> None:
    assert list(cases(tmp_path, ["bert"], ("torchscript",), (99,), ())) == []
    assert "99" in (tmp_path / "bert-torchscript-99.txt").read_text()


def test_the_table_shows_nodes_bytes_and_the_verdict(tmp_path: Path) -> None:
    _gelu(tmp_path / "gelu.onnx")
    (row,) = judge([Case("gelu", tmp_path / "gelu.onnx")], ["onnxruntime"], seconds=0.01)
    assert row.latency is not None and row.latency.ratio > 0
    worse = Row(row.model, row.target, {"all": (3, 4)}, (10, 20), None, 1, (2, 1), ("all: 3 -> 4 nodes", "bytes"))
    last = by_file([worse]).splitlines()[-1]
    assert last == "| gelu | onnxruntime | 3 -> 4 | 10 -> 20 | - | - | all: 3 -> 4 nodes; bytes |"


def test_a_run_goes_on_where_another_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _gelu(tmp_path / "gelu.onnx")
    case, store = Case("gelu", tmp_path / "gelu.onnx"), Store(tmp_path / "kept")
    (counted,) = judge([case], ["onnxruntime"], None, store)
    assert counted.latency is None

    def no_more(*_: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr("bench.runtime.judge.counts", no_more)
    (timed,) = judge([case], ["onnxruntime"], 0.01, Store(tmp_path / "kept"))
    assert timed.latency is not None and timed.nodes == counted.nodes
    monkeypatch.setattr("bench.runtime.judge.in_onnxruntime", no_more)
    assert list(judge([case], ["onnxruntime"], 0.01, Store(tmp_path / "kept"))) == [timed]
    monkeypatch.setattr("bench.runtime.store._version", lambda: "another")
    # Another version of the package that gives the same result: what runtimes make of it is known, the time is not.
    assert Store(tmp_path / "kept").find("gelu", "onnxruntime") is None
    assert list(judge([case], ["onnxruntime"], None, Store(tmp_path / "kept"))) == [counted]
    monkeypatch.setattr("bench.runtime.store._version", lambda: "a third")
    monkeypatch.setattr("bench.runtime.store._runtimes", lambda: "others")
    with pytest.raises(AssertionError, match="counted again"):
        list(judge([case], ["onnxruntime"], None, Store(tmp_path / "kept")))


def _measured(target: str, after: Counter[str] | str, **times: Latency) -> Measured:
    before: dict[str, Counter[str] | str] = {"all": Counter(LRN=1), "openvino": Counter(LRN=1)}
    return Measured("lrn", target, before, {"all": after, "openvino": after}, (10, 10), "digest", 1, **times)


@pytest.mark.parametrize(
    ("target", "after", "times", "told"),
    [
        ("portable", Counter(Mul=2), {}, ["all: 1 -> 2 nodes", "openvino: 1 -> 2 nodes"]),
        ("portable", Counter(Mul=2), {"latency": 0.5}, ["openvino: 1 -> 2 nodes"]),
        ("portable", Counter(Mul=2), {"latency_in_openvino": 0.5}, ["all: 1 -> 2 nodes"]),
        ("portable", Counter(Mul=2), {"latency": 0.5, "latency_in_openvino": 0.9}, []),
        ("onnxruntime", Counter(Mul=2), {"latency": 0.5}, []),
        ("onnxruntime", Counter(Mul=2), {"latency_in_openvino": 0.5}, ["all: 1 -> 2 nodes"]),
        ("openvino", Counter(Mul=2), {"latency": 0.5}, ["openvino: 1 -> 2 nodes"]),
        ("openvino", Counter(Mul=2), {"latency_in_openvino": 1.0}, ["openvino: 1 -> 2 nodes"]),
        ("openvino", Counter(Mul=1), {"latency_in_openvino": 1.2}, ["latency in OpenVINO: 1.20"]),
        ("onnxruntime", Counter(Mul=1), {"latency_in_openvino": 1.2}, []),
        ("portable", "fails", {"latency": 0.5, "latency_in_openvino": 0.5}, ["all: no longer runs", "openvino: no l"]),
    ],
)
def test_time_acquits_more_nodes_in_its_own_runtime_alone(
    target: str, after: Counter[str] | str, times: dict[str, float], told: list[str]
) -> None:
    latencies = {name: Latency(1.0, ratio, ratio) for name, ratio in times.items()}
    worse = verdict(_measured(target, after, **latencies)).worse
    assert [each[: len(start)] for each, start in zip(worse, told, strict=True)] == told


def test_a_node_more_is_timed_in_the_runtime_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _gelu(tmp_path / "gelu.onnx")
    ways = ({"all": Counter(Mul=1), "openvino": Counter(Mul=1)}, {"all": Counter(Mul=1), "openvino": Counter(Mul=2)})
    found = iter(ways)
    monkeypatch.setattr("bench.runtime.judge.counts", lambda *_: next(found))
    monkeypatch.setattr("bench.runtime.judge.in_openvino", lambda *_: Latency(1.0, 0.5, 0.4))
    monkeypatch.setattr("bench.runtime.judge.in_onnxruntime", lambda *_: pytest.fail("timed where no node is more"))
    monkeypatch.setattr("bench.runtime.judge.GROWTH", float("inf"))
    store = Store(tmp_path / "kept")
    (row,) = judge([Case("gelu", tmp_path / "gelu.onnx")], ["portable"], None, store, doubtful=0.01)
    assert row.worse == ()
    kept = store.find("gelu", "portable")
    assert kept is not None and kept.latency is None and kept.latency_in_openvino == Latency(1.0, 0.5, 0.4)


def test_counts_are_kept_by_the_bytes_of_the_file_and_the_way_that_it_is_read(tmp_path: Path) -> None:
    store, asked = Store(tmp_path / "kept"), []
    first, twin, other = (tmp_path / name for name in ("first.onnx", "twin.onnx", "other.onnx"))
    for path, data in ((first, b"1"), (twin, b"1"), (other, b"2")):
        path.write_bytes(data)
    for path, tool in ((first, None), (twin, None), (other, None), (twin, ("bert", 4, 64)), (other, None)):
        found: dict[str, Counter[str] | str] = {"all": Counter(Gelu=len(asked)), "openvino": "refused"}
        asked.append((path.name, store.counts(path, tool, lambda found=found: found)["all"]["Gelu"]))
    assert asked == [("first.onnx", 0), ("twin.onnx", 0), ("other.onnx", 2), ("twin.onnx", 3), ("other.onnx", 2)]


def test_each_network_comes_before_the_next_exporter_and_opset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.runtime.exports._make", lambda path, make: "gru-dynamo-17" not in path.name)
    found = [case.name for case in cases(tmp_path, ["gru", "vit"], ("dynamo", "torchscript"), (17, 23), ("static",))]
    assert [name for name in found if not name.endswith("static")] == [
        "vit-dynamo-17",
        *(f"{name}-torchscript-17" for name in ("gru", "vit")),
        *(f"{name}-{exporter}-23" for exporter in ("dynamo", "torchscript") for name in ("gru", "vit")),
    ]


def test_the_page_tells_which_files_are_not_counted_yet(tmp_path: Path) -> None:
    (tmp_path / "bert-dynamo-14.txt").write_text("the exporter wrote opset 18")
    (tmp_path / "vit-dynamo-14-static.txt").write_text("no")
    names = list(planned(tmp_path))
    assert not [name for name in names if name.startswith("bert-dynamo-14")]
    assert [name for name in names if name.startswith("vit-dynamo-14")] == ["vit-dynamo-14", "vit-dynamo-14-dynamic"]
    row = Row("bert-dynamo-17", "web", {"all": (5, 4)}, (5, 5), None, 1, (9, 5), ())
    *_, missing = by_network([row], ["bert-dynamo-17", "bert-dynamo-20", "vit-dynamo-17"])
    assert "| web | bert 1 of 2, vit 1 of 1 |" in missing.splitlines()
    assert "| tensorrt | all files of all networks |" in missing.splitlines()
    *_, missing = by_network([row], ["bert-dynamo-17"])
    assert "| web | none |" in missing.splitlines()


def test_the_page_has_sums_by_network_and_names_what_is_worse() -> None:
    nodes = {"basic": (5, 4), "all": (3, 4), "openvino": (7, None)}
    rows = [
        Row(
            "bert-dynamo-17",
            "web",
            nodes,
            (5000, 4000),
            Latency(4.0, 0.5, 0.4),
            1,
            (9000, 5000),
            ("all: 3 -> 4 nodes",),
        )
    ]
    rows += [Row("bert-dynamo-14", "web", {"basic": (6, 6)}, (5000, 5000), None, 0, (7, 7), ())]
    sums, worse, graphs, model, _ = (text.splitlines()[-1] for text in by_network(rows))
    assert sums == "| bert | web | 2 | 11 -> 10 | - | 3 -> 4 | - | - | 10 -> 9 | 0.50 (0.50 to 0.50) | 1 |"
    assert worse == "| bert-dynamo-17 | web | all: 3 -> 4 nodes |"
    assert graphs == "| web | 0 | 0 | 1 | 0 | 0 | 0 |"
    assert model == "| web | 1 | 1 | 500000.00 | 0.00 |"
    caption = "Measured on a machine (Linux, 2 cores), with Python 3.11.7."
    assert SECTIONS[0].problems("\n\n".join([caption, *by_network(rows)])) == []


def test_predicted_work_is_less_where_an_affine_is_gone_and_is_fitted_to_what_was_measured() -> None:
    b = Builder(opset=17)
    model = b.model(b.node("Relu", b.batch_norm(b.conv(b.input((1, 3, 8, 8)), 3, 4, (1, 1)), 4)))
    assert work_of(model) - work_of(onnxnorm.fold(model).model) == node_cost("BatchNormalization", 4 * 8 * 8)
    found = fit([(1000, 2e-6), (2000, 4e-6), (500, 1e-6), (0, 1.0), (-5, 1.0)])
    assert found == Fit(3, 3, pytest.approx(2.0e3), pytest.approx(1.0))
    assert fit([(10, 1e-6), (20, -1e-6)]).faster == 1


def test_what_depends_on_no_input_is_no_work() -> None:
    b = Builder(opset=17)
    weight = b.node("Add", b.constant(np.ones((3, 4))), b.constant(np.ones(4)))
    model = b.model(b.node("MatMul", b.input((2, 3)), weight))
    assert work_of(model) == node_cost("BatchNormalization", 0)


def test_predicted_savings_are_held_against_saved_nodes() -> None:
    pairs = [(9, 1), (9, 0), (9, 0), (9, -1), (0, 2), (-3, 1), (0, 0), (-3, 0), (-3, -4)]
    assert agreement(pairs) == Agreement(right=1, idle=2, wrong=1, unforeseen=2, alike=2, dearer=1)


@pytest.mark.parametrize(
    ("ratios", "slower"),
    [([1.2] * 25, True), ([1.02] * 25, False), ([0.8, 1.4] * 12 + [1.2], False), ([1.19, 1.21] * 12 + [1.2], True)],
)
def test_slower_is_beyond_the_factor_and_beyond_the_noise(ratios: list[float], slower: bool) -> None:
    assert summarize([(0.002, 0.002 * ratio) for ratio in ratios]).slower(1.03) is slower
