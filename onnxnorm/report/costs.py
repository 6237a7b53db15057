"""The costs of a model in figures: operators, multiply-adds, bytes of weights, and the channels of its weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.multiply_adds import COUNTED, UNCOUNTED, multiply_adds
from onnxnorm.model.walk import weight_bytes
from onnxnorm.report.picture import Picture
from onnxnorm.report.texts import number, operator, shown
from onnxnorm.report.weights import weights_of

__all__ = ["costs_of", "operators", "ranges"]

_PRODUCTS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])
_DOMAINS = ("", "ai.onnx", "com.microsoft")
# So many operators have their ranges drawn, with so many bars each.
_NODES_WITH_RANGES = 120
_BARS = 64


def operators(before: ir.Model, after: ir.Model) -> list[tuple[str, int, int]]:
    """Count each operator in both models, subgraphs included."""
    counts = [
        Counter(operator(node.op_type, node.domain) for node in model.graph.all_nodes()) for model in (before, after)
    ]
    return [(name, counts[0][name], counts[1][name]) for name in sorted({*counts[0], *counts[1]})]


def costs_of(model: ir.Model, facts: Facts) -> dict[str, Any]:
    """Return the number of nodes, the multiply-adds of one run and the bytes of weights."""
    adds = [_multiply_adds(node, facts) for node in model.graph if node.op_type in COUNTED | UNCOUNTED]
    known = [each for each in adds if each is not None]
    return {
        "nodes": sum(1 for _ in model.graph.all_nodes()),
        "multiply_adds": sum(known),
        "without_shape": len(adds) - len(known),
        "bytes": weight_bytes(model),
    }


def _multiply_adds(node: ir.Node, facts: Facts) -> int | None:
    """Count the multiply-adds of a node; open dimensions count as 1. None where shapes are not known."""
    if node.domain not in _DOMAINS or not node.inputs or not node.outputs:
        return None
    x, *others = [() if value is None else facts.shape(value) for value in node.inputs]
    y = facts.shape(node.outputs[0])
    if x is None or y is None:
        return None
    return multiply_adds(node.op_type, [_closed(shape or ()) for shape in (x, *others)], [_closed(y)])


def _closed(shape: tuple[int | str | None, ...]) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else 1 for dim in shape)


def ranges(picture: Picture, facts: Facts, facts_after: Facts) -> list[dict[str, Any]]:
    """Return the largest weight of each channel, before and after, for the operators whose weights changed most."""
    found = []
    for index in range(len(picture)):
        old, new = picture.before[index], picture.after[index]
        if new is None or new.op_type not in _PRODUCTS:
            continue
        after = weights_of(new, facts_after)
        before = None if old is None else weights_of(old, facts)
        if after is None or not after.by_channel.size:
            continue
        top_after = np.abs(after.by_channel).max(axis=1)
        top_before = None if before is None or not before.by_channel.size else np.abs(before.by_channel).max(axis=1)
        if top_before is not None and top_before.shape == top_after.shape and np.array_equal(top_before, top_after):
            continue
        entry = {
            "node": index,
            "name": shown(new.name),
            "op": operator(new.op_type, new.domain),
            "after": _bars(top_after),
            "before": None if top_before is None else _bars(top_before),
            "spread": [None if top_before is None else _spread(top_before), _spread(top_after)],
        }
        found.append((_spread_value(top_after), index, entry))
    found.sort(key=lambda each: (-each[0], each[1]))
    return [entry for _, _, entry in found[:_NODES_WITH_RANGES]]


def _bars(tops: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | str]:
    parts = np.array_split(tops, min(_BARS, len(tops)))
    return [
        float(f"{float(part.max()):.3g}") if np.isfinite(part).all() else number(float(part.max())) for part in parts
    ]


def _spread_value(tops: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    positive = tops[np.isfinite(tops) & (tops > 0)]
    return float(positive.max() / positive.min()) if positive.size else 1.0


def _spread(tops: np.ndarray[Any, np.dtype[np.float64]]) -> float | str:
    """Return how many times the largest channel's range is that of the smallest."""
    return number(_spread_value(tops))
