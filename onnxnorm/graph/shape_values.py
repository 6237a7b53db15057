"""Computes with shapes as operators do: the elements of small integer and boolean scalars and vectors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm.graph.extents import Elements, Extent, Extents, ints_of

__all__ = ["elements_after"]

_Item: TypeAlias = "Extent | None"
_Rule: TypeAlias = Callable[[ir.Node, Extents], "Elements | None"]

_LIMITS = {ir.DataType.INT64: 2**63, ir.DataType.INT32: 2**31, ir.DataType.BOOL: 2}
_MOST_ELEMENTS = 64


def elements_after(node: ir.Node, extents: Extents) -> Elements | None:
    """Return the elements of the first output; None where nothing is known of them."""
    rule = _RULES.get(node.op_type)
    found = None if rule is None or not node.inputs else rule(node, extents)
    if found is None or len(found.items) > _MOST_ELEMENTS or not any(item is not None for item in found.items):
        return None
    dtype = node.outputs[0].dtype
    limit = 0 if dtype is None else _LIMITS.get(dtype, 0)
    fits = all(not isinstance(item, int) or -limit <= item < limit for item in found.items)
    return found if fits else None


def _shape(node: ir.Node, extents: Extents) -> Elements | None:
    dims = extents.of(node.inputs[0])
    if dims is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(dims))
    return Elements(False, dims[start:end])


def _size(node: ir.Node, extents: Extents) -> Elements | None:
    dims = extents.of(node.inputs[0])
    product = 1
    for dim in dims or (None,):
        if not isinstance(dim, int):
            return None
        product *= dim
    return Elements(True, (product,))


def _same(node: ir.Node, extents: Extents) -> Elements | None:
    return extents.elements(node.inputs[0])


def _cast(node: ir.Node, extents: Extents) -> Elements | None:
    found, target = extents.elements(node.inputs[0]), node.outputs[0].dtype
    if found is None or node.inputs[0] is None:
        return None
    if target is ir.DataType.BOOL and node.inputs[0].dtype is not ir.DataType.BOOL:
        return Elements(
            found.is_scalar, tuple(int(item != 0) if isinstance(item, int) else None for item in found.items)
        )
    # An extent that does not fit wraps.
    keeps = target is ir.DataType.INT64 or target is node.inputs[0].dtype
    return found if keeps else Elements(found.is_scalar, tuple(i if isinstance(i, int) else None for i in found.items))


def _as_vector(node: ir.Node, extents: Extents) -> Elements | None:
    found = extents.elements(node.inputs[0])
    axes = ints_of(node, 1, "axes", extents.facts)
    return Elements(False, found.items) if found is not None and found.is_scalar and axes in ((0,), (-1,)) else None


def _as_scalar(node: ir.Node, extents: Extents) -> Elements | None:
    found = extents.elements(node.inputs[0])
    axes = ints_of(node, 1, "axes", extents.facts)
    if found is None or found.is_scalar or len(found.items) != 1 or axes not in ((), (0,), (-1,)):
        return None
    return Elements(True, found.items)


def _reshape(node: ir.Node, extents: Extents) -> Elements | None:
    found, request = extents.elements(node.inputs[0]), extents.request(node)
    if found is None or request is None or len(request) > 1:
        return None
    if not request:
        return Elements(True, found.items) if len(found.items) == 1 else None
    return Elements(False, found.items) if request[0] in (-1, len(found.items)) else None


def _gather(node: ir.Node, extents: Extents) -> Elements | None:
    found, indices = extents.elements(node.inputs[0]), extents.elements(node.inputs[1])
    if found is None or found.is_scalar or indices is None or indices.known is None:
        return None
    count = len(found.items)
    if any(not -count <= index < count for index in indices.known):
        return None
    return Elements(indices.is_scalar, tuple(found.items[index] for index in indices.known))


def _slice(node: ir.Node, extents: Extents) -> Elements | None:
    found = extents.elements(node.inputs[0])
    bounds = [ints_of(node, index, name, extents.facts) for index, name in ((1, "starts"), (2, "ends"), (3, "axes"))]
    steps = ints_of(node, 4, "steps", extents.facts)
    if found is None or found.is_scalar or None in bounds or steps is None:
        return None
    starts, ends, axes = (bound or () for bound in bounds)
    if len(starts) != 1 or len(ends) != 1 or axes not in ((), (0,), (-1,)) or steps not in ((), (1,)):
        return None
    return Elements(False, found.items[starts[0] : ends[0]])


def _concat(node: ir.Node, extents: Extents) -> Elements | None:
    items: list[_Item] = []
    for value in node.inputs:
        found = extents.elements(value)
        if found is None:
            shape = None if value is None else extents.facts.shape(value)
            if shape is None or len(shape) != 1 or not isinstance(shape[0], int) or shape[0] > _MOST_ELEMENTS:
                return None
            items.extend([None] * shape[0])
        elif found.is_scalar:
            return None
        else:
            items.extend(found.items)
    return Elements(False, tuple(items))


def _filled(node: ir.Node, extents: Extents) -> Elements | None:
    request = extents.elements(node.inputs[0])
    value = node.attributes.get("value")
    if request is None or request.known is None or len(request.known) != 1 or request.known[0] > _MOST_ELEMENTS:
        return None
    if value is None or value.is_ref():
        return None
    return Elements(False, (int(value.as_tensor().numpy().ravel()[0]),) * max(request.known[0], 0))


def _product(node: ir.Node, extents: Extents) -> Elements | None:
    found = extents.elements(node.inputs[0])
    if found is None or found.known is None or found.is_scalar:
        return None
    axes = ints_of(node, 1, "axes", extents.facts)
    if axes not in ((), (0,), (-1,)) or node.attributes.get_int("noop_with_empty_axes", False):
        return None
    product = 1
    for item in found.known:
        product *= item
    return Elements(not node.attributes.get_int("keepdims", True), (product,))


def _where(node: ir.Node, extents: Extents) -> Elements | None:
    parts = _together([extents.elements(value) for value in node.inputs])
    if parts is None:
        return None
    is_scalar, (condition, then, other) = parts
    return Elements(
        is_scalar,
        tuple(
            (a if c else b) if isinstance(c, int) else a if a == b else None
            for c, a, b in zip(condition, then, other, strict=True)
        ),
    )


def _together(operands: Sequence[Elements | None]) -> tuple[bool, list[tuple[_Item, ...]]] | None:
    """Return the items of each operand, repeated where it broadcasts."""
    found = [each for each in operands if each is not None]
    if len(found) < len(operands):
        return None
    count = max(len(each.items) for each in found)
    if any(len(each.items) not in (1, count) for each in found):
        return None
    items = [each.items if len(each.items) == count else each.items * count for each in found]
    return all(each.is_scalar for each in found), items


def _pairwise(compute: Callable[[_Item, _Item], _Item]) -> _Rule:
    def rule(node: ir.Node, extents: Extents) -> Elements | None:
        parts = _together([extents.elements(value) for value in node.inputs])
        if parts is None or len(parts[1]) != 2:
            return None
        return Elements(parts[0], tuple(compute(a, b) for a, b in zip(*parts[1], strict=True)))

    return rule


def _add(a: _Item, b: _Item) -> _Item:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return a if b == 0 else b if a == 0 else None


def _sub(a: _Item, b: _Item) -> _Item:
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    return a if b == 0 else None


def _mul(a: _Item, b: _Item) -> _Item:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    return a if b == 1 else b if a == 1 else 0 if 0 in (a, b) and None not in (a, b) else None


def _div(a: _Item, b: _Item) -> _Item:
    if isinstance(a, int) and isinstance(b, int):
        # Of numbers below zero runtimes cut off the fraction, Python does not.
        return a // b if a >= 0 and b > 0 else None
    return a if b == 1 else None


def _equal(a: _Item, b: _Item) -> _Item:
    if isinstance(a, int) and isinstance(b, int):
        return int(a == b)
    if a is not None and a == b:
        return 1
    # No extent is negative.
    for one, other in ((a, b), (b, a)):
        if isinstance(one, tuple) and isinstance(other, int) and other < 0:
            return 0
    return None


def _compared(compare: Callable[[int, int], bool]) -> _Rule:
    return _pairwise(lambda a, b: int(compare(a, b)) if isinstance(a, int) and isinstance(b, int) else None)


def _not(node: ir.Node, extents: Extents) -> Elements | None:
    found = extents.elements(node.inputs[0])
    if found is None:
        return None
    return Elements(found.is_scalar, tuple(1 - item if isinstance(item, int) else None for item in found.items))


_RULES: Mapping[str, _Rule] = {
    "Add": _pairwise(_add),
    "And": _pairwise(lambda a, b: 0 if 0 in (a, b) else 1 if a == b == 1 else None),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Div": _pairwise(_div),
    "Equal": _pairwise(_equal),
    "Gather": _gather,
    "Greater": _compared(operator.gt),
    "GreaterOrEqual": _compared(operator.ge),
    "Identity": _same,
    "Less": _compared(operator.lt),
    "LessOrEqual": _compared(operator.le),
    "Mul": _pairwise(_mul),
    "Not": _not,
    "Or": _pairwise(lambda a, b: 1 if 1 in (a, b) else 0 if a == b == 0 else None),
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _as_scalar,
    "Sub": _pairwise(_sub),
    "Unsqueeze": _as_vector,
    "Where": _where,
}
