"""The costs of a model in figures: operators, multiply-adds and bytes of weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.inline import inline
from onnxnorm.graph.multiply_adds import COUNTED, UNCOUNTED, multiply_adds
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.model.walk import weight_bytes
from onnxnorm.ops.operators import DOMAIN
from onnxnorm.report.texts import operator

__all__ = ["costs_of", "opened", "operators"]

_DOMAINS = ("", "ai.onnx", "com.microsoft")


def opened(model: ir.Model) -> ir.Model:
    """Return the model with functions in place of their calls, as it runs; the bodies of the kernels' operators stay.

    The model itself is returned where it calls none, and is never changed.
    """
    if all(function.domain == DOMAIN for function in model.functions.values()):
        return model
    copy = model.clone()
    inline(copy, lambda function: function.domain != DOMAIN)
    infer_shapes(copy)
    return copy


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
