"""The cost of an affine at run time, so that exact placements can be compared.

The unit is a twentieth of what one BatchNormalization takes for one element in onnxruntime. bench/affine_cost.py
measures 20 for an Add or a Mul, about 40 for both in a row. A lone Add counts a little less: runtimes fuse it, as a
bias, with the product or convolution before it. Costs are whole numbers, so that a move to and fro saves exactly
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ARITHMETIC", "FUSED_BEHIND_CONVOLUTION", "activation_cost", "constant_cost", "node_cost"]

_BATCH_NORM = 20
_WEIGHTS: Mapping[str, int] = {
    "BatchNormalization": _BATCH_NORM,
    **dict.fromkeys(("Mul", "Div", "Neg"), _BATCH_NORM),
    **dict.fromkeys(("Add", "Sub", "Sum"), _BATCH_NORM - 1),
}
ARITHMETIC: frozenset[str] = frozenset(_WEIGHTS) - {"BatchNormalization"}

# What onnxruntime runs inside the convolution before it (onnxruntime/core/optimizer/conv_activation_fusion.cc).
FUSED_BEHIND_CONVOLUTION = frozenset({"Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})

# To start a node at all takes a runtime as long as it takes BatchNormalization for about this many elements.
_START = 1024 * _BATCH_NORM
# A constant of the size of a whole tensor has to be read as well, and makes the file larger.
_SMALL_CONSTANT = 2**12
_READ = 5


def node_cost(op_type: str, elements: int) -> int:
    """Cost of one node of the operator `op_type` on a tensor of `elements` elements."""
    return _WEIGHTS[op_type] * elements + _START


def activation_cost(elements: int) -> int:
    """Cost of an activation that runs by itself."""
    return _BATCH_NORM * elements + _START


def constant_cost(size: int) -> int:
    """Cost that a constant operand of `size` elements adds to its node."""
    return _READ * size if size > _SMALL_CONSTANT else 0
