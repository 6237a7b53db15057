"""Prepares the nodes of a graph for many runs: what they read, which are alike, and when their values are let go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import onnx
from onnx.reference.op_run import OpRun

__all__ = ["Step", "constant_places", "kind_of", "last_uses", "reads"]

_PLAIN = frozenset({
    onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT, onnx.AttributeProto.STRING, onnx.AttributeProto.FLOATS,
    onnx.AttributeProto.INTS, onnx.AttributeProto.STRINGS,
})  # fmt: skip
"""The types of attributes that are plain values."""


class Step(NamedTuple):
    """A node with its operator, and what is asked of it in every run: `read` are the names inside subgraphs too."""

    node: OpRun
    proto: onnx.NodeProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    read: tuple[str, ...]
    needs_context: bool


def kind_of(node: onnx.NodeProto) -> tuple[object, ...] | None:
    """Return all that the operator of a node depends on; None where it has a graph or a tensor of its own."""
    if any(attribute.type not in _PLAIN for attribute in node.attribute):
        return None
    settings = sorted(attribute.SerializeToString() for attribute in node.attribute)
    given = tuple(map(bool, node.input)), tuple(map(bool, node.output))
    return node.domain, node.op_type, node.overload, *given, *settings


def constant_places(steps: Iterable[Step], initializers: Iterable[str]) -> frozenset[int]:
    """Return the places of the nodes that depend on constants alone."""
    known, found = {"", *initializers}, set()
    for position, step in enumerate(steps):
        if known.issuperset(step.read):
            found.add(position)
            known.update(step.outputs)
    return frozenset(found)


def last_uses(steps: Sequence[Step], outputs: Iterable[str]) -> list[tuple[str, ...]]:
    """Return, for each node, the values that nothing reads after it."""
    last: dict[str, int] = {}
    for position, step in enumerate(steps):
        for name in (*step.outputs, *step.read):
            last[name] = position
    for name in ("", *outputs):
        last.pop(name, None)
    freed: list[list[str]] = [[] for _ in steps]
    for name, position in last.items():
        freed[position].append(name)
    return [tuple(names) for names in freed]


def reads(node: onnx.NodeProto) -> Iterable[str]:
    """Yield the names that a node reads, those inside its subgraphs too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
            for inner in graph.node:
                yield from reads(inner)
            yield from (output.name for output in graph.output)
