"""Tells which operator set defines a node."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.model.walk import graphs_of, subgraphs_of

__all__ = ["Opsets"]


class Opsets:
    """The operator sets that the graphs of one model import.

    Only the main graph and the bodies of functions import operator sets; a subgraph has those around it.
    """

    def __init__(self, model: ir.Model) -> None:
        self._of_model: Mapping[str, int] = dict(model.graph.opset_imports)
        self._owners = _owners(model)

    def of_node(self, node: ir.Node) -> int:
        """Return the version of the operator set that defines `node`."""
        return node.version or (self._of_model if node.graph is None else self._imports(node.graph)).get(node.domain, 1)

    def of_graph(self, graph: ir.Graph) -> int:
        """Return the version of the standard operator set that nodes of `graph` are defined by."""
        return self._imports(graph).get("", 1)

    def owner(self, graph: ir.Graph) -> ir.Node | None:
        """Return the node (If, Loop, Scan) whose subgraph this is.

        None for the main graph and the bodies of functions.
        """
        return self._owners.get(graph)

    def _imports(self, graph: ir.Graph) -> Mapping[str, int]:
        while not graph.opset_imports and (owner := self._owners.get(graph)) is not None and owner.graph is not None:
            graph = owner.graph
        return graph.opset_imports or self._of_model


def _owners(model: ir.Model) -> dict[ir.Graph, ir.Node]:
    if len(list(graphs_of(model))) == 1 + len(model.functions):
        return {}
    return {body: node for graph in graphs_of(model) for node in graph for body in subgraphs_of(node)}
