"""Names types of tensors: CastLike takes one from a value, definitions of operators name them."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["FLOATS", "HALVES", "type_string"]

HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
"""The floating-point types of two bytes."""

FLOATS = HALVES | {ir.DataType.FLOAT, ir.DataType.DOUBLE}
"""The floating-point types that models compute in."""


def type_string(dtype: ir.DataType) -> str:
    """Return the type of a tensor as ONNX's definitions of operators name it, such as "tensor(float)"."""
    return f"tensor({dtype.name.lower()})"
