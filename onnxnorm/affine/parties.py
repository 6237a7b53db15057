"""The parties of a gauged value: the node that makes it, the nodes that read it, and whoever is outside of the model.

A subgraph is fed and read by the node that it belongs to.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm.graph.facts import Facts

__all__ = ["Outside", "Party", "maker_of", "owner_of_output", "takers_of", "wires"]


class Outside(enum.Enum):
    """The outside of a graph: whoever calls it, gives it its inputs and takes its outputs."""

    CALLER = "caller"


Party: TypeAlias = "ir.Node | Outside"


def maker_of(value: ir.Value, facts: Facts) -> Party:
    """Return the party that makes the value: its node, the owner of its graph, or the caller."""
    node = value.producer()
    if node is not None:
        return node
    owner = None if value.graph is None or not value.is_graph_input() else facts.owner(value.graph)
    return owner or Outside.CALLER


def owner_of_output(value: ir.Value, facts: Facts) -> Party | None:
    """Return the party that takes the value as an output of its graph: the caller, or the subgraph's node."""
    if not value.is_graph_output() or value.graph is None:
        return None
    return facts.owner(value.graph) or Outside.CALLER


def takers_of(value: ir.Value, facts: Facts) -> tuple[Party, ...]:
    """Return the parties that read the value: its consumers, and who takes it as an output of its graph."""
    owner = owner_of_output(value, facts)
    consumers: tuple[Party, ...] = tuple(value.consumers())
    return consumers if owner is None else (*consumers, owner)


def wires(node: ir.Node) -> Iterator[ir.Value]:
    """Yield all values that the node answers for: inputs, outputs, and those of its subgraphs."""
    for value in node.inputs:
        if value is not None:
            yield value
    yield from node.outputs
    attributes = node.attributes
    for attribute in attributes.values() if attributes else ():
        if attribute.type is ir.AttributeType.GRAPH and not attribute.is_ref():
            yield from attribute.as_graph().inputs
            yield from attribute.as_graph().outputs
