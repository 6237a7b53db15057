"""Gives a reason to every normalization that is still there.

Before and after are the same model; only the journal grows.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.normalizations import kind_of
from onnxnorm.journal import Journal
from onnxnorm.journal.reasons import Code
from onnxnorm.model.walk import graphs_within

__all__ = ["Account"]


_SIMPLIFIED = frozenset({"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"})


class Account(ir.passes.InPlacePass):
    """Writes a reason for each normalization of which no other pass has said why it stays."""

    def __init__(self, journal: Journal | None = None) -> None:
        super().__init__()
        self._journal = Journal() if journal is None else journal

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        bodies = [function.graph for function in model.functions.values() if function.domain != "onnxnorm"]
        for graph in [*graphs_within(model.graph), *bodies]:
            for node in graph:
                if kind_of(node) is not None and not self._journal.explains(node):
                    self._journal.decline(node, *_reason(node))
        return ir.passes.PassResult(model, modified=False)


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
