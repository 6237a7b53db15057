"""The forms in which a caller may hand over a model, and what messages call it."""

from __future__ import annotations

import os
from typing import TypeAlias

import onnx
import onnx_ir as ir

__all__ = ["ModelLike", "name_of"]


ModelLike: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | ir.Model"


def name_of(model: ModelLike) -> str:
    """Return the name that messages give the model: its path, or the name of its graph."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    return model.graph.name or "the model"
