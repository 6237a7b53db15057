"""Removes what the other passes leave behind: dead nodes, unused constants, identities.

Before: nodes whose results nobody reads, initializers without a reader, Identity nodes.
After: none of these; graph inputs, outputs and their names are as before. An Identity stays where an output of the
graph is an input, a constant or another output under a second name.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.edit import splice_out
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import graphs_within
from onnxnorm.passes.cleaning.leftovers import remove_dead

__all__ = ["CleanUp"]


class CleanUp(ir.passes.InPlacePass):
    """Removes dead code by onnx-ir's pass, and identities by our own: two outputs that are one value must stay two."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for graph in [*graphs_within(model.graph), *(function.graph for function in model.functions.values())]:
            for node in list(graph):
                if node.op_type == "Identity" and is_standard(node):
                    splice_out(node)
                    modified |= node.graph is None
        return ir.passes.PassResult(model, remove_dead(model) or modified)
