"""Shares constants: those that are nodes become initializers, and of equal ones one is left.

Before: Constant nodes; large initializers that are the same bit for bit. After: initializers, each large one once. Of
those that come from Constant nodes small ones are shared too.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.transformation import Transformation
from onnxnorm.model.walk import graphs_within
from onnxnorm.passes.cleaning.duplicates import merge_initializers
from onnxnorm.passes.cleaning.leftovers import lift_constants

__all__ = ["ShareConstants"]


class ShareConstants(ir.passes.InPlacePass):
    """Writes each constant once, as an initializer."""

    def __init__(self, transformation: Transformation | None = None) -> None:
        super().__init__()
        self._transformation = transformation

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts = Facts(model, self._transformation)
        lifted = lift_constants(model, facts)
        merged = merge_initializers(graphs_within(model.graph), facts)
        return ir.passes.PassResult(model, lifted or merged > 0)
