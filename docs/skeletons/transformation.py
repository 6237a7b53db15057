"""A Not of a Not is the value itself, where nobody else reads what stands between.

A skeleton of a pass, to be copied to onnxnorm/passes/ (recipe 3 of CONTRIBUTING.md). The docstring says before, after,
the algebra and the conditions.

Before: x -> Not -> Not -> y. After: x -> y.
Algebra: not not x = x. Conditions: the first Not has one reader, so that it goes too; otherwise nothing is gained.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnxnorm.graph.edit import splice_out
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal import Journal
from onnxnorm.model.walk import graphs_within

__all__ = ["DropDoubleNot"]

_NAME = "drop_double_not"


class DropDoubleNot(ir.passes.InPlacePass):
    """Takes out pairs of Not."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for graph in graphs_within(model.graph):
            for node in list(graph):
                plan = _plan(node)
                if plan is not None:
                    self._apply(plan)
                    modified = True
        return ir.passes.PassResult(model, modified)

    def _apply(self, plan: _Plan) -> None:
        for node in (plan.second, plan.first):
            splice_out(node)
            self._journal.rewrite(_NAME, node, "Not", f"one of two in a row, {plan.first.name!r} the first")


@dataclass(frozen=True)
class _Plan:
    """Two Not in a row, the first of which only the second reads."""

    first: ir.Node
    second: ir.Node


def _plan(second: ir.Node) -> _Plan | None:
    """Look, and change nothing: what is to be done here, or None."""
    if not _is_not(second) or second.inputs[0] is None:
        return None
    between = second.inputs[0]
    first = between.producer()
    if first is None or not _is_not(first) or first.graph is not second.graph:
        return None
    if len(between.uses()) != 1 or between.is_graph_output():
        return None
    return _Plan(first, second)


def _is_not(node: ir.Node) -> bool:
    return node.graph is not None and node.op_type == "Not" and is_standard(node)
