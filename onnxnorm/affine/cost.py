"""What an affine costs at run time, so that exact placements can be compared.

The unit is a twentieth of what one BatchNormalization takes for one element in onnxruntime (bench/affine_cost.py
measures 20 for an Add or a Mul, about 40 for both in a row). A lone Add or Mul counts a little less: a runtime may fuse
it with what stands before it. Whole numbers, so that a move to and fro saves exactly nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BATCH_NORM", "LONE", "LONE_ARITHMETIC", "constant_cost", "node_cost"]

BATCH_NORM = 20
LONE = 19
LONE_ARITHMETIC: frozenset[str] = frozenset({"Mul", "Add", "Sub", "Div", "Neg", "Sum"})
_WEIGHTS: Mapping[str, int] = {"BatchNormalization": BATCH_NORM, **dict.fromkeys(LONE_ARITHMETIC, LONE)}

# To start a node at all takes a runtime as long as it takes BatchNormalization for about this many elements.
_START = 1024 * BATCH_NORM
# A constant of the size of a whole tensor has to be read as well, and makes the file larger.
_SMALL_CONSTANT = 2**12
_READ = 5


def node_cost(op_type: str, elements: int) -> int:
    """One node of the kind, on a tensor of that many elements."""
    return _WEIGHTS[op_type] * elements + _START


def constant_cost(size: int) -> int:
    """What a constant operand of that many elements adds to its node."""
    return _READ * size if size > _SMALL_CONSTANT else 0
