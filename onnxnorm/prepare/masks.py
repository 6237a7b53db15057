"""Finds constants of attention masks that a type of two bytes does not hold, and may hold as smaller ones.

Before: softmax(scores + mask), where the mask is 0 or as good as minus infinity (-1e9, -3.4e38). After: the same with
-c for all below -c, c being a fourth of the largest number of the type. The exponential of a score minus c is 0 beside
those that count, as it is of a score minus 3.4e38, as long as scores are small beside c.
Conditions: whatever reads the constant only adds to it, chooses, or moves elements, until a Softmax or the mask of an
Attention reads it; what is added to it on the way was observed, or is known, to stay below c/8; no Softmax reads more
than three of them, so that their sum does not overflow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.prepare.observe import Observed

__all__ = ["Masks", "find_masks"]

# Where each of these reads a mask; None is every place.
_LAYOUT: Mapping[str, frozenset[int] | None] = {
    "Concat": None, "Expand": frozenset({0}), "Flatten": frozenset({0}), "Gather": frozenset({0}), "Identity": None,
    "Reshape": frozenset({0}), "Slice": frozenset({0}), "Split": frozenset({0}), "Squeeze": frozenset({0}),
    "Tile": frozenset({0}), "Transpose": frozenset({0}), "Unsqueeze": frozenset({0}), "Where": frozenset({1, 2}),
}  # fmt: skip
_WHOLE = frozenset({ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT8, ir.DataType.INT8})
_MASK_OF_ATTENTION = 3
_PART, _ROOM, _MOST = 4, 8, 3


@dataclass
class Masks:
    """The masks of a model.

    Attributes:
        least: the number that stands for all that are smaller.
        constants: those that have to be made as small as that.
        values: what is made of them, up to each Softmax: negative numbers of any size are as good there.
    """

    least: float
    constants: set[ir.Value] = field(default_factory=set)
    values: set[ir.Value] = field(default_factory=set)


@dataclass
class _Way:
    """The way of one constant to the nodes that forget how small it is."""

    values: set[ir.Value] = field(default_factory=set)
    sums: set[ir.Node] = field(default_factory=set)
    ends: set[ir.Node] = field(default_factory=set)


def find_masks(graphs: Iterable[ir.Graph], facts: Facts, limit: float, observed: Mapping[str, Observed]) -> Masks:
    """Find the constants in these graphs that are masks, for a type whose largest number is `limit`."""
    masks = Masks(-float(np.floor(limit / _PART)))
    operands = dict.fromkeys(value for graph in graphs for node in graph for value in node.inputs if value is not None)
    ways: dict[ir.Value, _Way] = {}
    for value in operands:
        if value.dtype is ir.DataType.FLOAT and facts.is_constant(value) and _is_vast(value, facts, masks.least):
            way = _Way()
            if _follow(value, way, facts, observed):
                ways[value] = way
    while True:
        on_way = {value for way in ways.values() for value in way.values}
        ends = Counter(end for way in ways.values() for end in way.ends)
        refused = [
            value
            for value, way in ways.items()
            if any(ends[end] > _MOST for end in way.ends)
            or not all(_adds_little(node, on_way, facts, observed, -masks.least / _ROOM) for node in way.sums)
        ]
        if not refused:
            break
        for value in refused:
            del ways[value]
    masks.constants, masks.values = set(ways), on_way
    return masks


def _is_vast(value: ir.Value, facts: Facts, least: float) -> bool:
    array = facts.constant(value)
    if array is None or not array.size:
        return False
    finite = array[np.isfinite(array)]
    return bool(finite.size) and float(finite.min()) < least and float(finite.max()) <= -least / _ROOM


def _follow(value: ir.Value, way: _Way, facts: Facts, observed: Mapping[str, Observed]) -> bool:
    """Follow the value to whatever reads it; whether all of these forget how small it is."""
    if value in way.values:
        return True
    if value.is_graph_output() or not value.uses():
        return False
    way.values.add(value)
    for use in value.uses():
        node, place = use.node, use.idx
        if not is_standard(node):
            return False
        if (node.op_type, place) in (("Softmax", 0), ("Attention", _MASK_OF_ATTENTION)):
            way.ends.add(node)
            continue
        if node.op_type == "Add":
            way.sums.add(node)
        elif node.op_type == "Mul":
            other = node.inputs[1 - place]
            if other is None or not _is_zero_or_one(other, facts, observed):
                return False
        elif node.op_type not in _LAYOUT or place not in (_LAYOUT[node.op_type] or (place,)):
            return False
        if not all(_follow(made, way, facts, observed) for made in node.outputs):
            return False
    return True


def _is_zero_or_one(value: ir.Value, facts: Facts, observed: Mapping[str, Observed]) -> bool:
    """Whether the value is a choice between 0 and 1, written as a number, or one minus such."""
    node = value.producer()
    if node is None or not is_standard(node) or not node.inputs or node.inputs[0] is None:
        return False
    first = node.inputs[0]
    if node.op_type == "Cast":
        seen = observed.get(value.name or "")
        is_whole = first.dtype in _WHOLE and seen is not None and seen.largest <= 1
        return first.dtype is ir.DataType.BOOL or is_whole
    if node.op_type == "Sub" and node.inputs[1] is not None:
        one = facts.constant(first)
        return one is not None and bool(np.all(one == 1)) and _is_zero_or_one(node.inputs[1], facts, observed)
    return _LAYOUT.get(node.op_type) == frozenset({0}) and _is_zero_or_one(first, facts, observed)


def _adds_little(
    node: ir.Node, on_way: set[ir.Value], facts: Facts, observed: Mapping[str, Observed], most: float
) -> bool:
    """Whether what the sum adds to masks is small beside them."""
    for value in node.inputs:
        if value is None or value in on_way:
            continue
        array = facts.constant(value)
        seen = observed.get(value.name or "")
        largest = seen.largest if array is None and seen is not None else None
        if array is not None:
            largest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        if largest is None or largest > most:
            return False
    return True
