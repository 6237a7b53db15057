"""Writes the custom LRN operators in standard ones, with everything resolved that is known when the file is written.

Before: `onnxnorm.IntraChannelLRN` or `InterChannelLRN`, whose portable body branches on beta and takes its window and
its types from attributes and values. After: x^2 -> AveragePool over the window -> * alpha -> + bias -> roots -> x /
that, between Casts for half types; what `onnxnorm.write_out.lrn` makes of it for InterChannelLRN.
Sums of slices take the place of the pool where it is slow (from opset 19 on, but for two axes and channels that
onnxruntime blocks) or does not exist (double, other ranks).
Conditions: the attributes are values (no references to those of a function), the type is known, and for
InterChannelLRN the rank.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.model.dtypes import FLOATS
from onnxnorm.write_out import lrn
from onnxnorm.write_out.lrn_steps import OPSET_OF_SLOW_POOLS, LrnSteps, constants_of, reach, write_by_slices

__all__ = ["write_out"]

_WINDOWS = {"IntraChannelLRN": "kernel_shape", "InterChannelLRN": "size"}
_OLDEST_OPSET = 7
_RANKS_OF_POOLS = (3, 4)
# onnxruntime lays channels out in blocks of 8 or 16 where they come to whole ones, and has fast pools for that.
_BLOCK = 16


def write_out(node: ir.Node, facts: Facts, opset: int, *, counts_padding: bool = False) -> str | None:
    """Put standard operators in the place of a custom LRN node.

    Args:
        node: the node.
        facts: what is known of the model.
        opset: the version of the standard operators.
        counts_padding: whether the runtimes to write for count the padding of a pool that says so.

    Returns:
        None where it was done; otherwise the reason why not, in words.
    """
    if node.op_type not in _WINDOWS:
        return f"{node.op_type} has no plain form but its body"
    x, graph = node.inputs[0], node.graph
    if opset < _OLDEST_OPSET:
        return f"written out it needs opset {_OLDEST_OPSET}, the model has {opset}"
    if x is None or graph is None or x.dtype not in FLOATS:
        return "the type of its input is not known"
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return "it stands in a function that passes its attributes on"
    rank = facts.rank(x)
    window = node.attributes.get(_WINDOWS[node.op_type])
    if window is None:
        return "it has no window"
    is_double = x.dtype is ir.DataType.DOUBLE
    if node.op_type == "IntraChannelLRN":
        kernel = list(window.as_ints())
        if rank not in (None, len(kernel) + 2):
            return "its window is of another rank than its input"
        if is_double or (opset >= OPSET_OF_SLOW_POOLS and not _is_blocked(x, facts)):
            write_by_slices(node, graph, facts, opset, [1, 1, *kernel])
        else:
            _intra_by_pool(node, graph, facts, opset, counts_padding=counts_padding and opset < OPSET_OF_SLOW_POOLS)
    elif rank is None:
        return "the rank of its input is not known"
    elif rank in _RANKS_OF_POOLS and not is_double:
        lrn.write_out(node, facts, opset, counts_padding=counts_padding)
    else:
        write_by_slices(node, graph, facts, opset, [1, window.as_int(), *[1] * (rank - 2)])
    return None


def _is_blocked(x: ir.Value, facts: Facts) -> bool:
    shape = facts.shape(x)
    if shape is None or len(shape) != 4 or x.dtype is not ir.DataType.FLOAT:
        return False
    return isinstance(shape[1], int) and shape[1] % _BLOCK == 0


def _intra_by_pool(node: ir.Node, graph: ir.Graph, facts: Facts, opset: int, *, counts_padding: bool) -> None:
    x, kernel = node.inputs[0], list(node.attributes["kernel_shape"].as_ints())
    assert x is not None
    back, ahead = reach(kernel)
    steps = LrnSteps(node, graph, facts, opset)
    wide = steps.cast("wide", x, ir.DataType.FLOAT)
    padding: dict[str, Any] = {}
    padded = wide
    if counts_padding:
        padding = {"count_include_pad": 1, "pads": [*back, *ahead]}
    else:
        padded = steps.padded(wide, [0, 0, *back], [0, 0, *ahead])
    squares = steps.then("squares", "Mul", padded, padded, shape=padded.shape)
    mean = steps.then("mean", "AveragePool", squares, shape=wide.shape, kernel_shape=kernel, **padding)
    alpha, _, _ = constants_of(node)
    steps.finish(wide, mean, alpha)
