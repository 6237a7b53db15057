"""Checks whether there is room to verify a model, before the memory is full."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.walk import weight_bytes
from onnxnorm.process.memory import available_memory

__all__ = ["check_room"]

# More than one protobuf message takes.
_LARGEST = 2 * 10**9
# Both models as messages and in onnxruntime, shaken copies of the original, and the original in float64: so many times
# the weights, measured with models of 0.4 GB (8.4 for products, 9.4 for convolutions). Below this size nobody asks.
_TIMES = 10
_LEAST = 10**8


def check_room(model: ir.Model, name: str) -> None:
    """Refuse a model that takes more memory to verify than there is, or than the parts of `verify` can work with.

    Raises:
        OnnxNormError: says how much that would be.
    """
    size = weight_bytes(model)
    if size < _LEAST:
        return
    needed = f"verifying it would take about {_TIMES * size / 1e9:.0f} GB of memory"
    if size > _LARGEST:
        raise OnnxNormError(
            f"{name}: its weights have {size / 1e9:.1f} GB; {needed}, and is possible below {_LARGEST / 1e9:.0f} GB of "
            "weights only, which is what one protobuf message holds"
        )
    available = available_memory()
    if available is not None and _TIMES * size > available:
        raise OnnxNormError(
            f"{name}: its weights have {size / 1e9:.1f} GB; {needed}, and {available / 1e9:.1f} GB are free"
        )
