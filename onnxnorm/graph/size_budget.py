"""Limits how much larger the weights of a model may become while it is transformed.

A weight that several nodes read is stored once. A change for one of these nodes alone stores a second one, and what
that costs in bytes is charged here, less what the same change makes superfluous. Beyond the budget it is declined.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.model.walk import bytes_of, stored_bytes, tensor_in, weight_bytes

__all__ = ["DEFAULT_MAX_GROWTH", "UNCOUNTED", "SizeBudget", "freed_bytes", "has_shared_weights"]

DEFAULT_MAX_GROWTH = 0.05
"""The largest growth of the weights, as a part of what they were."""

UNCOUNTED = 2**10
"""The bytes up to which a constant does not count: shapes, axes, single numbers."""

# What no file becomes noticeably larger by, unless the caller wants none at all.
_ALWAYS = 2**14
# Constants below are not worth the look for an equal one.
_LEAST_SHARED = 2**10
HEAD = 256
"""Bytes at the beginning of weights, from which on those that differ do so."""

# Weights written by their one element are as large at run time as any.
_FILLS = frozenset({"ConstantOfShape", "Expand"})
# A weight that is seen through these is the same weight.
_VIEWS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


class SizeBudget:
    """The growth of one model's weights so far, and the constants that changes have added to it."""

    def __init__(self, original: int, max_growth: float = DEFAULT_MAX_GROWTH) -> None:
        """
        Args:
            original: how many bytes the weights had at first.
            max_growth: by which part of that they may grow.
        """
        self.original = original
        self.allowed = max(int(original * max_growth), _ALWAYS) if max_growth > 0 else 0
        self.unlimited = False
        self.has_refused = False
        self.refused: dict[ir.Node, int] = {}
        """The bytes by which the weights would have grown, for each node that was left for that reason."""
        self._grown = 0
        self._made: dict[tuple[ir.DataType, tuple[int, ...]], list[ir.Value]] = {}

    @classmethod
    def of(cls, model: ir.Model, max_growth: float = DEFAULT_MAX_GROWTH) -> SizeBudget:
        """Make the budget of a model whose weights are as they are now."""
        return cls(weight_bytes(model), max_growth)

    def refusal(self, growth: int) -> str | None:
        """Give the reason why the weights may not grow by that many bytes more; None where they may."""
        if growth <= 0 or self.unlimited or self._grown + growth <= self.allowed:
            return None
        self.has_refused = True
        return (
            f"would copy {growth} bytes of a weight that other nodes share, beyond the budget of {self.allowed} bytes "
            "for all copies (see max_growth, --max-growth)"
        )

    def ratio_for(self, nodes: Iterable[ir.Node]) -> float:
        """Return the growth that would do for these nodes too, as a part of the weights, rounded up to a percent."""
        wanted = self._grown + sum(self.refused.get(node, 0) for node in nodes)
        return math.ceil(100 * wanted / max(self.original, 1)) / 100

    def spend(self, growth: int) -> None:
        """Count a growth, or what was saved where it is negative."""
        self._grown += growth

    def note(self, value: ir.Value) -> None:
        """Remember a constant that a change has added, so that the next change can share it."""
        tensor = value.const_value
        if tensor is not None and tensor.nbytes >= _LEAST_SHARED and value.is_initializer():
            self._made.setdefault(_kind(tensor), []).append(value)

    def twin(self, tensor: ir.TensorProtocol, graph: ir.Graph) -> ir.Value | None:
        """Return a constant of the graph that a change has added and that equals the tensor in every bit."""
        if tensor.nbytes < _LEAST_SHARED:
            return None
        for value in self._made.get(_kind(tensor), ()):
            made = value.const_value
            if made is None or value.graph is not graph or not value.is_initializer() or not value.uses():
                continue
            if made is tensor or (_kind(made) == _kind(tensor) and same_bits(made, tensor)):
                return value
        return None


def same_bits(one: ir.TensorProtocol, other: ir.TensorProtocol) -> bool:
    """Whether two tensors of one type and shape, none of them text, hold the same bits."""
    first, second = bits_of(one), bits_of(other)
    return np.array_equal(first[:HEAD], second[:HEAD]) and np.array_equal(first, second)


def bits_of(tensor: ir.TensorProtocol) -> npt.NDArray[np.uint8]:
    """Return the elements as bytes, without a copy where they lie in memory or are mapped."""
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)


def _kind(tensor: ir.TensorProtocol) -> tuple[ir.DataType, tuple[int, ...]]:
    return tensor.dtype, tuple(tensor.shape.numpy())


def freed_bytes(
    lost: Mapping[ir.Value, int],
    gone: Collection[ir.Node],
    *,
    inputs_are_weights: bool = False,
    fills_are_weights: bool = False,
) -> int:
    """Count the bytes of constants that nobody reads any more.

    Args:
        lost: how many of its uses each value loses.
        gone: nodes that go, whose inputs are among `lost` already.
        inputs_are_weights: whether initializers that are inputs of the graph may go too.
        fills_are_weights: whether a tensor that the file stores as its one element counts with all of them, as it
            does at run time.
    """
    left = {value: len(value.uses()) - count for value, count in lost.items()}
    pending, dead, total = list(left), set(gone), 0
    seen: set[ir.Value] = set()
    while pending:
        value = pending.pop()
        if left[value] > 0 or value in seen or value.is_graph_output():
            continue
        seen.add(value)
        node = value.producer()
        if value.is_initializer():
            if value.const_value is not None and (inputs_are_weights or not value.is_graph_input()):
                total += bytes_of(value.const_value)
        elif node is not None and node not in dead and _is_unread(node, left):
            dead.add(node)
            total += max(_held_by(node), _filled_by(node)) if fills_are_weights else _held_by(node)
            for operand in node.inputs:
                if operand is not None:
                    left[operand] = left.get(operand, len(operand.uses())) - 1
                    pending.append(operand)
    return total


def _is_unread(node: ir.Node, left: Mapping[ir.Value, int]) -> bool:
    return all(left.get(out, len(out.uses())) <= 0 and not out.is_graph_output() for out in node.outputs)


def _filled_by(node: ir.Node) -> int:
    """Return the bytes of the weight that a fill stands for; a fold makes it a stored one, and copies nothing."""
    value = node.outputs[0]
    if node.op_type not in _FILLS or value.dtype is None or value.shape is None:
        return 0
    dims = [dim for dim in value.shape if isinstance(dim, int)]
    return stored_bytes(value.dtype, dims) if len(dims) == len(value.shape) else 0


def _held_by(node: ir.Node) -> int:
    return sum(
        bytes_of(tensor_in(attribute))
        for attribute in node.attributes.values()
        if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref()
    )


def has_shared_weights(graphs: Iterable[ir.Graph]) -> bool:
    """Whether several nodes read one weight, so that changing it for one of them would store it twice."""
    for graph in graphs:
        for weight in graph.initializers.values():
            if weight.const_value is not None and bytes_of(weight.const_value) >= _LEAST_SHARED:
                value: ir.Value = weight
                while len(value.uses()) == 1:
                    (reader,) = value.consumers()
                    if reader.op_type not in _VIEWS or reader.inputs[0] is not value:
                        break
                    value = reader.outputs[0]
                if len(value.uses()) > 1:
                    return True
    return False
