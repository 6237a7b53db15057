"""A pass that breaks off costs its own part alone, and while debugging a pass that breaks the model is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

import onnxnorm
from onnxnorm import cli
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.invariants import violations
from onnxnorm.journal import Journal
from onnxnorm.optimizer import transform as module
from testing.builder import Builder, affines


def _model() -> onnx.ModelProto:
    # PRelu with a computed slope keeps the model from the short way for plain networks.
    b = Builder(dtype=np.float32)
    x = b.affine(b.conv(b.input((2, 3, 5)), 3, 4), (1.0, 2.0, 3.0, 4.0), (0.1, 0.2, 0.3, 0.4))
    return b.model(b.node("PRelu", x, b.node("Exp", b.input((4, 1), "slope"))))


class _Pass(ir.passes.InPlacePass):
    def __init__(self, change: Callable[[ir.Model], None]) -> None:
        super().__init__()
        self._change = change

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        self._change(model)
        return ir.passes.PassResult(model, modified=True)


def _break_off(model: ir.Model) -> None:
    # Not as the model was, so that what the pass did before it broke off must not be seen in the result.
    for node in list(model.graph)[1:]:
        node.name = "touched"
    raise IndexError("list index out of range")


def _replace(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[ir.Model], None]) -> None:
    monkeypatch.setattr(module, "PASSES", {**module.PASSES, name: lambda journal, settings: _Pass(change)})


def test_a_pass_that_breaks_off_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    _replace(monkeypatch, "fold_constants", _break_off)
    result = onnxnorm.optimize(_model(), verify=True)
    assert affines(result.model) == 0
    assert "touched" not in {node.name for node in result.model.graph.node}
    (note,) = result.notes
    assert "'fold_constants' failed (IndexError: list index out of range) and was left out" in note
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(_model(), path)
    assert cli.main(["optimize", str(path), str(output)]) == 0
    assert "'fold_constants' failed" in capsys.readouterr().out
    assert affines(onnx.load(output)) == 0
    with pytest.raises(OnnxNormError, match="'fold_constants' failed"):
        onnxnorm.optimize(_model(), passes=["fold_constants"], verify=False)


def test_while_debugging_a_pass_that_breaks_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "fold_constants", _break_off)
    with pytest.raises(OnnxNormError, match="'fold_constants' failed"):
        onnxnorm.optimize(_model(), verify=False)


def _swap(model: ir.Model) -> None:
    last = model.graph[-1]
    model.graph.remove(last)
    model.graph.insert_before(model.graph[0], last)


def _add_attribute(model: ir.Model) -> None:
    model.graph[0].attributes["made_up"] = ir.AttrInt64("made_up", 1)


def _name_twice(model: ir.Model) -> None:
    model.graph[0].outputs[0].name = "x"


def _name_nodes_alike(model: ir.Model) -> None:
    model.graph[-1].name = model.graph[0].name


def _drop_inputs(model: ir.Model) -> None:
    model.graph[-1].resize_inputs(1)


BREAKS = {
    "before it is computed": _swap,
    "attribute 'made_up' that opset": _add_attribute,
    "'x' is the name of two values": _name_twice,
    "is the name of two nodes": _name_nodes_alike,
    "has 1 inputs, opset": _drop_inputs,
}


@pytest.mark.parametrize("sentence", BREAKS)
def test_while_debugging_a_pass_that_breaks_the_model_is_named(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "recognize", BREAKS[sentence])
    with pytest.raises(OnnxNormError, match=f"the pass 'recognize' left a broken model: .*{sentence}"):
        onnxnorm.optimize(_model(), verify=False)


def test_a_good_model_violates_nothing_and_subgraphs_see_what_is_around_them() -> None:
    assert list(violations(ir.from_proto(_model()))) == []
    inner = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"])], "then", [], [helper.make_tensor_value_info("n", 1, None)]
    )
    other = helper.make_graph(
        [helper.make_node("Abs", ["late"], ["a"])], "else", [], [helper.make_tensor_value_info("a", 1, None)]
    )
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=other),
        helper.make_node("Exp", ["x"], ["late"]),
    ]
    values = [helper.make_tensor_value_info("x", 1, [2]), helper.make_tensor_value_info("c", 9, [])]
    graph = helper.make_graph(nodes, "g", values, [helper.make_tensor_value_info("y", 1, None)])
    found = list(violations(ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))))
    assert found == ["Abs '' reads 'late' before it is computed"]


def _spoil(model: ir.Model) -> None:
    for value in model.graph.initializers.values():
        if value.dtype is ir.DataType.FLOAT and value.const_value is not None and value.const_value.size > 1:
            value.const_value = ir.tensor(value.const_value.numpy() * np.float32(1.01), name=value.name)


class _Spoiling(ir.passes.InPlacePass):
    """Says that it rewrote a node, and changes the weights by one hundredth."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        _spoil(model)
        self._journal.rewrite("fold_constants", model.graph[0], model.graph[0].op_type, "spoiled")
        return ir.passes.PassResult(model, modified=True)


@pytest.mark.parametrize("command", [False, True])
def test_a_pass_whose_result_is_disproved_is_left_out_and_named(
    command: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    spoiling = {**module.PASSES, "fold_constants": lambda journal, settings: _Spoiling(journal)}
    monkeypatch.setattr(module, "PASSES", spoiling)
    said = "what 'fold_constants' did failed verification"
    if command:
        path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
        onnx.save(_model(), path)
        assert cli.main(["optimize", str(path), str(output)]) == 0
        assert said in " ".join(capsys.readouterr().out.split())
        assert affines(onnx.load(output)) == 0
    else:
        result = onnxnorm.optimize(_model(), verify=True)
        assert affines(result.model) == 0 and said in result.notes[0]
        assert onnxnorm.verify(_model(), result.model).passed


def test_where_no_pass_alone_is_to_blame_nothing_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    spoiling = {name: lambda journal, settings: _Spoiling(journal) for name in ("fold_constants", "clean")}
    monkeypatch.setattr(module, "PASSES", {**module.PASSES, **spoiling})
    with pytest.raises(OnnxNormError, match="the result failed verification"):
        onnxnorm.optimize(_model(), verify=True)
