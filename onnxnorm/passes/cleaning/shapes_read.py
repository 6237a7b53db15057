"""Replaces small integers and truths that are computed from extents, and requests for a shape that read them.

Before: Shape -> Gather, Slice, Concat, arithmetic -> Reshape, Expand, If. After: where every element is known, although
other extents of the same value are free, a constant; where Reshape asks for extents that its input has in the same
places, zeros there, which copy them, and where one more is left, -1.
Conditions: an extent is known where inference gives a number; it is another's copy where both come from one place (see
`onnxnorm.graph.extents`). -1 is asked for only where no other extent can be zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused, remove_unread
from onnxnorm.graph.extents import INTEGERS, Extent
from onnxnorm.passes.cleaning.site import Site

__all__ = ["READERS_OF_SHAPES", "as_request", "ask_by_copies", "become_constant"]

READERS_OF_SHAPES = (
    "Add", "And", "Cast", "Concat", "ConstantOfShape", "Div", "Equal", "Gather", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Mul", "Not", "Or", "ReduceProd", "Reshape", "Shape", "Size", "Slice", "Squeeze", "Sub", "Unsqueeze",
    "Where",
)  # fmt: skip


def become_constant(node: ir.Node, site: Site) -> str | None:
    """Put a constant in place of a node whose every element is known."""
    output = node.outputs[0]
    if len(node.outputs) != 1 or output.is_graph_output() or not output.uses() or output.dtype not in INTEGERS:
        return None
    found = site.extents.elements(output)
    numbers = None if found is None else found.known
    if found is None or numbers is None or node.graph is None or output.dtype is None:
        return None
    array = np.array(numbers, output.dtype.numpy()).reshape(() if found.is_scalar else (len(numbers),))
    name = output.name or site.facts.fresh_name(node.name or "constant")
    output.name = None
    output.replace_all_uses_with(add_constant(node.graph, name, array, output.dtype, site.facts))
    remove_unread([node], site.facts)
    return "reads extents that are the same at every inference"


def ask_by_copies(node: ir.Node, site: Site) -> str | None:
    """Have a Reshape ask for a constant shape."""
    request = site.extents.request(node)
    dims = site.extents.of(node.inputs[0])
    asked = node.inputs[1] if len(node.inputs) == 2 else None
    if request is None or dims is None or asked is None or node.graph is None or site.facts.is_constant(asked):
        return None
    if node.attributes.get_int("allowzero", 0) or all(isinstance(item, int) for item in request):
        return None
    array = as_request(request, dims)
    if array is None:
        return None
    name = site.facts.fresh_name(f"{node.name}_shape")
    node.replace_input_with(1, add_constant(node.graph, name, array, ir.DataType.INT64, site.facts))
    drop_if_unused(asked, site.facts)
    return "asks for extents that it copies"


def as_request(wanted: Sequence[Extent | None], dims: Sequence[Extent]) -> npt.NDArray[np.int64] | None:
    """Return the request with which Reshape makes the wanted extents of a value of extents `dims`.

    None if there is none.

    Among `wanted`, -1 and 0 stand for what they ask for.
    """
    numbers = [
        item if isinstance(item, int) else 0 if item is not None and axis < len(dims) and item == dims[axis] else None
        for axis, item in enumerate(wanted)
    ]
    left = [axis for axis, item in enumerate(numbers) if item is None]
    if left:
        copied = [dims[axis] if axis < len(dims) else 0 for axis, item in enumerate(numbers) if item == 0]
        if len(left) > 1 or -1 in numbers or not all(isinstance(dim, int) and dim > 0 for dim in copied):
            return None
        numbers[left[0]] = -1
    return np.array([item for item in numbers if item is not None], np.int64)
