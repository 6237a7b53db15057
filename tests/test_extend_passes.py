"""Tests that passes of others run among those of this project, and those of this project among others."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxscript.rewriter import RewriteRule, RewriteRuleSet

import onnxnorm
from onnxnorm import passes
from onnxnorm.evaluate.evaluator import evaluate_float64
from testing.builder import Builder, affines, assert_same, count, random_feeds


def _network() -> onnx.ModelProto:
    """A BatchNormalization between two Sinh, which lets nothing pass, and a convolution with one that folds."""
    b = Builder(dtype=np.float32)
    x = b.input((2, 3, 6, 6))
    y = b.batch_norm(b.conv(x, 3, 4, (3, 3), name="conv"), 4, name="folds")
    y = b.batch_norm(b.node("Sinh", y, name="first"), 4, kind="unit", name="stays")
    return b.model(b.node("Tanh", b.node("Abs", b.node("Abs", y, name="n1"), name="n2"), name="last"))


class DropSinh(ir.passes.InPlacePass):
    """Takes out every Sinh, which changes what the model computes."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        found = [node for node in model.graph if node.op_type == "Sinh"]
        for node in found:
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            model.graph.remove(node, safe=True)
        return ir.passes.PassResult(model, bool(found))


class OneAbs(ir.passes.FunctionalPass):
    """Gives a new model in which Abs of Abs is Abs."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        made = model.clone()
        for node in list(made.graph):
            if node.name == "n2":
                first = node.inputs[0].producer()
                node.replace_input_with(0, first.inputs[0])
                made.graph.remove(first, safe=True)
        return ir.passes.PassResult(made, True)


class Broken(ir.passes.InPlacePass):
    """Breaks off."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        raise ValueError("no such thing")


def _rules() -> RewriteRuleSet:
    return RewriteRuleSet([RewriteRule(lambda op, x: op.Abs(op.Abs(x)), lambda op, x: op.Abs(x))])


def test_rules_and_passes_stand_between_names() -> None:
    model = _network()
    result = onnxnorm.optimize(model, passes=["infer_shapes", _rules(), "clean", "fold_affines", "clean", "account"])
    assert count(result.model, "Abs") == 1
    assert affines(result.model) == 1
    told = {rewrite.node: rewrite for rewrite in result.rewrites}
    assert told["n1"].pass_name == "RewriteRuleSet"
    assert told["folds"].pass_name == "fold_affines"
    feeds = random_feeds(model)
    assert_same(evaluate_float64(model, feeds), evaluate_float64(result.model, feeds), 1e-6)


def test_dots_stand_for_the_default_passes() -> None:
    plain = onnxnorm.optimize(_network(), verify=False)
    with_rules = onnxnorm.optimize(_network(), passes=[_rules(), ...], verify=False)
    assert {r.pass_name for r in plain.rewrites} - {"simplify_first"} <= {r.pass_name for r in with_rules.rewrites}
    assert "RewriteRuleSet" in {r.pass_name for r in with_rules.rewrites}


def test_a_pass_that_gives_a_new_model_keeps_the_account() -> None:
    result = onnxnorm.optimize(_network(), passes=["infer_shapes", "fold_affines", OneAbs(), "clean", "account"])
    assert count(result.model, "Abs") == 1
    assert [decline.node for decline in result.declined] == ["stays"]
    assert {rewrite.node for rewrite in result.rewrites if rewrite.pass_name == "OneAbs"} == {"n1"}


def test_affines_are_looked_at_again_after_a_pass_of_the_caller() -> None:
    """What the pass takes out of the way of an affine was in the way of the first search."""
    steps = ["infer_shapes", "fold_affines", DropSinh(), "fold_affines", "clean", "account"]
    result = onnxnorm.optimize(_network(), passes=steps, verify=False)
    assert affines(result.model) == 0
    assert result.declined == ()


def test_a_pass_that_changes_what_is_computed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    result = onnxnorm.optimize(_network(), passes=[DropSinh(), ...])
    assert count(result.model, "Sinh") == 1
    assert any("'DropSinh'" in note and "failed verification" in note for note in result.notes)


def test_a_pass_that_breaks_off_is_an_error_with_its_cause() -> None:
    with pytest.raises(onnxnorm.OnnxNormError, match=r"'Broken' failed \(ValueError: no such thing\)") as caught:
        onnxnorm.optimize(_network(), passes=[Broken(), ...])
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_is_no_pass_is_told_what_would_be() -> None:
    for wrong, told in ((DropSinh, r"DropSinh\(\)"), (3, "a pass is a name"), (lambda model: model, "RewriteRuleSet")):
        with pytest.raises(onnxnorm.OnnxNormError, match=told):
            onnxnorm.optimize(_network(), passes=[wrong])  # type: ignore[call-overload]
    for bare in ("clean", DropSinh()):
        with pytest.raises(onnxnorm.OnnxNormError, match="passes is a list"):
            onnxnorm.optimize(_network(), passes=bare)  # type: ignore[call-overload]


CLASSES = [
    value
    for name in passes.__all__
    if isinstance(value := getattr(passes, name), type) and issubclass(value, ir.passes.PassBase)
]


def test_every_pass_of_the_pipeline_is_public() -> None:
    made = {type(make(passes.Journal(), passes.PassSettings())) for make in passes.PASSES.values()}
    assert made == set(CLASSES)


@pytest.mark.parametrize("make", CLASSES)
def test_a_pass_can_be_made_without_arguments_and_runs_in_a_sequential(make: type[ir.passes.PassBase]) -> None:
    model = _network()
    graph = ir.from_proto(model)
    ir.passes.Sequential(passes.InferShapes(), make(), passes.CleanUp())(graph)
    feeds = random_feeds(model)
    assert_same(evaluate_float64(model, feeds), evaluate_float64(ir.to_proto(graph), feeds), 1e-6)


def test_a_journal_tells_what_passes_in_a_sequential_did() -> None:
    graph = ir.from_proto(_network())
    journal = passes.Journal()
    ir.passes.Sequential(passes.InferShapes(), passes.FoldAffines(journal), passes.CleanUp())(graph)
    assert [rewrite.node for rewrite in journal.rewrites] == ["folds"]
    assert [decline.node for decline in journal.declined] == ["stays"]
