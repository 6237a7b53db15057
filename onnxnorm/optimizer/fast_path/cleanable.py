"""Detects what `onnxnorm.passes.simplify` could find in a plain network, which is then left to the passes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxnorm.optimizer.fast_path.message_parts import FLOAT, attributes_of, require
from onnxnorm.optimizer.fast_path.operators import JOINS, LINEAR, OTHERS, PRODUCTS

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

    from onnxnorm.optimizer.fast_path.network import Network

__all__ = ["require_apart", "require_nothing_to_clean"]

_LAYOUT = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
_WINDOWED = frozenset({"Conv", "ConvTranspose"})
# What they make has the rank of their first input.
_KEEP_RANK = (LINEAR | JOINS | PRODUCTS | OTHERS) - _LAYOUT - _WINDOWED - {"Gemm", "ReduceMax", "ReduceMean"}
# In bytes: constants up to here are compared bit for bit when nodes are, from there on as initializers.
_SMALL, _LARGE = 256, 1024
_SAMPLE = 64


def require_nothing_to_clean(network: Network) -> None:
    """Require that no node hands on what it is given or repeats the one before it, and that no two are the same.

    Raises:
        NotPlainError: there may be such nodes.
    """
    seen: dict[tuple[str, ...], list[NodeProto]] = {}
    for node in network.nodes:
        op_type, inputs = node.op_type, node.input
        if op_type in _LAYOUT:
            _require_new_shape(network, node)
        elif op_type == "Clip":
            maker = network.maker(inputs[0])
            require(maker is None or maker.op_type != "Clip")
        if op_type in JOINS or op_type in PRODUCTS:
            key = (op_type, *inputs)
        elif op_type in LINEAR and len(inputs) > 1 and _bytes_of(network.constants[inputs[1]]) > _SMALL:
            key = (op_type, inputs[0], inputs[1])
        else:
            key = (op_type, inputs[0])
        others = seen.get(key)
        if others is None:
            seen[key] = [node]
            continue
        require(all(_differ(network, node, other) for other in others))
        others.append(node)


def require_apart(network: Network, new: Mapping[str, bytes], more: Iterable[bytes], gone: Mapping[str, int]) -> None:
    """Require that no two large constants of the result are the same, and no two weights that are computed.

    Args:
        network: the network.
        new: the new elements of constants that get other ones.
        more: the elements of new vectors in single precision.
        gone: for each constant, how many reads by nodes there will be no more.

    Raises:
        NotPlainError: two may be the same.
    """
    alike: dict[tuple[int, ...], list[tuple[TensorProto | None, bytes | None]]] = {}
    for name, tensor in network.constants.items():
        if network.uses[name] > gone.get(name, 0) and (
            _bytes_of(tensor) >= _LARGE or (name in new and len(tensor.dims) > 1)
        ):
            alike.setdefault((tensor.data_type, *tensor.dims), []).append((tensor, new.get(name)))
    for data in more:
        if len(data) >= _LARGE:
            alike.setdefault((FLOAT, len(data) // 4), []).append((None, data))
    for group in alike.values():
        if len(group) > 1:
            require(len({_sample(*entry) for entry in group}) == len(group))


def _sample(tensor: TensorProto | None, data: bytes | None) -> object:
    found = data or (b"" if tensor is None else tensor.raw_data)
    # Elements that are no raw data are seldom many.
    if found or tensor is None:
        return found[:_SAMPLE], found[-_SAMPLE:]
    found = np.array(tensor.float_data, "<f4").tobytes()
    return found[:_SAMPLE], found[-_SAMPLE:]


def _bytes_of(tensor: TensorProto) -> int:
    sizes = {1: 4, 6: 4, 7: 8, 10: 2, 11: 8}
    return int(sizes.get(tensor.data_type, 1) * math.prod(tensor.dims))


def _differ(network: Network, node: NodeProto, other: NodeProto) -> bool:
    """Whether two nodes of one operator that read one value are seen to do different things."""
    if node.op_type in LINEAR and len(node.input) > 1 and len(other.input) > 1:
        one, two = (network.constants[each.input[1]] for each in (node, other))
        if list(one.dims) != list(two.dims) or _sample(one, None) != _sample(two, None):
            return True
    attributes, others = attributes_of(node), attributes_of(other)
    return attributes.keys() == others.keys() and any(
        _content(attributes[name]) != _content(others[name]) for name in attributes
    )


def _content(attribute: object) -> object:
    return [getattr(attribute, name) for name in ("i", "f", "s")], [
        list(getattr(attribute, name)) for name in ("ints", "floats")
    ]


def _require_new_shape(network: Network, node: NodeProto) -> None:
    maker = network.maker(node.input[0])
    require(maker is None or maker.op_type not in _LAYOUT)
    if node.op_type in ("Squeeze", "Unsqueeze"):
        if len(node.input) > 1:
            require(_bytes_of(network.constants[node.input[1]]) > 0)
        else:
            require(any(attribute.name == "axes" and attribute.ints for attribute in node.attribute))
        return
    rank = _rank(network, node.input[0])
    if node.op_type == "Flatten":
        require(rank > 2)
    else:
        require(rank > 0 and len(node.input) == 2 and list(network.constants[node.input[1]].dims) != [rank])


def _rank(network: Network, name: str) -> int:
    """Return the rank of a value; 0 where that is not seen at once."""
    maker = network.maker(name)
    while maker is not None and maker.op_type in _KEEP_RANK | {"BatchNormalization"}:
        name = maker.input[0]
        maker = network.maker(name)
    if maker is not None:
        return len(network.constants[maker.input[1]].dims) if maker.op_type in _WINDOWED else 0
    kinds = [value.type.tensor_type for value in network.message.graph.input if value.name == name]
    return len(kinds[0].shape.dim) if kinds and kinds[0].HasField("shape") else 0
