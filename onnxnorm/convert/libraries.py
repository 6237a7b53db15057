"""The version converters of onnxscript and onnx, tried in turn."""

from __future__ import annotations

import logging

import onnx_ir as ir

from onnxnorm.convert.repairs import put_right, remedies_for

__all__ = ["run_converters"]


def run_converters(model: ir.Model, opset: int) -> bool:
    """What the libraries make of it, in place; tells whether the model is at `opset` then. If not it is as it was.

    Raises:
        OnnxNormError: a node means something else there, or can mean nothing; the message names it.
    """
    remedies = remedies_for(model, opset)
    # Imported when it is needed: it takes longer than optimizing most models.
    from onnxscript.version_converter import ConvertVersionPass

    logger = logging.getLogger("onnxscript.version_converter")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        ConvertVersionPass(opset, fallback=True)(model)
    finally:
        logger.setLevel(level)
    put_right(model, remedies)
    return model.opset_imports.get("", 0) == opset
