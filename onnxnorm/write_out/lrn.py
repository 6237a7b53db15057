"""Writes inter-channel LRN in the standard operators that run it fastest, right in every runtime.

Before: ONNX `LRN`, of which onnxruntime's kernel takes several times as long as the operators it is defined by.
After, up to opset 18: x^2 -> Unsqueeze -> AveragePool along the channels -> Squeeze -> * alpha -> + bias -> roots ->
x / that. After, from opset 19 on: x is padded along the channels and squared, and sums of its slices are added.
Algebra: with the channels as a spatial axis, a pool that counts its padding is the mean over the window, cut at the
border; base^(3/4) = sqrt(base) * sqrt(sqrt(base)), and base^(1/2) and base^(1/4) are roots alone.
Conditions: float, rank 3 or 4 (a pool has up to three spatial axes), opset 7 or newer; roots where neither alpha nor
bias is negative, Pow elsewhere.

Why two forms: from opset 19 on onnxruntime runs an AveragePool of three axes in a loop that takes ten times as long as
before, and its versions 1.21.0 to 1.24.4 compute one that counts its padding wrong for windows such as [5, 1]. Sums of
slices take as long as the pool did.
OpenCV 4 never counts padding. For targets that stand for it too (`counts_padding=False`) x is padded before it is
squared, with a Mul between Pad and pool: onnxruntime 1.20 to 1.24 would fuse the two, and count wrong again.

Of the forms that bench/lrn_forms.py times (pools of two and three axes, convolution with a column or with a band matrix
over the channels, Pow and roots) the pool is the fastest that is exact for every input: where squares overflow, a band
matrix makes NaN of infinity times zero, in channels whose window is finite.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code
from onnxnorm.write_out.lrn_steps import OPSET_OF_SLOW_POOLS, LrnSteps, constants_of, write_by_slices

__all__ = ["why_not", "write_out"]

_OLDEST_OPSET = 7  # AveragePool that counts its padding


def why_not(node: ir.Node, facts: Facts, opset: int) -> tuple[str, Code] | None:
    """Give the reason why this LRN stays one node, in words and as a code; None where it can be written out."""
    x = node.inputs[0]
    if opset < _OLDEST_OPSET:
        return f"written out it needs opset {_OLDEST_OPSET}, the model has {opset}", Code.NEEDS_OPSET
    if x is None or x.dtype is None:
        return "written out it would need float inputs, and the type of its input is not known", Code.UNKNOWN_SHAPE
    if x.dtype is not ir.DataType.FLOAT:
        return "written out it would need float inputs: squares overflow in half precision", Code.OUT_OF_RANGE
    if facts.rank(x) not in (3, 4):
        return "written out it needs an input of rank 3 or 4", Code.UNKNOWN_SHAPE
    if node.graph is None or facts.is_function_body(node.graph):
        return "it stands in a function", Code.OPERATOR
    return None


def write_out(node: ir.Node, facts: Facts, opset: int, *, counts_padding: bool = False) -> None:
    """Put the operators in the place of the node; its output keeps its name.

    Args:
        node: an LRN, or an InterChannelLRN of the same attributes, whose input is of rank 3 or 4.
        facts: what is known of the model.
        opset: the version of the standard operators.
        counts_padding: whether the runtimes to write for count the padding of a pool that says so.
    """
    x, graph = node.inputs[0], node.graph
    rank = None if x is None else facts.rank(x)
    assert x is not None and graph is not None and rank is not None
    size = node.attributes["size"].as_int()
    if opset >= OPSET_OF_SLOW_POOLS:
        write_by_slices(node, graph, facts, opset, [1, size, *[1] * (rank - 2)])
        return
    steps = LrnSteps(node, graph, facts, opset)
    wide = steps.cast("wide", x, ir.DataType.FLOAT)

    flat = [0] * (rank - 2)
    before, after = (size - 1) // 2, size // 2
    padding: dict[str, Any] = {"count_include_pad": 1}
    padded = wide
    if counts_padding:
        padding["pads"] = [before, *flat, after, *flat]
    else:
        padded = steps.padded(wide, [0, before, *flat], [0, after, *flat])
    squares = steps.then("squares", "Mul", padded, padded, shape=padded.shape)
    volume = steps.axis("Unsqueeze", "volume", squares)
    pool = steps.then("pool", "AveragePool", volume, kernel_shape=[size, *(1 for _ in flat)], **padding)
    mean = steps.axis("Squeeze", "mean", pool)
    if wide.shape is not None:
        batch, *places = list(wide.shape)
        mean.shape = wide.shape
        pool.shape = ir.Shape([batch, 1, *places])
    if padded.shape is not None:
        batch, *places = list(padded.shape)
        volume.shape = ir.Shape([batch, 1, *places])
    alpha, _, _ = constants_of(node)
    steps.finish(wide, mean, alpha)
