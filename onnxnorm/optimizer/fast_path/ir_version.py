"""The IR version of the result of a plain network: the least that its opset and its types need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxnorm.optimizer.fast_path.network import Network

__all__ = ["ir_version_of"]

# The first opset that needs an IR version. `onnxnorm.convert.ir_version` asks the package onnx, which takes longer to
# import than to fold a network.
_SINCE = ((4, 0), (5, 10), (6, 11), (7, 12), (8, 15), (9, 19), (10, 21), (11, 23), (12, 24), (13, 25))
# Types of elements from here on, of eight bits and fewer, came with later versions.
_NEW_TYPES = 17


def ir_version_of(network: Network) -> int:
    """Return the IR version that the result may have; never more than that of the network."""
    message = network.message
    present: int = message.ir_version
    graph = message.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    if any(value.type.WhichOneof("value") not in (None, "tensor_type") for value in values):
        return present
    types = [value.type.tensor_type.elem_type for value in values]
    types += [tensor.data_type for tensor in graph.initializer]
    if any(number >= _NEW_TYPES for number in types) or len(message.opset_import) != 1:
        return present
    return min(present, max(version for version, since in _SINCE if since <= network.opset))
