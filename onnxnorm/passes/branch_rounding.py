"""Judges whether the sum of several branches as one weight loses more in int8 than the branches by themselves.

With one scale for the tensor a weight is rounded in steps of max |W| / 127, so the noise of one result goes as
max |W|^2 times how many elements it takes. What a RepVGG block adds up, a 3x3, a 1x1 and the value itself, is a weight
with few large elements, whose step is too wide for all others. Data: `python -m bench quantize`.
"""

from __future__ import annotations

import numpy as np

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.linear import Plan

__all__ = ["rounds_worse_as_one"]

_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": -1}
# One decibel: what is as good either way is one node.
_WORSE = 1.26


def rounds_worse_as_one(plan: Plan, facts: Facts) -> bool:
    """Whether the weight of the plan rounds worse in int8 than the weights of the branches that it stands for.

    False where it is no sum, where its branches have several weights in a row, and where none has any.
    """
    if len(plan.merged) < 2:
        return False
    apart, weights = 0.0, 0
    for node in plan.gone:
        axis = _OUTPUT_AXIS.get(node.op_type) if is_standard(node) else None
        array = facts.dequantized(node.inputs[1]) if axis is not None and len(node.inputs) > 1 else None
        if axis is None or array is None or not array.size:
            continue
        outputs = array.shape[axis] * (node.attributes.get_int("group", 1) if node.op_type == "ConvTranspose" else 1)
        apart += _noise(float(np.abs(array).max()), array.size / outputs)
        weights += 1
    if not weights or weights > len(plan.merged):
        return False
    merged = plan.convolution
    largest = max((float(np.abs(rows).max(initial=0.0)) for _, rows in merged.blocks()), default=0.0)
    return _noise(largest, merged.size / merged.outputs) > _WORSE * apart


def _noise(largest: float, elements: float) -> float:
    """Return the noise of a result, in the units in which that of one rounded element is its largest number squared."""
    return largest**2 * elements
