"""Leaves out what a Concat joins without an element of it.

Before: Concat(a, b, c), where b has no extent along the axis: a slice of nothing, a cache that holds nothing yet.
After: Concat(a, c); where one part alone is left, it is handed on.
Conditions: the extent along the axis is known to be zero, and the ranks of what is left are known. One part is left at
least.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.edit import set_inputs
from onnxnorm.passes.cleaning.site import Site

__all__ = ["leave_out_empty_parts"]


def leave_out_empty_parts(node: ir.Node, site: Site) -> str | None:
    """Take away the inputs of the node that have no element to give."""
    attribute = node.attributes.get("axis")
    axis = None if attribute is not None and attribute.is_ref() else 1 if attribute is None else attribute.as_int()
    shapes = [site.extents.of(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    if axis is None or len(known) < len(shapes) or len({len(shape) for shape in known}) != 1:
        return None
    rank = len(known[0])
    if node in site.units or not -rank <= axis < rank:
        return None
    kept = [value for value, shape in zip(node.inputs, known, strict=True) if shape[axis] != 0]
    if not kept or len(kept) == len(node.inputs):
        return None
    set_inputs(node, kept)
    return "joins parts without elements, which make no difference"
