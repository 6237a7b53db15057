"""Operators that only choose among channels and places: Concat, Slice, Split, Gather, shuffles, Identity, Dropout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.linear.axis import Axis
from onnxnorm.linear.channels import Integers
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.operators.shuffles import shuffle
from onnxnorm.linear.step import Extents, Family, Step, StepReader, channel_axis, channels_of, rank_of
from onnxnorm.numerics.arrays import check_size

__all__ = ["SELECTIONS"]

# Slice says "to the end" by the largest integers.
_FAR = 2**31 - 1


def _identity(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x = node.inputs[0]
    return None if x is None else Step((x,), lambda parts, extents: parts[0])


def _dropout(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    """Dropout as the identity, which it is at inference; from opset 12 on an input tells it whether it trains."""
    told = node.inputs[2] if len(node.inputs) > 2 else None
    training = facts.constant(told)
    if told is not None and (training is None or training.any()):
        return None
    if value is not node.outputs[0] or any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return None
    return _identity(node, value, family, facts)


def _concat(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    rank, axis = rank_of(value, facts), node.attributes.get("axis")
    if rank is None or axis is None or axis.as_int() % rank != channel_axis(value, family, facts):
        return None
    operands = tuple(each for each in node.inputs if each is not None)

    def combine(parts: Sequence[Convolution], extents: Extents) -> Convolution | None:
        joined: Convolution | None = parts[0]
        for part in parts[1:]:
            joined = None if joined is None else joined.stacked(part, extents)
        return joined

    return Step(operands, combine)


def _cut(x: ir.Value, family: Family, facts: Facts, axis: int, index: Callable[[int], Integers | None]) -> Step | None:
    """Make the step of an operator that chooses channels, or places, by number along one axis."""
    rank, channels = rank_of(x, facts), channels_of(x, family, facts)
    if rank is None or channels is None or axis % rank != channel_axis(x, family, facts):
        return None
    check_size((channels,))
    chosen = index(channels)
    if chosen is None or not len(chosen):
        return None
    return Step((x,), lambda parts, extents: parts[0].rows(chosen) if parts[0].outputs == channels else None)


def _split(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, axis = node.inputs[0], node.attributes.get_int("axis", 0)
    rank = None if x is None else rank_of(x, facts)
    if x is None or rank is None:
        return None
    extents = [(facts.shape(output) or (None,) * rank)[axis % rank] for output in node.outputs]

    def index(channels: int) -> Integers | None:
        known = [extent for extent in extents if isinstance(extent, int)]
        if len(known) != len(extents) or sum(known) != channels:
            return None
        place = list(node.outputs).index(value)
        start = sum(known[:place])
        return np.arange(start, start + known[place])

    return _cut(x, family, facts, axis, index)


def _gather(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, places = node.inputs[0], facts.constant(node.inputs[1])
    if x is None or places is None or places.ndim != 1:
        return None

    def index(channels: int) -> Integers | None:
        wanted = places.astype(np.int64)
        return wanted % channels if np.all((wanted >= -channels) & (wanted < channels)) else None

    return _cut(x, family, facts, node.attributes.get_int("axis", 0), index)


def _slice(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x = node.inputs[0]
    rank = None if x is None else rank_of(x, facts)
    cuts = None if rank is None else _cuts(node, rank, facts)
    if x is None or rank is None or cuts is None:
        return None
    channel = channel_axis(x, family, facts)
    if channel is None:
        return None
    if set(cuts) == {channel}:
        start, end, step = cuts[channel]
        return _cut(x, family, facts, channel, lambda channels: np.arange(channels)[start:end:step])
    if family is not Family.CONVOLUTION or any(axis < 2 for axis in cuts):
        return None
    shape = facts.shape(x) or (None,) * rank
    axes = [_window_of_slice(*cuts[axis], shape[axis]) if axis in cuts else Axis() for axis in range(2, rank)]
    known = tuple(axis for axis in axes if axis is not None)
    if len(known) != len(axes):
        return None
    return Step((x,), lambda parts, extents: parts[0].then(Convolution.identity(parts[0].outputs, known), extents))


def _window_of_slice(start: int, end: int, step: int, extent: object) -> Axis | None:
    """Give every step-th place from start to end as a window of one tap; what is left out are negative paddings."""
    if isinstance(extent, int):
        places = range(extent)[start:end:step]
        if not len(places):
            return None
        return Axis(1, step, 1, -places.start, min(0, places.stop - extent))
    if start < 0 or (0 <= end < _FAR):
        return None
    return Axis(1, step, 1, -start, min(0, end) if end < 0 else 0)


def _cuts(node: ir.Node, rank: int, facts: Facts) -> dict[int, tuple[int, int, int]] | None:
    """Return start, end and (positive) step for each axis that is cut; None where they are not constant."""
    if facts.opset(node) < 10:
        starts, ends, axes = (node.attributes.get(name) for name in ("starts", "ends", "axes"))
        if starts is None or ends is None:
            return None
        lists = [list(starts.as_ints()), list(ends.as_ints()), None if axes is None else list(axes.as_ints()), None]
    else:
        operands = [*node.inputs[1:], None, None, None, None][:4]
        arrays = [facts.constant(each) for each in operands]
        if any(each is not None and array is None for each, array in zip(operands, arrays, strict=True)):
            return None
        lists = [None if array is None else [int(entry) for entry in array.ravel()] for array in arrays]
        if lists[0] is None or lists[1] is None:
            return None
    first, last = lists[0] or [], lists[1] or []
    places = list(range(len(first))) if lists[2] is None else [axis % rank for axis in lists[2]]
    steps = [1] * len(first) if lists[3] is None else lists[3]
    if not len(first) == len(last) == len(places) == len(steps) == len(set(places)) or min(steps, default=1) < 1:
        return None
    return {axis: (a, b, step) for axis, a, b, step in zip(places, first, last, steps, strict=True)}


SELECTIONS: Mapping[str, StepReader] = MappingProxyType(
    {
        "Concat": _concat,
        "Dropout": _dropout,
        "Gather": _gather,
        "Identity": _identity,
        "Reshape": shuffle,
        "Slice": _slice,
        "Split": _split,
    }
)
