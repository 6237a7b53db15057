"""Names types of tensors: CastLike takes one from a value, definitions of operators name them."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["type_string"]


def type_string(dtype: ir.DataType) -> str:
    """Return the type of a tensor as ONNX's definitions of operators name it, such as "tensor(float)"."""
    return f"tensor({dtype.name.lower()})"
