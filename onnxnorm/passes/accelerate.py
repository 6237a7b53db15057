"""Puts LRN, and for onnxruntime the other normalizations, in the form that is fastest where the model is to run.

Before: ONNX `LRN`, of which onnxruntime's kernel is slow and takes neither even sizes nor other ranks than 4.
After, for onnxruntime: `onnxnorm.InterChannelLRN`, the same formula, with its portable body as a model-local function,
so that nothing is lost where the native kernel is not installed.
The other normalizations go to their kernels as `onnxnorm/passes/native_norms.py` says.
After, for portable and for the web: the operators of `onnxnorm.write_out.lrn`.
Targets that run LRN well keep it, but for a bias that they do not compute with.
Conditions: the body needs opset 15; older models are converted, or keep their LRN.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.convert.opset import convert_opset
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal import Effect
from onnxnorm.journal.reasons import Code
from onnxnorm.model.walk import graphs_within
from onnxnorm.ops.attach import attach_body
from onnxnorm.ops.schema import DEFAULTS, DOMAIN
from onnxnorm.passes.for_target import TargetPass
from onnxnorm.passes.native_norms import give_to_kernels, has_normalizations
from onnxnorm.write_out import lrn

__all__ = ["Accelerate"]

_NAME = "accelerate"
_OPSET_OF_BODIES = 15
_OPSET_AFTER_CONVERSION = _OPSET_OF_BODIES
_OP_TYPE = "InterChannelLRN"


class Accelerate(TargetPass):
    """Gives LRN to the native kernel for target onnxruntime; writes it out for others that do not run it well."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        natives = self._target.name == "onnxruntime" and has_normalizations(model, self._facts(model))
        if not natives and all(self._target.runs_lrn(_bias(node)) for node in _lrn_nodes(model)):
            return ir.passes.PassResult(model, modified=False)
        if self._target.name != "onnxruntime":
            return ir.passes.PassResult(model, self._write_out(model))
        modified, why = False, ""
        if model.graph.opset_imports.get("", 0) < _OPSET_OF_BODIES and not model.functions:
            try:
                # A model that is refused is of no use any more.
                convert_opset(model.clone(), _OPSET_AFTER_CONVERSION, "the model")
                convert_opset(model, _OPSET_AFTER_CONVERSION, "the model")
                modified = True
            except OnnxNormError as error:
                why = f", and cannot be raised: {error}"
        nodes = _lrn_nodes(model)
        if model.graph.opset_imports.get("", 0) < _OPSET_OF_BODIES:
            for node in nodes:
                reason = f"the model's opset is too old for the body of the native kernel{why}"
                self._journal.decline(node, reason, Code.NEEDS_OPSET)
            return ir.passes.PassResult(model, modified)
        if natives:
            modified |= give_to_kernels(model, self._facts(model), self._journal, _NAME)
        for node in nodes:
            for name, default in DEFAULTS.items():
                if name not in node.attributes:
                    node.attributes[name] = ir.AttrFloat32(name, default)
            node.op_type, node.domain = _OP_TYPE, DOMAIN
            self._journal.rewrite(
                _NAME, node, "LRN", "runs in the native kernel where that is installed", effect=Effect.REFORMED
            )
        if nodes:
            attach_body(model, _OP_TYPE, nodes)
        return ir.passes.PassResult(model, modified=modified or bool(nodes))

    def _write_out(self, model: ir.Model) -> bool:
        facts, modified = self._facts(model), False
        opset = model.graph.opset_imports.get("", 0)
        for node in _lrn_nodes(model):
            if self._target.runs_lrn(_bias(node)):
                continue
            reason = lrn.why_not(node, facts, opset)
            if reason is not None:
                self._journal.decline(node, *reason)
                continue
            self._journal.rewrite(
                _NAME, node, "LRN", "written out in standard operators that run faster", effect=Effect.REFORMED
            )
            lrn.write_out(node, facts, opset, counts_padding=self._target.counts_padding)
            modified = True
        return modified


def _bias(node: ir.Node) -> float:
    return node.attributes.get_float("bias", DEFAULTS["bias"])


def _lrn_nodes(model: ir.Model) -> list[ir.Node]:
    return [
        node for graph in graphs_within(model.graph) for node in graph if node.op_type == "LRN" and is_standard(node)
    ]
