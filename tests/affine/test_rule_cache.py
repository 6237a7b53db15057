"""Rules are asked once for the same gauges, and answers are kept only as long as there is room for them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxnorm.affine import rule_cache
from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Answer, Declined, Site
from onnxnorm.affine.rule_cache import RuleCache
from onnxnorm.graph.facts import Facts


class _Counted:
    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, site: Site) -> Answer:
        self.asked += 1
        return Declined(f"was asked {self.asked} times")


@pytest.fixture
def rule(monkeypatch: pytest.MonkeyPatch) -> _Counted:
    counted = _Counted()
    monkeypatch.setattr(rule_cache, "rule_for", lambda node: counted)
    return counted


def _node() -> tuple[ir.Node, ir.Value, Facts]:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 3]))
    node = ir.node("Relu", [x], name="relu")
    graph = ir.Graph([x], list(node.outputs), nodes=[node], opset_imports={"": 18}, name="g")
    return node, x, Facts(ir.Model(graph, ir_version=8))


def _gauge(extent: int = 1) -> Gauge:
    return Gauge.new(ChannelAffine.along(1, np.arange(1.0, extent + 1), np.zeros(extent), 2))


def test_the_same_gauges_get_the_same_answer_unasked(rule: _Counted) -> None:
    node, x, facts = _node()
    rules, gauge = RuleCache(facts), _gauge()
    assert rules.ask(node, {x: gauge}) is rules.ask(node, {x: gauge})
    assert rule.asked == 1


def test_other_gauges_other_values_and_other_searches_are_asked_anew(rule: _Counted) -> None:
    node, x, facts = _node()
    rules, gauge = RuleCache(facts), _gauge()
    rules.ask(node, {x: gauge})
    rules.ask(node, {x: _gauge()})
    rules.ask(node, {node.outputs[0]: gauge})
    rules.ask(node, {x: gauge, node.outputs[0]: gauge})
    RuleCache(facts).ask(node, {x: gauge})
    assert rule.asked == 5


def test_large_gauges_are_not_kept(rule: _Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_cache, "_MAX_KEPT", 10)
    node, x, facts = _node()
    rules, large, small = RuleCache(facts), _gauge(6), _gauge(2)
    for gauge in (large, large, small, small):
        rules.ask(node, {x: gauge})
    assert rule.asked == 3
