"""Nodes of a graph by kind, with those inside its subgraphs."""

from __future__ import annotations

from collections import Counter

import onnx

__all__ = ["Counts", "nodes_by_kind"]

Counts = Counter[str]


def nodes_by_kind(graph: onnx.GraphProto) -> Counts:
    counts: Counts = Counter()
    for node in graph.node:
        if node.op_type != "Constant":
            counts[node.op_type] += 1
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else list(attribute.graphs):
                counts += nodes_by_kind(body)
    return counts
