"""Tells how much the channels of weights differ in range, and what that costs in int8 with one scale for each tensor.

With one scale a channel whose largest weight is r times smaller than that of its tensor has 127 / r steps to each side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.shapes import infer_shapes

__all__ = ["WeightRange", "ranges_by_node", "weight_ranges"]

_STEPS = 127
# Of a channel with fewer steps less than four bits are left, its sign included.
_FEW = 8


@dataclass(frozen=True)
class WeightRange:
    """The ranges of the output channels of one weight.

    Attributes:
        node, op_type: the operator that reads it.
        weight: its name.
        ranges: the largest magnitude in each channel.
        ratio: the largest of these over the smallest that is not zero.
        poor: how many channels have fewer than eight steps in int8, where one scale holds for the tensor.
    """

    node: str
    op_type: str
    weight: str
    ranges: tuple[float, ...]
    ratio: float
    poor: int

    @property
    def loses_accuracy(self) -> bool:
        """Whether int8 with one scale for the tensor leaves too few steps to a tenth of the channels or more."""
        return 10 * self.poor >= max(1, sum(size > 0 for size in self.ranges))

    def to_dict(self) -> dict[str, Any]:
        """Return the record in types that JSON has."""
        return {**asdict(self), "loses_accuracy": self.loses_accuracy}


def weight_ranges(model: ir.Model) -> tuple[WeightRange, ...]:
    """Return a record for each constant weight of a convolution or a product of the main graph, in order."""
    infer_shapes(model)
    return tuple(record for _, record in ranges_by_node(model.graph, Facts(model)))


def ranges_by_node(graph: ir.Graph, facts: Facts) -> Iterator[tuple[ir.Node, WeightRange]]:
    """Yield each convolution or product of a graph that has a constant weight, with its record, in order."""
    for node in graph:
        axis = _channel_axis(node)
        array = facts.dequantized(node.inputs[1]) if axis is not None and len(node.inputs) > 1 else None
        if axis is None or array is None or array.ndim < 2 or not array.size:
            continue
        sizes = _sizes(np.abs(np.asarray(array, np.float64)), axis, node)
        there = sizes[sizes > 0]
        if not there.size or not np.isfinite(there).all():
            continue
        ratio, poor = float(there.max() / there.min()), int(np.sum(there * _STEPS < _FEW * there.max()))
        weight = node.inputs[1]
        name = "" if weight is None else weight.name or ""
        yield node, WeightRange(node.name or "", node.op_type, name, tuple(sizes.tolist()), ratio, poor)


def _channel_axis(node: ir.Node) -> int | None:
    if not is_standard(node):
        return None
    if node.op_type == "Gemm":
        flipped = node.attributes.get("transB")
        return 0 if flipped is not None and flipped.as_int() else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}.get(node.op_type)


def _sizes(sizes: np.ndarray, axis: int, node: ir.Node) -> np.ndarray:
    group = node.attributes.get("group")
    if node.op_type == "ConvTranspose" and group is not None and group.as_int() > 1:
        # (C, M / group, ...): the rows of a group make its own channels.
        parts = sizes.reshape(group.as_int(), -1, *sizes.shape[1:])
        return np.asarray(parts.max(axis=(1, *range(3, parts.ndim)))).reshape(-1)
    axis %= sizes.ndim
    return np.asarray(sizes.max(axis=tuple(each for each in range(sizes.ndim) if each != axis)))
