"""Recognizes affines that are stuck just like others before them.

A transformer has the same few nodes in every layer, and the search finds the same obstacle in each. What it looked at
is described here without names and without weights, and an affine around which everything looks so is given up without
a search. That costs no correctness: at the worst an affine stays that could have gone, where weights alone made the
difference.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.rules.affine_nodes import AffineNode
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import producer_of

__all__ = ["RepeatedFailures"]

_MOST_NODES = 64
_MOST_KNOWN = 16
# Signs of larger constants are not looked at.
_LARGEST = 2**12

_Step: TypeAlias = "tuple[int, int, int]"
"""A step from a node seen before: its number, then an input and -1, or an output and which of its consumers."""


@dataclass(frozen=True)
class _Known:
    """The way from the affine through the nodes that its search asked, and what each looks like."""

    steps: tuple[_Step, ...]
    looks: tuple[Hashable, ...]


class RepeatedFailures:
    """The affines that are known to be stuck, so that their twins are given up without a search."""

    def __init__(self) -> None:
        self._known: dict[Hashable, list[_Known]] = {}

    def note(self, node: ir.Node, found: AffineNode, touched: Iterable[ir.Node], facts: Facts) -> None:
        """Note that the affine of the node is stuck, and not for its numbers; the search asked the nodes `touched`."""
        labels: dict[ir.Value, int] = {}
        key = _look(node, labels, facts)
        others = dict.fromkeys(touched)
        others.pop(node, None)
        if key is None or len(others) > _MOST_NODES:
            return
        seen, steps, looks = [node], [], []
        for number, current in enumerate(seen):
            for step, other in _ways(number, current):
                if other not in others:
                    continue
                del others[other]
                look = _look(other, labels, facts)
                if look is None or other.graph is not node.graph:
                    return
                seen.append(other)
                steps.append(step)
                looks.append(look)
        known = self._known.setdefault((_nature(found), key), [])
        if not others and len(known) < _MOST_KNOWN:
            known.append(_Known(tuple(steps), tuple(looks)))

    def touched(self, node: ir.Node, found: AffineNode, facts: Facts) -> frozenset[ir.Node] | None:
        """Return the nodes that a search would ask before it gave up; None where that is not known."""
        own: dict[ir.Value, int] = {}
        key = _look(node, own, facts)
        for known in self._known.get((_nature(found), key), ()):
            labels, seen = dict(own), [node]
            for step, look in zip(known.steps, known.looks, strict=True):
                other = _follow(seen, step)
                if other is None or other.graph is not node.graph or _look(other, labels, facts) != look:
                    break
                seen.append(other)
            else:
                return frozenset(seen)
        return None


def _ways(number: int, node: ir.Node) -> Iterable[tuple[_Step, ir.Node]]:
    """Yield all neighbours of the node, each with the step that reaches it from the node numbered `number`."""
    for index, value in enumerate(node.inputs):
        if value is not None and (maker := value.producer()) is not None:
            yield (number, index, -1), maker
    for index, value in enumerate(node.outputs):
        for place, user in enumerate(value.consumers()):
            yield (number, index, place), user


def _follow(seen: list[ir.Node], step: _Step) -> ir.Node | None:
    number, index, place = step
    node = seen[number]
    if place < 0:
        value = node.inputs[index]
        return producer_of(value)
    users = node.outputs[index].consumers()
    return users[place] if place < len(users) else None


def _look(node: ir.Node, labels: dict[ir.Value, int], facts: Facts) -> Hashable | None:
    """Describe a node by its operator, attributes and wires; None where it is like no other.

    `labels` has the numbers of the values of the nodes described before it, and takes up its own.
    """
    attributes = []
    for name, attribute in node.attributes.items():
        value = attribute.value
        if attribute.is_ref() or not isinstance(value, (int, float, str, tuple, list)):
            return None
        attributes.append((name, tuple(value) if isinstance(value, list) else value))
    wires: list[Hashable] = []
    for each in (*node.inputs, *node.outputs):
        if each is None:
            wires.append(None)
        elif each in labels:
            wires.append(labels[each])
        else:
            labels[each] = len(labels)
            wires.append(_look_of(each, facts))
    return node.op_type, node.domain, len(node.inputs), tuple(attributes), tuple(wires)


def _look_of(value: ir.Value, facts: Facts) -> Hashable:
    border = (value.is_graph_input(), value.is_graph_output())
    sign: Hashable = None
    if facts.is_constant(value):
        array = value.const_value if value.is_initializer() else None
        sign = _sign(array.numpy()) if array is not None and array.size <= _LARGEST else "constant"
    return facts.shape(value), value.dtype, len(value.uses()), border, sign


def _nature(found: AffineNode) -> Hashable:
    affine = found.affine
    return found.data, affine.scale.shape, affine.scales, affine.shifts, _sign(affine.scale)


def _sign(array: np.ndarray) -> Hashable:
    if array.dtype.kind not in "fiu" or not array.size:
        return array.dtype.kind
    return bool((array > 0).all()), bool((array < 0).all()), array.size == 1
