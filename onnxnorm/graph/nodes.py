"""Questions about a node and its values: whether its operator is of the standard, who reads, what subgraphs capture."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.walk import subgraphs_of

__all__ = ["captured", "is_standard", "only_reader", "producer_of", "read_once"]


def is_standard(node: ir.Node | None) -> bool:
    """Whether the node is of ONNX's own domain."""
    return node is not None and node.domain in STANDARD_DOMAINS


def producer_of(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes the value; None where no node does, or there is no value."""
    return None if value is None else value.producer()


def read_once(value: ir.Value) -> bool:
    """Whether one input of one node is all that reads the value."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def only_reader(value: ir.Value) -> ir.Node | None:
    """Return the node one input of which is all that reads the value; None where there is more, or nothing."""
    return value.consumers()[0] if read_once(value) else None


def captured(node: ir.Node) -> Iterable[ir.Value]:
    """Yield the values from outside that the graphs of a node read."""
    for graph in subgraphs_of(node):
        for inner in graph:
            yield from (value for value in inner.inputs if value is not None)
        yield from graph.outputs
