"""Proves how many normalizations must stay that read the same channels.

Readers of one channel that bend behind their affine, s x + t, bend where x is -t / s. A value has one gauge: of readers
that bend at different places at most those of one place can do without a node of their own, and all others must stay.
A reader that bends without an affine bends at zero, and then its place is the one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray
from onnxnorm.affine.rules.affine_nodes import AffineNode
from onnxnorm.graph.facts import Facts

__all__ = ["bound_of"]

# Operators that give channels on as they are, or their means and maxima.
_SAME_CHANNELS = frozenset({"AveragePool", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"})
_BENDS = frozenset({"Elu", "Gelu", "HardSigmoid", "LeakyRelu", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Tanh"})
_CLOSE = 1e-6
_MOST_READERS = 4096


@dataclass(frozen=True, eq=False)
class _Reader:
    """A reader of some channels of a value, and where it bends: one number for each of them."""

    node: ir.Node
    places: FloatArray


def bound_of(left: Mapping[ir.Node, AffineNode], facts: Facts) -> tuple[int, frozenset[ir.Node]]:
    """Return how many of the normalizations must stay at least, and those of which that is proved.

    Args:
        left: the affines that are left, also of normalizations that are left in part.
        facts: what is known of the model.
    """
    groups = _groups({node: found for node, found in left.items() if _bends_behind(node)}, facts)
    least, told = 0, set[ir.Node]()
    for value, readers in sorted(groups.items(), key=lambda item: -len(item[1])):
        mine = [reader for reader in readers if reader.node not in told]
        fixed = _bends_as_it_is(value)
        classes = _classes(mine)
        if len(mine) + fixed < 2:
            continue
        if fixed:
            at_zero = sum(bool(np.all(np.abs(reader.places) < _CLOSE)) for reader in mine)
            must = len(mine) - at_zero
        else:
            must = len(mine) - max(classes)
        if must:
            least += must
            told.update(reader.node for reader in mine)
    return least, frozenset(told)


def _groups(left: Mapping[ir.Node, AffineNode], facts: Facts) -> dict[ir.Value, list[_Reader]]:
    """Return the readers of each value whose channels several of them read."""
    groups: dict[ir.Value, list[_Reader]] = {}
    for node, found in list(left.items())[:_MOST_READERS]:
        value, affine = node.inputs[found.data], found.affine
        if value is None or affine.rank < 2 or set(affine.axes) - {1}:
            continue
        shape = facts.shape(value)
        channels = shape[1] if shape is not None and len(shape) >= 2 else None
        vectors = affine.along_axis(1, channels) if isinstance(channels, int) else None
        if vectors is None or np.any(vectors[0] == 0.0):
            continue
        places = np.asarray(-vectors[1] / vectors[0], np.float64)
        for source, start, count in _sources(value, facts):
            if count is not None:
                groups.setdefault(source, []).append(_Reader(node, places[start : start + count]))
    return groups


def _sources(value: ir.Value, facts: Facts, start: int = 0) -> Iterator[tuple[ir.Value, int, int | None]]:
    """Yield the values whose channels make up the value, where each begins and how many it has."""
    maker = value.producer()
    if maker is not None and maker.op_type in _SAME_CHANNELS and maker.inputs[0] is not None:
        yield from _sources(maker.inputs[0], facts, start)
        return
    if maker is not None and maker.op_type == "Concat" and maker.attributes.get_int("axis", 0) == 1:
        for operand in maker.inputs:
            shape = None if operand is None else facts.shape(operand)
            if operand is None or shape is None or len(shape) < 2 or not isinstance(shape[1], int):
                return
            yield from _sources(operand, facts, start)
            start += shape[1]
        return
    shape = facts.shape(value)
    count = shape[1] if shape is not None and len(shape) >= 2 else None
    yield value, start, count if isinstance(count, int) else None


def _bends_behind(node: ir.Node) -> bool:
    """Whether the affine can go nowhere behind its node, since all that reads it bends."""
    users = node.outputs[0].consumers()
    return bool(users) and all(user.op_type in _BENDS for user in users)


def _bends_as_it_is(value: ir.Value) -> bool:
    """Whether a node that bends reads the channels of the value as they are."""
    waiting, seen = [value], set[ir.Value]()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for user in current.consumers():
            if user.op_type in _BENDS:
                return True
            if user.op_type in _SAME_CHANNELS or user.op_type == "Concat":
                waiting.append(user.outputs[0])
    return False


def _classes(readers: list[_Reader]) -> list[int]:
    """Return how many readers bend at each place."""
    counts: list[int] = []
    firsts: list[FloatArray] = []
    for reader in readers:
        for index, first in enumerate(firsts):
            if first.shape == reader.places.shape and np.allclose(first, reader.places, rtol=_CLOSE, atol=_CLOSE):
                counts[index] += 1
                break
        else:
            firsts.append(reader.places)
            counts.append(1)
    return counts or [0]
