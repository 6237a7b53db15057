"""Joins a Slice with a Slice behind it that cuts other axes.

Before: x -> Slice of some axes -> Slice of others -> y, where nobody else reads what is between. After: x -> one Slice.
Conditions: bounds, axes and steps are constants; no axis is cut twice.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused, set_inputs
from onnxnorm.graph.extents import ints_of, wrapped
from onnxnorm.graph.nodes import is_standard, producer_of, read_once
from onnxnorm.journal.words import naming_node, say
from onnxnorm.passes.cleaning.site import Site

__all__ = ["join_slices"]

_NAMES = ("starts", "ends", "axes", "steps")
_OPSET_OF_INPUTS = 10


def join_slices(node: ir.Node, site: Site) -> str | None:
    """Have a Slice cut what the Slice before it cuts, too."""
    first = producer_of(node.inputs[0])
    if first is None or not is_standard(first) or first.op_type != "Slice" or first.graph is not node.graph:
        return None
    x, graph = first.inputs[0], node.graph
    rank = None if x is None else site.facts.rank(x)
    if x is None or graph is None or rank is None or not read_once(first.outputs[0]):
        return None
    if site.facts.opset(node) < _OPSET_OF_INPUTS or first in site.units or node in site.units:
        return None
    one, two = _cuts(first, rank, site), _cuts(node, rank, site)
    if one is None or two is None or set(one[2]) & set(two[2]):
        return None
    old = list(node.inputs[1:])
    values = []
    for name, a, b in zip(_NAMES, one, two, strict=True):
        array = np.array([*a, *b], np.int64)
        wish = site.facts.fresh_name(f"{node.name}_{name}")
        values.append(add_constant(graph, wish, array, ir.DataType.INT64, site.facts))
    set_inputs(node, [x, *values])
    for value in old:
        drop_if_unused(value, site.facts)
    return say("cuts what {} before it did too", naming_node(first))


def _cuts(node: ir.Node, rank: int, site: Site) -> tuple[tuple[int, ...], ...] | None:
    """Return starts, ends, axes and steps, one for each axis that is cut."""
    starts, ends, axes, steps = (ints_of(node, index, name, site.facts) for index, name in enumerate(_NAMES, 1))
    if starts is None or ends is None or axes is None or steps is None or len(starts) != len(ends):
        return None
    axes = wrapped(axes or range(len(starts)), rank)
    steps = steps or (1,) * len(starts)
    if len(axes) != len(starts) or len(steps) != len(starts) or len(set(axes)) != len(axes):
        return None
    return starts, ends, axes, steps
