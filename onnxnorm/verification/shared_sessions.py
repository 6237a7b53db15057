"""Shares sessions of onnxruntime among models that differ in their weights and in the names of their values alone.

It takes onnxruntime longer to make a session than to run it. With its optimizations off it calls a kernel for each
node, whether a weight is a constant of the model or an input, so one session serves all models of a structure, which
give it their weights. With its optimizations on, onnxruntime folds weights into each other and lays them out anew: what
it makes of them is what users run, and takes a session for each model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.held import array_of, is_held
from onnxnorm.runtime.unoptimized import NO_SPINNING, open_session
from onnxnorm.verification.rounding_noise import WEIGHTS

__all__ = ["SharedSessions"]

_MOST = 6
"""Number of sessions that are kept."""
_MOST_LENT = 2
"""Number of models whose session is kept: a piece of the result is run more than once."""
_REAL = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16})
_WITH_GRAPHS = frozenset({onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS})
_LARGE = 1 << 12
"""Bytes of a constant from which on it is not compared."""


class SharedSessions:
    """The sessions of the structures that were met last."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[object, ...], Any] = OrderedDict()
        self._last: OrderedDict[int, _Lent] = OrderedDict()

    def open(self, model: onnx.ModelProto, level: str, options: Any = None) -> Any:
        """Do as `open_session` does, with a session that other models share where that is possible.

        Raises:
            OnnxNormError: onnxruntime refuses the model.
        """
        if level != "off" or options is not None:
            return open_session(model, level, options)
        if id(model) in self._last:
            return self._last[id(model)]
        structure = _structure_of(model)
        if structure is None:
            return open_session(model, level, options)
        opened = self._sessions.pop(structure.key, None)
        if opened is None:
            try:
                opened = _opened(model, structure)
            except OnnxNormError:
                # Of the model itself onnxruntime says what is wrong in names that its user knows.
                return open_session(model, level, options)
        self._sessions[structure.key] = opened
        while len(self._sessions) > _MOST:
            self._sessions.popitem(last=False)
        lent = self._last[id(model)] = _Lent(opened, model, structure)
        if len(self._last) > _MOST_LENT:
            self._last.popitem(last=False)
        return lent


@dataclass(frozen=True)
class _Structure:
    """The structure of a model.

    Attributes:
        key: all of it but the weights and the names.
        names: the names of its values in the session, by their own.
        weights: the initializers that the session is given, by their own names.
    """

    key: tuple[object, ...]
    names: Mapping[str, str]
    weights: Mapping[str, onnx.TensorProto]


class _Value(NamedTuple):
    name: str
    type: str


class _Lent:
    """A shared session as that of one model: values have its names, and its weights are given in each run."""

    def __init__(self, opened: Any, model: onnx.ModelProto, structure: _Structure) -> None:
        self._opened = opened
        self._model = model
        self._names = structure.names
        self._weights = {structure.names[name]: _in_memory(tensor) for name, tensor in structure.weights.items()}

    def get_inputs(self) -> list[_Value]:
        return self._own(self._opened.get_inputs(), [value.name for value in self._model.graph.input])

    def get_outputs(self) -> list[_Value]:
        return self._own(self._opened.get_outputs(), [value.name for value in self._model.graph.output])

    def get_overridable_initializers(self) -> list[_Value]:
        return []

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
        given = {self._names[name]: value for name, value in feeds.items()}
        try:
            values: list[Any] = self._opened.run([self._names[name] for name in names], {**self._weights, **given})
            return values
        except Exception:
            # What onnxruntime says of it names nodes.
            plain: list[Any] = open_session(self._model, "off").run(names, feeds)
            return plain

    def _own(self, values: Sequence[Any], names: Sequence[str]) -> list[_Value]:
        types = {value.name: value.type for value in values}
        return [_Value(name, types[self._names[name]]) for name in names]


def _structure_of(model: onnx.ModelProto) -> _Structure | None:
    """Return the structure of a model; None where it has subgraphs, functions or operators of other domains."""
    graph = model.graph
    if model.functions or graph.sparse_initializer:
        return None
    names: dict[str, str] = {}

    def named(name: str) -> str:
        return names.setdefault(name, str(len(names))) if name else ""

    nodes = []
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS or any(map(_is_its_own, node.attribute)):
            return None
        settings = sorted(attribute.SerializeToString() for attribute in node.attribute)
        nodes.append((node.op_type, (*map(named, node.input),), (*map(named, node.output),), *settings))
    weights = _weights(graph)
    constants = []
    for tensor in graph.initializer:
        if tensor.name in weights:
            constants.append((named(tensor.name), tensor.data_type, *tensor.dims))
        elif is_held(tensor) or tensor.ByteSize() > _LARGE:
            return None
        else:
            constants.append((named(tensor.name), _renamed(tensor, "").SerializeToString()))
    ends = [
        sorted((named(value.name), value.type.SerializeToString()) for value in values)
        for values in (graph.input, graph.output)
    ]
    opsets = sorted((each.domain, each.version) for each in model.opset_import)
    key = (model.ir_version, *opsets, *nodes, *sorted(constants), "inputs", *ends[0], "outputs", *ends[1])
    return _Structure(key, names, weights)


def _is_its_own(attribute: onnx.AttributeProto) -> bool:
    return attribute.type in _WITH_GRAPHS or (attribute.HasField("t") and attribute.t.ByteSize() > _LARGE)


def _weights(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers whose values no kernel asks for before it runs: real weights wherever they are read."""
    public = {value.name for value in (*graph.input, *graph.output)}
    weights = {each.name: each for each in graph.initializer if each.data_type in _REAL and each.name not in public}
    for node in graph.node:
        positions = WEIGHTS.get(node.op_type, frozenset())
        for position, name in enumerate(node.input):
            if position not in positions:
                weights.pop(name, None)
    return weights


def _opened(model: onnx.ModelProto, structure: _Structure) -> Any:
    """Open the session of a structure.

    Raises:
        OnnxNormError: onnxruntime refuses it.
    """
    names, graph = structure.names, model.graph
    shared = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    shared.graph.name = "shared"
    for node in graph.node:
        copy = shared.graph.node.add()
        copy.CopyFrom(node)
        copy.ClearField("name")
        copy.input[:] = [names[name] if name else "" for name in node.input]
        copy.output[:] = [names[name] if name else "" for name in node.output]
    shared.graph.input.extend(_renamed(value, names[value.name]) for value in graph.input)
    shared.graph.input.extend(
        helper.make_tensor_value_info(names[name], tensor.data_type, tensor.dims)
        for name, tensor in structure.weights.items()
    )
    shared.graph.output.extend(_renamed(value, names[value.name]) for value in graph.output)
    shared.graph.initializer.extend(
        _renamed(tensor, names[tensor.name]) for tensor in graph.initializer if tensor.name not in structure.weights
    )
    options = onnxruntime.SessionOptions()
    # Each session would keep the memory of its largest run.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry(NO_SPINNING, "0")
    return open_session(shared, "off", options)


def _renamed(message: Any, name: str) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    copy.name = name
    return copy


def _in_memory(tensor: onnx.TensorProto) -> Any:
    """Return the elements of a weight as onnxruntime takes them without a copy."""
    array = array_of(tensor)
    return np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])
