"""Follows axes through Reshape and Flatten: which of them hold the same elements before and after."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.numerics.arrays import MAX_RANK

__all__ = ["runs", "shape_after"]


def shape_after(node: ir.Node, before: Sequence[Dim], facts: Facts) -> tuple[Dim, ...] | None:
    """Return the shape that the Reshape or Flatten gives a value of shape `before`.

    None where its rank is not known.
    """
    if node.op_type == "Flatten":
        axis = node.attributes.get_int("axis", 1)
        return _flattened(before, axis if axis >= 0 else axis + len(before))
    after = facts.shape(node.outputs[0])
    request = facts.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if request is None or request.ndim != 1:
        return after
    if request.size > MAX_RANK:
        return None
    # The request says more than shape inference: 0 copies an extent, -1 is what remains.
    dims: list[Dim] = []
    copies = not node.attributes.get_int("allowzero", 0)
    for axis, extent in enumerate(int(value) for value in request):
        if extent > 0 or (extent == 0 and not copies):
            dims.append(extent)
        elif extent == 0:
            dims.append(before[axis] if axis < len(before) else None)
        else:
            dims.append(after[axis] if after is not None and axis < len(after) else None)
    return tuple(dims)


def _flattened(shape: Sequence[Dim], axis: int) -> tuple[Dim, ...]:
    return tuple(_product(part) for part in (shape[:axis], shape[axis:]))


def _product(dims: Sequence[Dim]) -> Dim:
    product = 1
    for dim in dims:
        if not isinstance(dim, int):
            return dims[0] if len(dims) == 1 else None
        product *= dim
    return product


def runs(before: Sequence[Dim], after: Sequence[Dim]) -> list[tuple[range, range]]:
    """Pair runs of axes that hold the same elements on both sides, from left to right.

    Known runs are cut off at the right and at the left end; what is left between them is one run of unknown structure.
    """
    right: list[tuple[range, range]] = []
    end_before, end_after = len(before), len(after)
    while (run := _run(before[:end_before][::-1], after[:end_after][::-1])) is not None:
        right.append((range(end_before - run[0], end_before), range(end_after - run[1], end_after)))
        end_before, end_after = end_before - run[0], end_after - run[1]
    left: list[tuple[range, range]] = []
    start_before, start_after = 0, 0
    while (run := _run(before[start_before:end_before], after[start_after:end_after])) is not None:
        left.append((range(start_before, start_before + run[0]), range(start_after, start_after + run[1])))
        start_before, start_after = start_before + run[0], start_after + run[1]
    middle = [(range(start_before, end_before), range(start_after, end_after))]
    return [*left, *middle, *reversed(right)]


def _run(before: Sequence[Dim], after: Sequence[Dim]) -> tuple[int, int] | None:
    """Count the leading axes on each side that make the shortest run with the same number of elements."""
    if before and after and isinstance(before[0], str) and before[0] == after[0]:
        return 1, 1
    count = [0, 0]
    product = [1, 1]
    sides = (before, after)
    while True:
        side = 0 if (count[0] == 0 or product[0] < product[1]) else 1
        if count[side] == len(sides[side]):
            return None
        dim = sides[side][count[side]]
        if not isinstance(dim, int) or dim == 0:
            return None
        product[side] *= dim
        count[side] += 1
        if count[0] and count[1] and product[0] == product[1]:
            return count[0], count[1]
