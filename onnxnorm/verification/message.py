"""Gets the protobuf message of a model that is to be proved, with its large weights held beside it."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError, cause_of
from onnxnorm.io.file_tensors import find_data_file
from onnxnorm.io.model_source import ModelSource
from onnxnorm.io.read import read_message
from onnxnorm.model.held import HeldWeights
from onnxnorm.validate.message import check_message
from onnxnorm.verification.memory_needed import check_room

__all__ = ["message_of"]


def message_of(source: ModelSource, held: HeldWeights, is_checked: bool = False) -> onnx.ModelProto:
    """Return the model as it is: for a file what it says itself, since what is proved has to hold of the file.

    Args:
        source: the model.
        held: takes its large weights.
        is_checked: it has been read as a graph already, so that it is known to be well-formed.

    Raises:
        OnnxNormError: it cannot be read, or there is no room to verify it.
    """
    message = source.message
    if message is not None and (is_checked or isinstance(source.model, onnx.ModelProto)):
        return held.take(message)
    if message is not None and _is_valid(message, source.name):
        # A message is small, so that there is room, and a graph would be made of it for the checks alone.
        return held.take(message)
    graph = source.graph()
    check_room(graph, source.name)
    if message is not None:
        return held.take(message)
    if not isinstance(source.model, (str, os.PathLike)):
        try:
            return held.take_graph(graph)
        except (OSError, ValueError, ir.serde.SerdeError) as error:
            raise OnnxNormError(f"{source.name}: cannot be written ({cause_of(error)})") from error
    path = Path(source.model)
    message, mark = read_message(path)
    try:
        return held.take(message, lambda location: path if location == mark else find_data_file(path, location))
    except (OSError, ValueError) as error:
        raise OnnxNormError(f"{source.name}: cannot be read ({cause_of(error)})") from error


def _is_valid(message: onnx.ModelProto, name: str) -> bool:
    """Whether ONNX finds nothing wrong with a model; what it refuses may still be one that runtimes take.

    Raises:
        OnnxNormError: it is none.
    """
    check_message(message, name)
    try:
        onnx.checker.check_model(message)
    except Exception:
        # Whatever the checker says, or protobuf.
        return False
    return True
