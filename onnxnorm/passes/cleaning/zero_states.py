"""Leaves out the states that a recurrent layer begins with where they are zeros made for the batch at hand.

Before: Shape -> Gather -> Concat -> ConstantOfShape or Expand -> LSTM(initial_h, initial_c), as exporters write a layer
that was given no state. After: LSTM without these inputs, which stands for zeros.
Conditions: every element is +0 at every inference, through nodes that only lay elements out. A constant stays: it may
tell a runtime the batch.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.nodes import is_standard
from onnxnorm.passes.cleaning.site import Site

__all__ = ["RECURRENT", "leave_out_zero_states"]

RECURRENT = ("GRU", "LSTM", "RNN")
_STATES = (5, 6)
_LAY_OUT = frozenset({"Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"})
_LONGEST_CHAIN = 16


def leave_out_zero_states(node: ir.Node, site: Site) -> str | None:
    """Take away the inputs of the node that are zeros."""
    zeros = [
        index
        for index in _STATES
        if index < len(node.inputs)
        and (value := node.inputs[index]) is not None
        and not site.facts.is_constant(value)
        and _is_zero(value, site)
    ]
    for index in zeros:
        node.replace_input_with(index, None)
    return "begins with states of zeros, as it does without them" if zeros else None


def _is_zero(value: ir.Value, site: Site) -> bool:
    for _ in range(_LONGEST_CHAIN):
        if site.facts.is_constant(value):
            array = site.facts.constant(value)
            return array is not None and array.dtype.kind == "f" and not array.any() and not np.signbit(array).any()
        node = value.producer()
        if node is None or not is_standard(node):
            return False
        if node.op_type == "ConstantOfShape":
            fill = node.attributes.get("value")
            if fill is None:
                return True
            number = None if fill.is_ref() else fill.as_tensor().numpy()
            return number is not None and not number.any() and not np.signbit(number.astype(np.float64)).any()
        if node.op_type not in _LAY_OUT or node.inputs[0] is None:
            return False
        value = node.inputs[0]
    return False
