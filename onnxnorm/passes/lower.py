"""Lowers normalization nodes that the target has no good kernel for to what it runs best.

Before: one node for each normalization. After: where the target lacks the operator, or runs it slower than what it is
made of, that; the bodies of this project's operators in their place where the target knows no model-local functions.
Conditions: the rank is known; statistics of half types are taken in float32.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.inline import inline
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Effect, Journal
from onnxnorm.journal.reasons import Code
from onnxnorm.model.walk import graphs_within
from onnxnorm.ops.schema import DEFAULTS, DOMAIN
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.passes.targets import TARGETS, Target
from onnxnorm.write_out.normalizations import FORMS, rank_is_known, write_out

__all__ = ["Lower"]

_NAME = "lower"


class Lower(JournaledPass):
    """Writes the normalizations of a model as `target` runs them best."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        target: str | Target = "portable",
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told what changed, and what is left and why.
            target: what the model is to run on, by its name or its entry in the table of targets.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._target = TARGETS[target] if isinstance(target, str) else target

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts = self._facts(model)
        modified = False
        for graph in graphs_within(model.graph):
            for node in list(graph):
                modified |= self._as_standard(node, facts)
                modified |= self._lower(node, graph, facts)
        if not self._target.knows_functions and any(function.domain == DOMAIN for function in model.functions.values()):
            inline(model, lambda function: function.domain == DOMAIN)
            model.graph.opset_imports.pop(DOMAIN, None)
            modified = True
        return ir.passes.PassResult(model, modified)

    def _as_standard(self, node: ir.Node, facts: Facts) -> bool:
        """Turn an InterChannelLRN that ONNX's own LRN can say into that, for a target that runs LRN.

        Tell whether it was done.
        """
        if node.domain != DOMAIN or node.op_type != "InterChannelLRN" or not self._target.prefers_standard_lrn:
            return False
        if not self._target.runs_lrn(node.attributes.get_float("bias", DEFAULTS["bias"])):
            return False
        x = node.inputs[0]
        if (
            x is None
            or facts.rank(x) != 4
            or x.dtype is ir.DataType.DOUBLE
            or node.attributes["size"].as_int() % 2 == 0
        ):
            return False
        node.op_type, node.domain = "LRN", ""
        self._journal.rewrite(
            _NAME, node, "InterChannelLRN", f"is ONNX's LRN, which {self._target.name} runs", effect=Effect.REFORMED
        )
        return True

    def _lower(self, node: ir.Node, graph: ir.Graph, facts: Facts) -> bool:
        reason = self._target.lowered.get(node.op_type) if is_standard(node) else None
        if reason is None or node.op_type not in FORMS:
            return False
        if not rank_is_known(node, facts):
            reason = f"{self._target.name} {reason}, but the rank of the tensor is not known"
            self._journal.decline(node, reason, Code.UNKNOWN_SHAPE)
            return False
        op_type = node.op_type
        if not write_out(node, graph, facts):
            return False
        self._journal.rewrite(
            _NAME, node, op_type, f"written out: {self._target.name} {reason}", effect=Effect.REFORMED
        )
        return True
