"""One model as its caller gave it, opened once for all that is done with it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnorm.model.light_protobuf import message_class
from onnxnorm.model.source import model_of, name_of

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from onnxnorm.model.source import ModelLike

__all__ = ["ModelSource"]

# What is parsed whole; of larger files the weights stay where they are.
_LARGEST = 80_000_000
_EXTERNAL = 1


class ModelSource:
    """A model that several stages read: the short way for plain networks, the passes, the verification.

    A small file is parsed once and its message kept. A large one is opened by each stage that needs it, since what is
    mapped costs next to nothing and what is parsed would be held in memory.
    """

    def __init__(self, model: ModelLike) -> None:
        """
        Args:
            model: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one; never changed.
        """
        self.model = model_of(model)

    @cached_property
    def name(self) -> str:
        """The name that messages give the model: its path, or the name of its graph."""
        return name_of(self.model)

    @cached_property
    def message(self) -> onnx.ModelProto | None:
        """The protobuf message, where it was given or stands in one small file; not to be changed.

        None for all else, also for files that are missing or no models: `graph` says what is wrong with them.
        """
        if not isinstance(self.model, (str, os.PathLike)):
            return self.model if isinstance(self.model, message_class()) else None
        path = Path(self.model)
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                return None
            message: onnx.ModelProto = message_class().FromString(path.read_bytes())
        except Exception:
            # Whatever protobuf says, or the system.
            return None
        return None if _refers_to_files(message) else message

    def graph(self) -> ir.Model:
        """Return the model as a graph of its own, which may be changed, each time it is called.

        Raises:
            OnnxNormError: the file is missing, is no ONNX model, names data that are missing or not its own, or its
                graph hangs together nowhere.
        """
        from onnxnorm.io.load_and_save import load

        message = self.message if isinstance(self.model, (str, os.PathLike)) else None
        return load(self.model) if message is None else load(message, self.name)


def _refers_to_files(message: onnx.ModelProto) -> bool:
    if any(tensor.data_location == _EXTERNAL for tensor in message.graph.initializer):
        return True
    graphs = [message.graph, *message.functions]
    while graphs:
        for node in graphs.pop().node:
            for attribute in node.attribute:
                tensors = [attribute.t, *attribute.tensors]
                if any(tensor.data_location == _EXTERNAL for tensor in tensors):
                    return True
                graphs += [attribute.g, *attribute.graphs]
    return False
