"""Merges linear branches and linear stretches of a network into one node each.

Such branches are what a network was trained with, not what it computes.

Before: sums (Add, Sub, Sum, trees of them) of branches that are all linear maps of one value - convolutions, average
pools, BatchNorms and other per-channel affines, the value itself -, and linear operators in a row or side by side.
After: one Conv or ConvTranspose (`merge_convolutions`), or one MatMul or Gemm (`merge_products`), where that computes
the same with no more multiply-adds and no more memory traffic than what goes.
Algebra: that of `onnxnorm.linear.convolution`. Only geometry counts, no pattern of any architecture.
Conditions: constants all through; paddings that line up; no shift under a zero padding; new constants that fit their
type; interior values that nobody else reads, unless work falls in spite of it.
"""

from __future__ import annotations

import itertools
from collections import Counter

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.transformation import Transformation
from onnxnorm.idioms import units_in
from onnxnorm.journal import Effect, Journal
from onnxnorm.journal.words import naming_node, say
from onnxnorm.linear import Family, Plan, Reader, plans_for, write
from onnxnorm.model.walk import changeable_graphs
from onnxnorm.passes.branch_rounding import rounds_worse_as_one
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["MergeBranches"]

_PRODUCTS = frozenset({"MatMul", "Gemm"})
_CORES = {
    Family.CONVOLUTION: frozenset({"Conv", "ConvTranspose"}),
    Family.PRODUCT: _PRODUCTS,
    Family.LEFT_PRODUCT: _PRODUCTS,
}


class MergeBranches(JournaledPass):
    """Merges in every graph of the model, from its inputs to its outputs, until nothing more can be saved."""

    def __init__(
        self,
        journal: Journal | None = None,
        step: str = "merge_branches",
        *families: Family,
        target: str = "portable",
        for_int8: bool = False,
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told what merged.
            step: the name of this pass in the pipeline.
            families: what to merge, one after another; all there are where none is given.
            target: the runtime whose idioms stay whole.
            for_int8: leave branches apart whose sum int8 would round worse as one weight.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._step = step
        self._families = families or tuple(_CORES)
        self._target = target
        self._for_int8 = for_int8
        self._apart: frozenset[ir.Node] = frozenset()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if self._journal.unchanged_since(self._step):
            return ir.passes.PassResult(model, modified=False)
        facts = self._facts(model)
        modified = False
        if self._families != (Family.CONVOLUTION,):
            self._apart = units_in(model, facts, self._target).products
        for graph, family in itertools.product(list(changeable_graphs(model)), self._families):
            if any(node.op_type in _CORES[family] for node in graph):
                # Every merge lowers the cost, so this ends.
                while self._sweep(graph, facts, family):
                    modified = True
        self._journal.mark(self._step)
        return ir.passes.PassResult(model, modified)

    def _sweep(self, graph: ir.Graph, facts: Facts, family: Family) -> bool:
        merged = False
        reader = Reader(facts, family)
        for node in list(graph):
            while node.graph is not None and self._merge(node, reader):
                merged = True
                reader = Reader(facts, family)
        return merged

    def _merge(self, node: ir.Node, reader: Reader) -> bool:
        for plan in plans_for(node, reader):
            if len(self._apart.intersection((plan.root, *plan.gone))) > 1:
                # Runtimes run both with the attention that they belong to.
                continue
            if self._for_int8 and rounds_worse_as_one(plan, reader.facts):
                self._journal.leave_apart(plan.root)
                continue
            went = [(gone, gone.op_type) for gone in (node, *plan.gone)]
            parts = _told(plan)
            made = write(plan, reader)
            if made is not None:
                self._record(made, say("{} merged into {}", parts, naming_node(made)), went)
                return True
        return False

    def _record(self, made: ir.Node, detail: str, went: list[tuple[ir.Node, str]]) -> None:
        for gone, op_type in went:
            # Normalizations that the gone nodes had taken up go on with them.
            for inner, inner_type in self._journal.inside(gone):
                if inner_type == "BatchNormalization":
                    self._journal.rewrite(self._step, inner, inner_type, detail, effect=Effect.MERGED, into=(made,))
            if op_type == "BatchNormalization":
                self._journal.rewrite(self._step, gone, op_type, detail, effect=Effect.MERGED, into=(made,))
        self._journal.rewrite(self._step, made, made.op_type, detail, effect=Effect.MERGED)


def _told(plan: Plan) -> str:
    if len(plan.merged) > 1:
        return f"{len(plan.merged)} branches"
    counts = Counter(node.op_type for node in (*reversed(plan.gone), plan.root))
    return " and ".join(op_type if count == 1 else f"{count} {op_type}" for op_type, count in counts.items())
