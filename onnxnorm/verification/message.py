"""Gets the protobuf message of a model that is to be proved."""

from __future__ import annotations

import os

import onnx

from onnxnorm.io import load_and_save
from onnxnorm.io.model_source import ModelSource
from onnxnorm.verification.memory_needed import check_room

__all__ = ["message_of"]


def message_of(source: ModelSource, is_checked: bool = False) -> onnx.ModelProto:
    """Return the model as it is: for a file the very bytes, since what is proved has to hold of the file.

    Args:
        source: the model.
        is_checked: it has been read as a graph already, so that it is known to be well-formed.

    Raises:
        OnnxNormError: it cannot be read, or there is no room to verify it.
    """
    if source.message is not None and (is_checked or isinstance(source.model, onnx.ModelProto)):
        return source.message
    graph = source.graph()
    check_room(graph, source.name)
    if source.message is not None:
        return source.message
    return onnx.load(source.model) if isinstance(source.model, (str, os.PathLike)) else load_and_save.to_proto(graph)
