"""Gives a reason to every normalization that is still there, and finds the obstacle that counts.

Before and after are the same model; only the journal grows.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.affine import AffineNode, Declined, Diagnosis, affine_of, bound_of, diagnose, evidence_of, is_affine
from onnxnorm.affine.digits import Digits
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.graph.transformation import Transformation
from onnxnorm.idioms import units_in
from onnxnorm.journal import Journal
from onnxnorm.journal.reasons import Code
from onnxnorm.model.walk import changeable_roots, graphs_within
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["Account"]

# What rules may be asked for all nodes together.
_MOST_QUESTIONS = 10000
# Reasons that hold whatever stands around the node, or that were found when a region was applied.
_SETTLED = frozenset({Code.KEPT, Code.NOT_ASKED, Code.MASK, Code.OUT_OF_RANGE, Code.FAILED_VERIFICATION})
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
        if stuck:
            self._diagnose(stuck, model)
        return ir.passes.PassResult(model, modified=False)

    def _diagnose(self, nodes: list[ir.Node], model: ir.Model) -> None:
        facts = self._facts(model)
        units = units_in(model, facts, self._target)
        digits = Digits(facts)
        left = _MOST_QUESTIONS
        told: dict[ir.Node, tuple[AffineNode, Diagnosis]] = {}
        for node in nodes:
            found = affine_of(node, facts)
            if left <= 0 or isinstance(found, Declined):
                continue
            diagnosis = diagnose(node, found, facts, units, digits)
            left -= diagnosis.questions
            if diagnosis.why is not None:
                told[node] = (found, diagnosis)
        differ = {node: found.affine for node, (found, diagnosis) in told.items() if _differs(diagnosis)}
        least, proved = bound_of(differ, facts) if len(differ) > 1 else (0, frozenset[ir.Node]())
        bound = f"at least {least} of these {len(proved)} must stay: any two of them bend at different places"
        for node, (_, diagnosis) in told.items():
            assert diagnosis.why is not None
            why = diagnosis.why
            evidence = evidence_of(node, why, facts, diagnosis.cost, bound if node in proved else "")
            self._journal.decline(node, why.reason, why.code, evidence=evidence)


def _differs(diagnosis: Diagnosis) -> bool:
    return diagnosis.why is not None and diagnosis.why.code in (Code.READERS_DIFFER, Code.LOSES_ACCURACY)


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
