"""Checks whether there is room to verify a model, before the memory is full."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.walk import weight_bytes
from onnxnorm.process.memory import available_memory

__all__ = ["check_room"]

# Models whose weights exceed this have no shaken copies, and are in float64 one weight at a time.
_LARGE = 1 << 30
# Both models, the one that runs in onnxruntime, shaken copies of the original, and the original in float64: so many
# times the weights. Of a large model onnxruntime's copy alone, and what its optimizations make of it; the weights
# themselves are mapped from their files.
_TIMES, _TIMES_OF_LARGE = 7, 3
# Below this size nobody asks.
_LEAST = 10**8


def check_room(model: ir.Model, name: str) -> None:
    """Refuse a model that takes more memory to verify than there is.

    Raises:
        OnnxNormError: says how much that would be.
    """
    size = weight_bytes(model)
    available = available_memory()
    if size < _LEAST or available is None:
        return
    needed = size * (_TIMES if size <= _LARGE else _TIMES_OF_LARGE)
    if needed > available:
        raise OnnxNormError(
            f"{name}: its weights have {size / 1e9:.1f} GB; verifying it would take about {needed / 1e9:.0f} GB of "
            f"memory, and {available / 1e9:.1f} GB are free"
        )
