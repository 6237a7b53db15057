"""The fates of nodes as an overlay for Model Explorer: its custom node data, keyed by the nodes' names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from onnxnorm.optimizer.records import Fate, NormRecord
from onnxnorm.report.places import holder

__all__ = ["node_data_of"]

# Okabe and Ito's colours, which the colour-blind tell apart.
_COLOURS = {
    Fate.ABSORBED: "#009e73",
    Fate.MERGED: "#0072b2",
    Fate.PARTLY: "#f0e442",
    Fate.RECOGNIZED: "#cc79a7",
    Fate.ACCELERATED: "#e69f00",
    Fate.WRITTEN_OUT: "#56b4e9",
    Fate.NEW: "#999999",
    Fate.LEFT: "#d55e00",
}


def node_data_of(model: ir.Model, records: Sequence[NormRecord]) -> dict[str, Any]:
    """Return the custom node data of a model: for each of its nodes that is a normalization the fate and a colour.

    A node whose subgraphs hold normalizations has their fates, and the colour of the most frequent. Names are as the
    model has them, whole: a viewer compares them with those of the file.
    """
    names = {node.name for node in model.graph if node.name}
    fates: dict[str, Counter[Fate]] = {}
    for record in records:
        name = holder(record.path, names) if record.path else record.node
        if name in names:
            fates.setdefault(name, Counter())[record.fate] += 1
    results = {name: _entry(counts) for name, counts in fates.items()}
    return {model.graph.name or "main": {"results": results}}


def _entry(counts: Counter[Fate]) -> dict[str, str]:
    ((first, most), *others) = counts.most_common()
    alone = not others and most == 1
    value = first.value if alone else ", ".join(f"{count} {fate.value}" for fate, count in counts.most_common())
    return {"value": value, "bgColor": _COLOURS[first], "textColor": "#000"}
