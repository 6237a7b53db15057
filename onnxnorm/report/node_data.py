"""The fates of nodes as an overlay for Model Explorer: its custom node data, keyed by the nodes' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

__all__ = ["node_data_of"]

# Okabe and Ito's colours, which the colour-blind tell apart, in the order of the fates.
_COLOURS = ("#009e73", "#0072b2", "#f0e442", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#d55e00")


def node_data_of(model: ir.Model, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the custom node data of a model: for each normalization the number of its fate and a colour."""
    results = {}
    for norm in data["norms"]:
        if norm["node"] is not None:
            name = data["nodes"][norm["node"]][0]
            results[name] = {
                "value": data["fates"][norm["fate"]],
                "bgColor": _COLOURS[norm["fate"]],
                "textColor": "#000",
            }
    return {model.graph.name or "main": {"results": results}}
