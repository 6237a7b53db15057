"""Makes names that nothing else has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["fresh_name", "name_apart", "name_nodes"]


def fresh_name(wish: str, taken: set[str]) -> str:
    """Return a name that is not taken, and from now on is: the wish, or it with a number behind."""
    name, number = wish, 1
    while name in taken:
        name, number = f"{wish}_{number}", number + 1
    taken.add(name)
    return name


def name_nodes(graphs: Iterable[Iterable[Any]]) -> None:
    """Name the nameless nodes, so that every report can point at the one it means.

    Args:
        graphs: of nodes of a graph, or of messages, each with a `name` and an `op_type`.
    """
    graphs = list(graphs)
    taken = {node.name for graph in graphs for node in graph}
    for graph in graphs:
        for index, node in enumerate(graph):
            if not node.name:
                name = f"{node.op_type}_{index}"
                while name in taken:
                    name += "_"
                node.name = name
                taken.add(name)


def name_apart(nodes: Iterable[Any]) -> bool:
    """Give each node a name that no other of them has; the first of several keeps it. Tell whether any changed.

    Runtimes refuse a graph with two nodes of one name.

    Args:
        nodes: of one graph, or of several whose names shall differ; each with a `name` and an `op_type`.
    """
    nodes = list(nodes)
    taken = {node.name for node in nodes if node.name}
    seen: set[str] = set()
    modified = False
    for node in nodes:
        if not node.name or node.name in seen:
            node.name = fresh_name(node.name or node.op_type, taken)
            modified = True
        seen.add(node.name)
    return modified
