"""Holds large weights beside messages, so that many messages share them and none grows beyond what protobuf takes.

A message whose weights are held has references in their place, as to external files. Whoever makes the messages keeps
the `HeldWeights` for as long as the messages are used.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo

from onnxnorm.model.file_map import FileMap, map_behind
from onnxnorm.model.protobuf import tensors_in
from onnxnorm.model.to_protobuf import TYPES, Place, structure
from onnxnorm.model.told_types import told_types
from onnxnorm.model.walk import bytes_of, stored_bytes

__all__ = ["HeldWeights", "array_of", "held_arrays", "is_held", "let_go", "materialized", "size_of", "store_of"]

_LEAST = 1 << 14
"""Bytes from which on a weight is held; smaller ones may be shapes, which runtimes want to see in the message."""
_TYPES = frozenset({
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8,
    TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32,
    TensorProto.UINT64,
})  # fmt: skip
_PREFIX = "held weights "
_NUMBERS = itertools.count()
# References are found from messages, which cannot hold anything else alive.
_stores: weakref.WeakValueDictionary[str, HeldWeights] = weakref.WeakValueDictionary()


class HeldWeights:
    """Weights of any number of messages."""

    def __init__(self) -> None:
        self._location = f"{_PREFIX}{next(_NUMBERS)}"
        self._arrays: dict[int, npt.NDArray[Any] | ir.TensorProtocol] = {}
        _stores[self._location] = self

    def take(self, message: onnx.ModelProto, find: Callable[[str], Path] | None = None) -> onnx.ModelProto:
        """Return the message with its large weights held, those in files mapped.

        Args:
            message: is not changed.
            find: finds the file of a location, where weights are in files.
        """
        files = None if find is None else _Files(find)
        light = onnx.ModelProto()
        for field, value in message.ListFields():
            if field.name != "graph":
                _set(light, field.name, value)
        # Present even where it is empty.
        light.graph.SetInParent()
        for field, value in message.graph.ListFields():
            if field.name != "initializer":
                _set(light.graph, field.name, value)
        listed = {value.name for value in message.graph.input}
        for tensor in message.graph.initializer:
            array = None if tensor.name in listed or is_held(tensor) else _large_array(tensor, files)
            light.graph.initializer.append(tensor if array is None else self.reference(tensor, array))
        if files is not None:
            for tensor in tensors_in(light):
                if tensor.data_location == TensorProto.EXTERNAL and not is_held(tensor):
                    tensor.raw_data = files.bytes(tensor).tobytes()
                    del tensor.external_data[:]
                    tensor.data_location = TensorProto.DEFAULT
        return light

    def take_graph(self, model: ir.Model) -> onnx.ModelProto:
        """Return a graph as a message with its large weights held; they are read when they are used."""
        places, listed = {}, {value.name for value in model.graph.inputs}
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if tensor is None or name in listed or bytes_of(tensor) < _LEAST or tensor.dtype.value not in _TYPES:
                continue
            places[id(tensor)] = Place(self._location, self._keep(tensor), bytes_of(tensor))
        return structure(model, places, only=set(model.graph.initializers) - listed, told=told_types(model))

    def reference(self, tensor: TensorProto, array: npt.NDArray[Any]) -> TensorProto:
        """Return a tensor of the same name that refers to the array, from now on held."""
        held = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=array.shape)
        held.data_location = TensorProto.EXTERNAL
        entries = (("location", self._location), ("offset", self._keep(array)), ("length", array.nbytes))
        for key, value in entries:
            held.external_data.add(key=key, value=str(value))
        return held

    def array(self, tensor: TensorProto) -> npt.NDArray[Any]:
        """Return the array to which the tensor refers."""
        array = self._arrays[_key(tensor)]
        return array if isinstance(array, np.ndarray) else array.numpy()

    def forget(self, message: onnx.ModelProto, kept: onnx.ModelProto) -> None:
        """Let go of the weights of a message that another does not share."""
        keys = {_key(tensor) for tensor in kept.graph.initializer if is_held(tensor)}
        for tensor in message.graph.initializer:
            if is_held(tensor) and _key(tensor) not in keys:
                self._arrays.pop(_key(tensor), None)

    def _keep(self, array: npt.NDArray[Any] | ir.TensorProtocol) -> int:
        key = next(_NUMBERS)
        self._arrays[key] = array
        return key


def is_held(tensor: TensorProto) -> bool:
    """Whether the tensor refers to a weight that is held."""
    return tensor.data_location == TensorProto.EXTERNAL and _entry(tensor, "location").startswith(_PREFIX)


def array_of(tensor: TensorProto) -> npt.NDArray[Any]:
    """Return the array of a tensor, held or not."""
    return store_of(tensor).array(tensor) if is_held(tensor) else numpy_helper.to_array(tensor)


def store_of(tensor: TensorProto) -> HeldWeights:
    """Return who holds a tensor that is held."""
    return _stores[_entry(tensor, "location")]


def held_arrays(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """Return the held weights of the main graph by name."""
    return {tensor.name: array_of(tensor) for tensor in model.graph.initializer if is_held(tensor)}


def let_go(model: onnx.ModelProto) -> None:
    """Give the pages of the files in which held weights lie back to the system; they are read again when needed."""
    maps = {id(each): each for each in map(map_behind, held_arrays(model).values()) if each is not None}
    for each in maps.values():
        each.let_go()


def materialized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the message with every weight in it."""
    if not any(map(is_held, model.graph.initializer)):
        return model
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if is_held(tensor):
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(array_of(tensor), order="C"), tensor.name))
    return whole


def size_of(model: onnx.ModelProto) -> int:
    """Return the bytes of the message with every weight in it."""
    light: int = model.ByteSize()
    return light + sum(int(_entry(each, "length")) for each in model.graph.initializer if is_held(each))


def _key(tensor: TensorProto) -> int:
    return int(_entry(tensor, "offset"))


def _entry(tensor: TensorProto, key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _set(message: Any, name: str, value: Any) -> None:
    if isinstance(value, (str, bytes, int, float)):
        setattr(message, name, value)
    else:
        getattr(message, name).MergeFrom(value)


class _Files:
    """The files to which a message refers, each mapped once."""

    def __init__(self, find: Callable[[str], Path]) -> None:
        self._find = find
        self._maps: dict[str, FileMap] = {}

    def bytes(self, tensor: TensorProto) -> npt.NDArray[np.uint8]:
        """Return the bytes of a tensor in a file.

        Raises:
            ValueError: the file ends before them.
        """
        info, size = ExternalDataInfo(tensor), stored_bytes(TYPES[tensor.data_type], tensor.dims)
        if not size:
            return np.empty(0, np.uint8)
        if info.location not in self._maps:
            path = self._find(info.location)
            with path.open("rb") as file:
                self._maps[info.location] = FileMap(file.fileno(), path)
        return np.frombuffer(self._maps[info.location], np.uint8, size, info.offset or 0)


def _large_array(tensor: TensorProto, files: _Files | None) -> npt.NDArray[Any] | None:
    if tensor.data_type not in _TYPES:
        return None
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if math.prod(tensor.dims) * dtype.itemsize < _LEAST:
        return None
    if tensor.data_location != TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    if files is None:
        return None
    return files.bytes(tensor).view(dtype.newbyteorder("<")).reshape(tuple(tensor.dims))
