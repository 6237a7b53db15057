"""Makes names that nothing else has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["fresh_name", "name_nodes"]


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
