"""The operators of plain networks, and how many inputs each takes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["JOINS", "LINEAR", "OTHERS", "PRODUCTS", "STEPS", "takes"]

LINEAR = frozenset({"AveragePool", "Conv", "ConvTranspose", "Gemm"})
"""Operators that are linear in their first input; the others are constant."""
JOINS = frozenset({"Add", "Concat", "Sub", "Sum"})
"""Operators that are linear in several values, none of them constant."""
STEPS = LINEAR | JOINS
PRODUCTS = frozenset({"Max", "Min", "Mul"})
"""Operators of several values, none of them constant, that are not linear."""
OTHERS = frozenset({
    "Celu", "Clip", "Elu", "Flatten", "Gelu", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish",
    "LeakyRelu", "LogSoftmax", "MaxPool", "Mish", "PRelu", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Resize",
    "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Squeeze", "Tanh", "ThresholdedRelu", "Unsqueeze",
})  # fmt: skip
"""Operators whose first input alone is no constant, and that are not linear or nothing that merges with others."""

_ANY = 2**31 - 1
# Of operators that take more than one input: from which opset on, how many at least, and none of these left out, and at
# most.
_INPUTS = {
    "Add": ((1, 2, 2),),
    "BatchNormalization": ((1, 5, 5),),
    "Clip": ((11, 1, 3),),
    "Concat": ((1, 1, _ANY),),
    "Conv": ((1, 2, 3),),
    "ConvTranspose": ((1, 2, 3),),
    "Gemm": ((1, 3, 3), (11, 2, 3)),
    "Max": ((1, 1, _ANY),),
    "Min": ((1, 1, _ANY),),
    "Mul": ((1, 2, 2),),
    "PRelu": ((1, 2, 2),),
    "ReduceMax": ((18, 1, 2),),
    "ReduceMean": ((18, 1, 2),),
    "Reshape": ((5, 2, 2),),
    "Resize": ((10, 2, 2), (11, 3, 4), (13, 1, 4)),
    "Squeeze": ((13, 1, 2),),
    "Sub": ((1, 2, 2),),
    "Sum": ((1, 1, _ANY),),
    "Unsqueeze": ((13, 2, 2),),
}


def takes(op_type: str, inputs: Sequence[str], opset: int) -> bool:
    """Whether an operator of that opset takes so many inputs, those that are empty being left out."""
    least, most = 1, 1
    for since, *counts in _INPUTS.get(op_type, ()):
        if since <= opset:
            least, most = counts
    return least <= len(inputs) <= most and "" not in inputs[:least]
