"""Lowers normalization nodes that the target has no good kernel for to what it runs best.

Before: one node for each normalization. After: where the target lacks the operator, or runs it slower than what it is
made of, that. Where the target knows no model-local functions, this project's operators become standard ones, the
functions that are left are put in place of their calls, and the file becomes plain (`onnxnorm.write_out.plain`).
Conditions: the rank is known; statistics of half types are taken in float32.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.inline import inline
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal import Effect
from onnxnorm.journal.reasons import Code
from onnxnorm.model.walk import graphs_of, graphs_within
from onnxnorm.ops.attach import attach_bodies_in
from onnxnorm.ops.bodies import OLDEST_OPSET
from onnxnorm.ops.schema import DEFAULTS, DOMAIN, OP_TYPES
from onnxnorm.passes.for_target import TargetPass
from onnxnorm.passes.inline_functions import forget_domains, inline_for_plain_file
from onnxnorm.write_out import custom_lrn
from onnxnorm.write_out.normalizations import FORMS, rank_is_known, write_out
from onnxnorm.write_out.plain import make_plain

__all__ = ["Lower"]

_NAME = "lower"


class Lower(TargetPass):
    """Writes the normalizations of a model as `target` runs them best."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = not self._target.knows_functions and inline_for_plain_file(model)
        facts = self._facts(model)
        for graph in graphs_within(model.graph):
            for node in list(graph):
                modified |= self._as_standard(node, facts)
                modified |= self._lower(node, graph, facts)
                if not self._target.knows_functions:
                    modified |= self._write_out_custom(node, graph, facts)
        if not self._target.knows_functions:
            modified |= self._without_functions(model)
            modified |= make_plain(model, self._facts(model))
        return ir.passes.PassResult(model, modified)

    def _write_out_custom(self, node: ir.Node, graph: ir.Graph, facts: Facts) -> bool:
        """Write an operator of this project in standard ones; tell whether it was done."""
        if node.domain != DOMAIN or node.op_type not in OP_TYPES:
            return False
        op_type = node.op_type
        if custom_lrn.write_out(node, facts, facts.opset_of(graph), counts_padding=self._target.counts_padding):
            # Its body takes its place, which asks for what is not known at run time.
            return False
        self._journal.rewrite(
            _NAME, node, op_type, f"written out: {self._target.name} is plain", effect=Effect.REFORMED
        )
        return True

    def _without_functions(self, model: ir.Model) -> bool:
        """Put the bodies of this project's operators in the place of those that are left, and forget bodies unused."""
        used = {node.op_identifier() for graph in graphs_of(model) for node in graph if node.domain == DOMAIN}
        ours = [identifier for identifier, function in model.functions.items() if function.domain == DOMAIN]
        for identifier in ours:
            if identifier not in used:
                del model.functions[identifier]
        if used:
            if model.graph.opset_imports.get("", 0) >= OLDEST_OPSET:
                attach_bodies_in(model)
            inline(model, lambda function: function.domain == DOMAIN)
        forget_domains(model, {DOMAIN})
        return bool(ours or used)

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
