"""Gives a reason to every normalization that is still there, and finds the obstacle that counts.

Before and after are the same model; only the journal grows.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.affine import (
    AffineNode,
    Declined,
    Diagnosis,
    affine_of,
    bound_of,
    diagnose,
    evidence_of,
    is_affine,
)
from onnxnorm.affine.digits import Digits
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.graph.size_budget import SizeBudget
from onnxnorm.graph.transformation import Transformation
from onnxnorm.idioms import units_in
from onnxnorm.journal import Journal
from onnxnorm.journal.reasons import Code, Remedy
from onnxnorm.model.walk import changeable_roots, graphs_within
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.passes.vain_remedies import withdraw_vain_remedies

__all__ = ["Account"]

# What rules may be asked for all nodes together.
_MOST_QUESTIONS = 10000
# Reasons that hold whatever stands around the node, or that were found when a region was applied.
_SETTLED = frozenset({Code.NOT_ASKED, Code.MASK, Code.OUT_OF_RANGE})
# Other readers of the same channels are in the way, or would lose accuracy.
_DIFFER = frozenset({Code.READERS_DIFFER, Code.LOSES_ACCURACY})
_SIMPLIFIED = frozenset({"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"})


class Account(JournaledPass):
    """Writes a reason for each normalization that stays; where one was searched for in vain, what was in the way."""

    def __init__(
        self, journal: Journal | None = None, *, target: str = "portable", transformation: Transformation | None = None
    ) -> None:
        """
        Args:
            journal: is told the reasons, and knows those that other passes have given.
            target: the runtime whose idioms stay whole.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._target = target

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        stuck = []
        main, *bodies = changeable_roots(model)
        for graph in [*graphs_within(main), *bodies]:
            for node in graph:
                if kind_of(node) is None:
                    continue
                if not self._journal.explains(node):
                    self._journal.decline(node, *_reason(node))
                elif is_affine(node) and self._journal.code_of(node) not in _SETTLED:
                    stuck.append(node)
        if stuck or self._journal.partly(_DIFFER):
            self._diagnose(stuck, model)
            self._offer_growth(stuck, self._facts(model).size_budget)
        return ir.passes.PassResult(model, modified=False)

    def _diagnose(self, nodes: list[ir.Node], model: ir.Model) -> None:
        facts = self._facts(model)
        units = units_in(model, facts, self._target) if nodes else None
        digits = Digits(facts)
        left = _MOST_QUESTIONS
        told: dict[ir.Node, tuple[AffineNode, Diagnosis]] = {}
        overridable: list[ir.Node] = []
        for node in nodes:
            found = affine_of(node, facts)
            if left <= 0 or isinstance(found, Declined):
                if isinstance(found, Declined) and found.code is Code.OVERRIDABLE_WEIGHT:
                    overridable.append(node)
                continue
            diagnosis = diagnose(node, found, facts, units, digits)
            left -= diagnosis.questions
            if diagnosis.why is not None:
                told[node] = (found, diagnosis)
        differ = {node: found for node, (found, diagnosis) in told.items() if _differs(diagnosis)}
        parts = self._parts(model, facts)
        least, proved = bound_of({**differ, **parts}, facts)
        bound = _bound(least, len(proved), in_part=bool(proved & parts.keys()))
        for node in proved & parts.keys():
            self._journal.bound(node, bound)
        for node, (_, diagnosis) in told.items():
            assert diagnosis.why is not None
            why = diagnosis.why
            evidence = evidence_of(node, why, facts, diagnosis.cost, bound if node in proved else "")
            self._journal.decline(node, why.reason, why.code, evidence=evidence)
        withdraw_vain_remedies(self._journal, nodes, overridable, model, self._target, self._transformation)

    def _parts(self, model: ir.Model, facts: Facts) -> dict[ir.Node, AffineNode]:
        """Return what is left in part of normalizations whose other readers ask for another affine."""
        names = self._journal.partly(_DIFFER)
        nodes = (node for graph in graphs_within(model.graph) for node in graph if node.name in names)
        found = {node: affine_of(node, facts) for node in nodes if is_affine(node) and kind_of(node) is None}
        return {node: affine for node, affine in found.items() if isinstance(affine, AffineNode)}

    def _offer_growth(self, nodes: list[ir.Node], budget: SizeBudget) -> None:
        """Say by how much the weights would have to grow for those that the budget has refused, all together."""
        refused = [
            node for node in nodes if node in budget.refused and self._journal.code_of(node) is Code.WEIGHTS_GROW
        ]
        ratio = budget.ratio_for(refused)
        for node in refused:
            text = f"let the weights grow by {100 * ratio:.0f} %, which does for all that are left for this reason"
            self._journal.advise(node, Remedy(text, ("--max-growth", f"{ratio:g}")))


def _differs(diagnosis: Diagnosis) -> bool:
    return diagnosis.why is not None and diagnosis.why.code in _DIFFER


def _bound(least: int, count: int, *, in_part: bool) -> str:
    """Return what is known of how many must stay, as a sentence."""
    stays = "must stay, whole or in part" if in_part else "must stay"
    if count == 1:
        return f"it {stays}: another reader of the same channels bends at another place"
    return f"at least {least} of these {count} {stays}: any two of them bend at different places"


def _reason(node: ir.Node) -> tuple[str, Code]:
    if node.op_type == "BatchNormalization":
        return "no pass that folds was asked for", Code.NOT_ASKED
    if node.op_type in _SIMPLIFIED:
        return (
            "normalizes by what it computes from its input, so it is no fixed affine; "
            f"{node.op_type} is a node of onnxruntime alone, ONNX has the same as RMSNormalization from opset 23 on",
            Code.SIMPLIFIED_LAYER_NORM,
        )
    return "normalizes by what it computes from its input, so it is no fixed affine; it stays one node", Code.ONE_NODE
