"""Gives ONNX's protobuf messages without the rest of the package onnx, which takes several times as long to import."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["message_class"]

_MODULE = "onnx.onnx_ml_pb2"


def message_class() -> type[ModelProto]:
    """Return `onnx.ModelProto`, the same as whoever imports onnx later finds."""
    if "onnx" not in sys.modules and _MODULE not in sys.modules:
        package = importlib.util.find_spec("onnx")
        path = None if package is None or package.origin is None else Path(package.origin).parent / "onnx_ml_pb2.py"
        spec = None if path is None else importlib.util.spec_from_file_location(_MODULE, path)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            sys.modules[_MODULE] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[_MODULE]
                raise
    if _MODULE in sys.modules:
        found: type[ModelProto] = sys.modules[_MODULE].ModelProto
        return found
    from onnx import ModelProto

    return ModelProto
