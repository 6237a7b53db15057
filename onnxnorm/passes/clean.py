"""What the other passes leave behind goes: dead nodes, unused constants, identities.

Before: nodes whose results nobody reads, initializers without a reader, Identity nodes.
After: none of these; graph inputs, outputs and their names are as before.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import IdentityEliminationPass, RemoveUnusedNodesPass

__all__ = ["CleanUp"]


class CleanUp(ir.passes.InPlacePass):
    """Dead code and identity elimination, by onnx-ir's passes."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for step in (IdentityEliminationPass(), RemoveUnusedNodesPass()):
            modified |= step(model).modified
        return ir.passes.PassResult(model, modified)
