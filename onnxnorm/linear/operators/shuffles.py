"""Constant permutations of channels that are spelled Reshape, Transpose, Reshape, as the channel shuffle is.

The first Reshape splits the channels into several axes, the Transpose permutes these alone, the second Reshape makes
one axis of them again: output channel m is input channel index[m].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.graph.reshape import runs, shape_after
from onnxnorm.linear.channels import Integers
from onnxnorm.linear.step import Family, Step, channel_axis
from onnxnorm.numerics.arrays import check_size

__all__ = ["shuffle"]


def shuffle(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    """Read the last Reshape of a channel shuffle as a choice of channels; None where it ends no such chain."""
    permuted = _made_by("Transpose", node.inputs[0], node)
    opened = None if permuted is None else _made_by("Reshape", permuted.inputs[0], node)
    x = None if opened is None else opened.inputs[0]
    axis = None if x is None else channel_axis(x, family, facts)
    if permuted is None or opened is None or x is None or axis is None:
        return None
    index = _index(facts.shape(x), axis, (opened, permuted, node), facts)
    if index is None:
        return None
    return Step(
        (x,),
        lambda parts, extents: parts[0].rows(index) if parts[0].outputs == len(index) else None,
        within=(permuted, opened),
    )


def _made_by(op_type: str, value: ir.Value | None, user: ir.Node) -> ir.Node | None:
    node = producer_of(value)
    if node is None or node.op_type != op_type or not is_standard(node) or node.graph is not user.graph:
        return None
    return node


def _index(
    shape: tuple[Dim, ...] | None, axis: int, chain: tuple[ir.Node, ir.Node, ir.Node], facts: Facts
) -> Integers | None:
    opened, permuted, closed = chain
    split = None if shape is None else shape_after(opened, shape, facts)
    if shape is None or split is None:
        return None
    order = permuted.attributes.get("perm")
    perm = tuple(reversed(range(len(split)))) if order is None else tuple(order.as_ints())
    if sorted(perm) != list(range(len(split))):
        return None
    mixed = tuple(split[place] for place in perm)
    whole = shape_after(closed, mixed, facts)
    parts = _parts_of(axis, shape, split)
    if whole is None or len(whole) != len(shape) or parts is None or parts != _parts_of(axis, whole, mixed):
        return None
    if any(place != origin and place not in parts for place, origin in enumerate(perm)):
        return None
    extents = [extent for extent in (split[place] for place in parts) if isinstance(extent, int)]
    within = [perm[place] - parts.start for place in parts]
    if len(extents) != len(parts) or sorted(within) != list(range(len(parts))):
        return None
    check_size(extents)
    return np.arange(math.prod(extents), dtype=np.int64).reshape(extents).transpose(within).ravel()


def _parts_of(axis: int, whole: Sequence[Dim], split: Sequence[Dim]) -> range | None:
    """Return the axes that one axis is split into, where every other axis stays one."""
    found: range | None = None
    for before, after in runs(whole, split):
        if before == range(axis, axis + 1):
            found = after
        elif len(before) != len(after) or len(before) > 1:
            return None
    return found
