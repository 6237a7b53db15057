"""Joins two nodes in a row that give a value another shape and leave its elements in their order.

Before: x -> A -> B -> y, where A and B are Reshape, Flatten, Squeeze, Unsqueeze, or a Transpose that moves only extents
of 1, and nobody else reads what is between. After: x where y has its shape, otherwise x -> one node -> y: B as it is
where that asks for numbers alone, one Squeeze or Unsqueeze for two, or a Reshape.
Conditions: what B becomes makes the same extents of x for every input (see `as_request`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused, set_inputs, splice_out
from onnxnorm.graph.extents import Extent, ints_of, wrapped
from onnxnorm.graph.nodes import is_standard, producer_of, read_once
from onnxnorm.journal.words import naming_node, say
from onnxnorm.passes.cleaning.no_ops import same_extents
from onnxnorm.passes.cleaning.shapes_read import as_request
from onnxnorm.passes.cleaning.site import Site

__all__ = ["LAYOUT", "join_layouts"]

LAYOUT = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_OPSET_OF_REQUESTS = 5
_OPSET_OF_AXES = 13


def join_layouts(node: ir.Node, site: Site) -> str | None:
    """Have one node do what two do."""
    first = producer_of(node.inputs[0])
    if first is None or first.graph is not node.graph or not (_keeps_order(first, site) and _keeps_order(node, site)):
        return None
    if first.inputs[0] is None or first in site.units or node in site.units:
        return None
    x, done = first.inputs[0], say("does what {} before it did too", naming_node(first))
    before, after = site.extents.of(x), site.extents.of(node.outputs[0])
    if same_extents(before, after):
        _become(node, "Identity", [x], site)
        splice_out(node)
        return f"takes back what {first.op_type} {first.name!r} does"
    if not read_once(first.outputs[0]):
        return None
    if node.op_type == "Reshape" and len(node.inputs) == 2:
        request = ints_of(node, 1, "shape", site.facts)
        if request is not None and 0 not in request:
            node.replace_input_with(0, x)
            return done
    if site.facts.opset(node) < _OPSET_OF_REQUESTS or before is None or after is None:
        return None
    if (axes := _both_axes(first, node, len(before), len(after), site)) is not None:
        _become(node, node.op_type, [x, _numbers(node, "axes", axes, site)], site)
        return done
    request_array = as_request(_without_zeros(after), before)
    if request_array is None:
        return None
    _become(node, "Reshape", [x, _numbers(node, "shape", request_array.tolist(), site)], site)
    return done


def _without_zeros(dims: Sequence[Extent]) -> list[Extent | None]:
    """Return the extents with zero as unknown, since Reshape cannot be asked for it."""
    return [None if dim == 0 else dim for dim in dims]


def _keeps_order(node: ir.Node, site: Site) -> bool:
    if not is_standard(node) or node.op_type not in LAYOUT:
        return False
    if node.op_type != "Transpose":
        return True
    dims = site.extents.of(node.inputs[0])
    order = ints_of(node, 1, "perm", site.facts)
    if dims is None:
        return False
    order = order or tuple(range(len(dims)))[::-1]
    moved = [axis for axis in order if axis < len(dims) and dims[axis] != 1]
    return len(order) == len(dims) and moved == sorted(moved)


def _both_axes(first: ir.Node, node: ir.Node, before: int, after: int, site: Site) -> list[int] | None:
    """Return the axes that one Squeeze or Unsqueeze in place of two takes away or puts in."""
    if first.op_type != node.op_type or node.op_type not in ("Squeeze", "Unsqueeze"):
        return None
    one, two = (ints_of(each, 1, "axes", site.facts) for each in (first, node))
    if not one or not two or site.facts.opset(node) < _OPSET_OF_AXES:
        return None
    if node.op_type == "Squeeze":
        gone = set(wrapped(one, before))
        left = [axis for axis in range(before) if axis not in gone]
        return sorted(gone | {left[axis] for axis in wrapped(two, len(left))})
    new = set(wrapped(two, after))
    old = [axis for axis in range(after) if axis not in new]
    return sorted(new | {old[axis] for axis in wrapped(one, len(old))})


def _numbers(node: ir.Node, what: str, numbers: Sequence[int], site: Site) -> ir.Value:
    assert node.graph is not None
    name = site.facts.fresh_name(f"{node.name}_{what}")
    return add_constant(node.graph, name, np.array(numbers, np.int64), ir.DataType.INT64, site.facts)


def _become(node: ir.Node, op_type: str, inputs: Sequence[ir.Value], site: Site) -> None:
    old = node.inputs[1:]
    node.op_type = op_type
    node.attributes.clear()
    set_inputs(node, inputs)
    for value in old:
        drop_if_unused(value, site.facts)
