"""Infers shapes and types for every value, as far as ONNX can.

Before: values may lack a shape, or have one that contradicts the inputs (see `onnxnorm.graph.declared_shapes`).
After: each has the shape that ONNX's own inference gives. No node changes.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.shapes import infer_shapes

__all__ = ["InferShapes"]


class InferShapes(ir.passes.InPlacePass):
    """Runs ONNX shape inference with data propagation; a model that it stumbles over keeps the shapes it came with."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        return ir.passes.PassResult(model, infer_shapes(model))
