"""Checks whether there is room to verify a model, before the memory is full."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.walk import bytes_of, weight_bytes
from onnxnorm.process.memory import available_memory
from onnxnorm.verification import cuts

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

    What is taken in pieces needs room for the largest of them, which hold one weight at least.

    Raises:
        OnnxNormError: says how much that would be.
    """
    size = weight_bytes(model)
    if size > cuts.LIMITS.weight_bytes:
        weights = (value.const_value for value in model.graph.initializers.values())
        largest = max((bytes_of(tensor) for tensor in weights if tensor is not None), default=0)
        lack = _lack(size, _needed(max(largest, cuts.LIMITS.pieces.weight_bytes)))
    else:
        lack = lack_of_room(size)
    if lack is not None:
        raise OnnxNormError(f"{name}: {lack}")


def lack_of_room(size: int) -> str | None:
    """Say that a model with weights of this size takes more memory to verify as a whole than there is, or None."""
    return None if size < _LEAST else _lack(size, _needed(size))


def _needed(size: int) -> int:
    """Return what models with weights of this size take."""
    return size * (_TIMES if size <= _LARGE else _TIMES_OF_LARGE)


def _lack(size: int, needed: int) -> str | None:
    available = available_memory()
    if available is None or needed <= available:
        return None
    return (
        f"its weights have {size / 1e9:.1f} GB; verifying it would take about {needed / 1e9:.0f} GB of memory, and "
        f"{available / 1e9:.1f} GB are free"
    )
