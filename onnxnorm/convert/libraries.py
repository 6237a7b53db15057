"""Runs the version converter of onnx, for models from before opset 7."""

from __future__ import annotations

import logging

import onnx_ir as ir

__all__ = ["run_converter"]


def run_converter(model: ir.Model, opset: int) -> bool:
    """Convert in place and tell whether the model is at `opset` then; if not, it is as it was."""
    # Imported when it is needed: it takes longer than optimizing most models.
    from onnxscript.version_converter import ConvertVersionPass

    logger = logging.getLogger("onnxscript.version_converter")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        ConvertVersionPass(opset, fallback=True)(model)
    finally:
        logger.setLevel(level)
    return model.graph.opset_imports.get("", 0) == opset
