"""Tests that one bad rewrite costs a model no more than itself, and that it is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxnorm
import onnxnorm.optimizer.transform
from onnxnorm import OnnxNormError, cli
from onnxnorm.journal import Effect
from onnxnorm.passes import PASSES, Journal, PassSettings
from testing.builder import Builder, affines, count

transform_module = sys.modules["onnxnorm.optimizer.transform"]


def _model() -> onnx.ModelProto:
    """Three convolutions, each with its normalization, that plain networks' fast path does not take."""
    b = Builder(dtype=np.float32)
    x = b.input((2, 3, 6, 6))
    for number in range(3):
        x = b.batch_norm(b.conv(x, 3, 3, (3, 3), name=f"conv{number}", pads=[1, 1, 1, 1]), 3, name=f"norm{number}")
        x = b.node("Mul", x, b.constant(np.full((1, 3, 1, 1), 1.5)), name=f"mul{number}")
        x = b.node("Tanh", x)
    return b.model(x)


class _Bad(ir.passes.InPlacePass):
    """Folds as the pass in its place does, and makes a mistake at the normalizations of these names."""

    def __init__(self, journal: Journal, settings: PassSettings, names: frozenset[str]) -> None:
        super().__init__()
        self._inner = PASSES["fold_affines_nearby"](journal, settings)
        self._journal = journal
        self._names = names

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for node in model.graph:
            if node.name in self._names and node.op_type == "BatchNormalization":
                shift = node.inputs[2]
                assert shift is not None and shift.const_value is not None
                shift.const_value = ir.tensor(shift.const_value.numpy() + np.float32(0.01), name=shift.name)
                self._journal.rewrite("fold_affines_nearby", node, node.op_type, "spoiled", effect=Effect.REFORMED)
        self._inner(model)
        return ir.passes.PassResult(model, modified=True)


def _spoil(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    bad = {"fold_affines_nearby": lambda journal, settings: _Bad(journal, settings, frozenset(names))}
    monkeypatch.setattr(transform_module, "PASSES", {**PASSES, **bad})


@pytest.mark.parametrize("node", ["norm0", "norm1", "norm2"])
def test_the_one_bad_rewrite_is_left_out(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    assert affines(onnxnorm.optimize(model).model) == 0
    _spoil(monkeypatch, node)
    result = onnxnorm.optimize(model, verify=True)
    assert result.report is not None and result.report.passed
    assert onnxnorm.verify(model, result.model)
    (note,) = result.notes
    assert f"did to node {node!r}" in note and "spoiled" in note
    # What the node normalizes stays, or goes elsewhere; the rest is folded as ever.
    assert count(result.model, "BatchNormalization") == 1
    assert affines(result.model) <= 2
    assert any(decline.node == node and "failed verification" in decline.reason for decline in result.declined)
    assert {node.domain for node in result.model.graph.node} == {""}
    onnx.checker.check_model(result.model)


def test_several_bad_rewrites_are_left_out_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    _spoil(monkeypatch, "norm0", "norm2")
    result = onnxnorm.optimize(model, verify=True)
    assert onnxnorm.verify(model, result.model)
    assert [name for name in ("norm0", "norm1", "norm2") if any(name in note for note in result.notes)] == [
        "norm0",
        "norm2",
    ]
    assert count(result.model, "BatchNormalization") == 2


def test_the_command_writes_the_rest_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _spoil(monkeypatch, "norm1")
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(_model(), path)
    pair = tmp_path / "pair"
    assert cli.main(["optimize", str(path), str(output), "--bisect", str(pair)]) == 0
    said = capsys.readouterr()
    assert "did to node 'norm1'" in " ".join(said.out.split())
    assert f"onnxnorm verify {pair / 'original.onnx'}" in said.err
    assert "conv1" in {node.name for node in onnx.load(pair / "result.onnx").graph.node}
    assert count(onnx.load(output), "BatchNormalization") == 1


def test_while_debugging_the_place_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil(monkeypatch, "norm1")
    monkeypatch.setenv("ONNXNORM_DEBUG", "1")
    with pytest.raises(OnnxNormError, match="the first value that is off is"):
        onnxnorm.optimize(_model(), verify=True)


@pytest.mark.parametrize("verify", [False, True])
def test_the_result_has_its_report(verify: bool) -> None:
    report = onnxnorm.optimize(_model(), verify=verify).report
    assert (report is not None) == verify
    assert report is None or report.passed


def test_a_plain_network_has_its_report_too() -> None:
    b = Builder(dtype=np.float32)
    x = b.input((2, 3, 6, 6))
    result = onnxnorm.optimize(b.model(b.node("Relu", b.batch_norm(b.conv(x, 3, 3, (1, 1)), 3))), verify=True)
    assert result.report is not None and result.report.passed


def test_a_function_that_only_kept_nodes_call_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "my": 1]> g (float[2, 3] x) => (float[2, 3] y) '
        '{ a = my.twice (x) y = Tanh (a) } <domain: "my", opset_import: ["": 18]> twice (x) => (y) { y = Add (x, x) }'
    )
    result = transform_module.transform(ir.from_proto(model), kept=["a"]).ir_model
    proto = ir.to_proto(result)
    onnx.checker.check_model(proto)
    assert [(node.domain, node.op_type) for node in proto.graph.node] == [("my", "twice"), ("", "Tanh")]
    assert [function.name for function in proto.functions] == ["twice"]
