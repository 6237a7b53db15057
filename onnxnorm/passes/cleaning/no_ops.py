"""Takes away nodes that hand on an input as it is.

Before: x -> node -> y, where y is x bit for bit at every inference: Cast to the type that x has, Transpose that moves
no element, Reshape to the shape that x has, Slice of everything, Expand to no more, Pad by nothing, Concat of one,
Split into one, Resize to the extents that x has, blocks of one, Dropout at inference, Where whose condition is
constant, x * 1, x / 1, x - 0, x to the power of 1, and x + 0 of integers. After: x.
Conditions: types, extents and constants prove it. x + 0 of floats is another number where x is -0; a constant that
broadcasts x makes another value of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import splice_out
from onnxnorm.graph.extent_rules import broadcast
from onnxnorm.graph.extents import ints_of
from onnxnorm.passes.cleaning.site import Site

__all__ = ["NO_OPS", "pass_on", "same_extents"]

# The number of the input that the node hands on, or None.
_Test: TypeAlias = Callable[[ir.Node, Site], "int | None"]

# As the standard says it, an end that large stands for that of the axis.
_TO_THE_END = 2**31 - 1


def pass_on(node: ir.Node, site: Site) -> str | None:
    """Take the node away where it hands on an input as it is."""
    kept = NO_OPS[node.op_type](node, site)
    if kept is None or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    op_type = node.op_type
    splice_out(node, kept)
    return None if op_type == node.op_type == "Identity" and node.graph is not None else "hands on what it is given"


def same_extents(a: Sequence[object] | None, b: Sequence[object] | None) -> bool:
    """Whether both are known, and equal axis by axis."""
    return a is not None and b is not None and tuple(a) == tuple(b)


def _only_input(node: ir.Node, site: Site) -> int | None:
    return 0 if len(node.inputs) == 1 and node.inputs[0] is not None else None


def _whole(node: ir.Node, site: Site) -> int | None:
    return 0 if len(node.outputs) == 1 else None


def _resize(node: ir.Node, site: Site) -> int | None:
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return None
    if node.op_type == "Resize" and len(node.inputs) == 4 and node.inputs[3] is not None:
        # Sizes are extents, so that the factor follows from them; extents do not tell the factor that they came from.
        before, after = site.extents.of(node.inputs[0]), site.extents.of(node.outputs[0])
        return 0 if same_extents(before, after) and before is not None and None not in before else None
    # Before opset 11 Resize had the factors where it has the region now.
    index = 1 if node.op_type == "Upsample" or site.facts.opset(node) < 11 else 2
    factors = site.facts.constant(node.inputs[index]) if len(node.inputs) > index else None
    return 0 if factors is not None and factors.size and (np.asarray(factors) == 1).all() else None


def _blocks(node: ir.Node, site: Site) -> int | None:
    return 0 if node.attributes.get_int("blocksize", 0) == 1 else None


def _cast(node: ir.Node, site: Site) -> int | None:
    x = node.inputs[0]
    target = node.attributes.get("to")
    # The oldest opsets name the type in a text.
    if x is None or target is None or target.is_ref() or target.type is not ir.AttributeType.INT:
        return None
    return 0 if x.dtype is not None and int(x.dtype) == target.as_int() else None


def _cast_like(node: ir.Node, site: Site) -> int | None:
    x, like = node.inputs
    return 0 if x is not None and like is not None and x.dtype is not None and x.dtype is like.dtype else None


def _transpose(node: ir.Node, site: Site) -> int | None:
    dims = site.extents.of(node.inputs[0])
    order = ints_of(node, 1, "perm", site.facts)
    if order and order == tuple(range(len(order))):
        return 0
    if dims is None or (order and sorted(order) != list(range(len(dims)))):
        return None
    order = order or tuple(range(len(dims)))[::-1]
    stays = all(to == axis or dims[to] == dims[axis] == 1 for axis, to in enumerate(order))
    return 0 if stays else None


def _reshape(node: ir.Node, site: Site) -> int | None:
    before, after = site.extents.of(node.inputs[0]), site.extents.of(node.outputs[0])
    if before is None or after is None or len(before) != len(after):
        return None
    differ = [axis for axis, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if not differ:
        return 0
    # All elements are there afterwards, so that one extent follows from all others.
    others = [dim for axis, dim in enumerate(before) if axis not in differ]
    request = site.extents.request(node) if node.op_type == "Reshape" else None
    asks = request is not None and len(request) == len(before) and request[differ[0]] == -1
    return 0 if len(differ) == 1 and (asks or all(isinstance(dim, int) and dim > 0 for dim in others)) else None


def _unsqueeze(node: ir.Node, site: Site) -> int | None:
    dims = site.extents.of(node.outputs[0])
    return 0 if dims is not None and same_extents(dims, site.extents.of(node.inputs[0])) else None


def _slice(node: ir.Node, site: Site) -> int | None:
    dims = site.extents.of(node.inputs[0])
    starts, ends, axes, steps = (
        ints_of(node, index, name, site.facts)
        for index, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "steps"))
    )
    if starts is None or ends is None or axes is None or steps is None or not starts or len(starts) != len(ends):
        return None
    axes = axes or tuple(range(len(starts)))
    if len(axes) != len(starts) or any(step != 1 for step in steps):
        return None
    for axis, start, end in zip(axes, starts, ends, strict=True):
        extent = None if dims is None or not -len(dims) <= axis < len(dims) else dims[axis]
        if start != 0 and not (isinstance(extent, int) and start <= -extent):
            return None
        if end < _TO_THE_END and not (isinstance(extent, int) and end >= extent):
            return None
    return 0


def _expand(node: ir.Node, site: Site) -> int | None:
    dims, request = site.extents.of(node.inputs[0]), site.extents.request(node)
    if dims is None or request is None or len(request) > len(dims):
        return None
    tail = dims[len(dims) - len(request) :]
    return 0 if all(item is not None and item in (1, dim) for item, dim in zip(request, tail, strict=True)) else None


def _tile(node: ir.Node, site: Site) -> int | None:
    repeats = ints_of(node, 1, "repeats", site.facts) if len(node.inputs) == 2 else None
    return 0 if repeats and set(repeats) == {1} else None


def _pad(node: ir.Node, site: Site) -> int | None:
    pads = ints_of(node, 1, "pads", site.facts)
    return 0 if pads and not any(pads) else None


def _dropout(node: ir.Node, site: Site) -> int | None:
    opset = site.facts.opset(node)
    if opset < 7:
        return 0 if node.attributes.get_int("is_test", 0) else None
    if opset < 12 or len(node.inputs) < 3 or node.inputs[2] is None:
        return 0
    trains = site.facts.constant(node.inputs[2])
    return 0 if trains is not None and not trains.any() else None


def _neutral(left: bool, number: float, *, floats: bool, sign: float = 1.0) -> _Test:
    """Make a test for arithmetic with a constant that changes nothing; `left`: it may stand on either side."""

    def test(node: ir.Node, site: Site) -> int | None:
        for kept, other in ((0, 1), (1, 0)) if left else ((0, 1),):
            x, array = node.inputs[kept], site.facts.constant(node.inputs[other])
            if x is None or array is None or x.dtype is None or not array.size or array.dtype.kind in "OSU":
                continue
            if not floats and not x.dtype.is_integer():
                continue
            values = np.asarray(array)
            if not (values == number).all():
                continue
            if number == 0 and not x.dtype.is_integer() and (np.signbit(values.astype(np.float64)) != (sign < 0)).any():
                continue
            dims = site.extents.of(x)
            if dims is None or node in site.units:
                continue
            if same_extents(broadcast([dims, values.shape], max(len(dims), values.ndim)), dims):
                return kept
        return None

    return test


def _add(node: ir.Node, site: Site) -> int | None:
    found = _neutral(True, 0, floats=False)(node, site)
    # Minus zero is the number that changes no float.
    return found if found is not None else _neutral(True, 0, floats=True, sign=-1.0)(node, site)


def _where(node: ir.Node, site: Site) -> int | None:
    condition = site.facts.constant(node.inputs[0]) if node.inputs[0] is not None else None
    if condition is None or not condition.size or not (condition.all() or not condition.any()):
        return None
    kept = 1 if condition.all() else 2
    known = [condition.shape, *(site.extents.of(value) for value in node.inputs[1:])]
    dims = known[kept]
    if dims is None or any(each is None for each in known):
        return None
    shapes = [each for each in known if each is not None]
    return kept if same_extents(broadcast(shapes, max(map(len, shapes))), dims) else None


NO_OPS: Mapping[str, _Test] = {
    "Add": _add,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Concat": _only_input,
    "DepthToSpace": _blocks,
    "Div": _neutral(False, 1, floats=True),
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _reshape,
    "Identity": _only_input,
    "Max": _only_input,
    "Mean": _only_input,
    "Min": _only_input,
    "Mul": _neutral(True, 1, floats=True),
    "Pad": _pad,
    "Pow": _neutral(False, 1, floats=True),
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _whole,
    "Squeeze": _unsqueeze,
    "Sub": _neutral(False, 0, floats=True),
    "Sum": _only_input,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
    "Where": _where,
}
