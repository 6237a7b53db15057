"""Finds the values that onnxruntime's kernels compute with an absolute error, however small the value is.

Such a kernel evaluates a rational function near a constant and takes the constant away, or adds it, at the end: a
probability of 1e-5 behind a Sigmoid carries the rounding of a number near one half. Two inputs that are one rounding
apart then give outputs that differ by more than a rounding of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.protobuf import graphs_of_node

__all__ = ["ABSOLUTE_ERRORS", "kernel_errors"]

ABSOLUTE_ERRORS: Mapping[str, float] = {
    "Celu": 2.0**-23, "Elu": 2.0**-23, "Gelu": 2.0**-23, "Selu": 2.0**-22, "Sigmoid": 2.0**-22,
}  # fmt: skip
"""Bounds of what the float32 kernels of onnxruntime 1.32 are off by where their output is at most 1 in size.

The tests measure them over inputs from -30 to 30.
"""

_KEEPS = frozenset({
    "AveragePool", "Cast", "Clip", "Concat", "Expand", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool",
    "Identity", "If", "Max", "MaxPool", "Min", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators whose output is off by no more than their inputs are."""


def kernel_errors(model: onnx.ModelProto) -> dict[str, float]:
    """Return, by the name of each value of the main graph that has one, the bound of its absolute error in float32.

    Operators that only move, select or average values hand the bound on.
    """
    return _bounds(model.graph, {})


def _bounds(graph: onnx.GraphProto, outer: Mapping[str, float]) -> dict[str, float]:
    """Return the bounds of the values of a graph and of those around it."""
    known = dict(outer)
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS:
            continue
        if node.op_type in ABSOLUTE_ERRORS:
            bound = ABSOLUTE_ERRORS[node.op_type]
        elif node.op_type in _KEEPS:
            bound = max((known.get(name, 0.0) for name in node.input), default=0.0)
            for body in graphs_of_node(node):
                inside = _bounds(body, known)
                bound = max([bound, *(inside.get(output.name, 0.0) for output in body.output)])
        else:
            continue
        if bound:
            known.update(dict.fromkeys(node.output, bound))
    return known
