"""Makes models of stretches of two models between the same borders, and tells whether they are the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxnorm.model.held import array_of
from onnxnorm.verification.layout import Layout

__all__ = ["are_same", "piece_of", "read_from_before", "typed"]

_FIRST = 4096


def read_from_before(layout: Layout, start: int, end: int, wanted: Iterable[str]) -> set[str]:
    """Return what a stretch of nodes takes from before it, or gives without a node: values and inputs of the model."""
    read = set(wanted).union(*layout.reads[start:end])
    return {name for name in read if layout.made.get(name, end) < start or name in layout.inputs}


def piece_of(
    layout: Layout, start: int, end: int, inputs: Mapping[str, onnx.ValueInfoProto], wanted: Sequence[str]
) -> onnx.ModelProto:
    """Return a model of the nodes from `start` on and before `end`, with what they need of constants.

    Args:
        layout: of the model.
        start, end: the stretch.
        inputs: what it is given, by name.
        wanted: its outputs.
    """
    model = layout.model
    piece = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    piece.functions.extend(model.functions)
    graph = piece.graph
    graph.name = model.graph.name or "piece"
    places = {place for place in range(start, end) if not _is_constant(layout, place)}
    read = set(wanted).union(*(layout.reads[place] for place in places))
    stack = [name for name in read if name in layout.constant]
    while stack:
        place = layout.constant[stack.pop()]
        if place not in places:
            places.add(place)
            read |= layout.reads[place]
            stack += [name for name in layout.reads[place] if name in layout.constant]
    nodes = [layout.nodes[place] for place in sorted(places)]
    graph.node.extend(nodes)
    graph.input.extend(inputs.values())
    graph.initializer.extend(layout.initializers[name] for name in sorted(read) if name in layout.initializers)
    graph.output.extend(
        layout.told[name] if name in layout.told else helper.make_empty_tensor_value_info(name) for name in wanted
    )
    given = {*wanted, *inputs}
    graph.value_info.extend(
        layout.told[name] for node in nodes for name in node.output if name in layout.told and name not in given
    )
    return piece


def typed(name: str, values: Sequence[Any]) -> onnx.ValueInfoProto:
    """Return what arrays of several samples say of a value; extents that differ are open."""
    first = values[0]
    kind = onnx.TensorProto.STRING if first.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(first.dtype)
    if any(value.ndim != first.ndim for value in values):
        return helper.make_tensor_value_info(name, kind, None)
    dims = [
        extent if all(value.shape[axis] == extent for value in values) else None
        for axis, extent in enumerate(first.shape)
    ]
    return helper.make_tensor_value_info(name, kind, dims)


def are_same(one: onnx.ModelProto, two: onnx.ModelProto) -> bool:
    """Whether two pieces have the same nodes, functions and weights, under the same names for values."""
    if len(one.graph.node) != len(two.graph.node) or len(one.graph.initializer) != len(two.graph.initializer):
        return False
    if [*map(_plain, one.functions)] != [*map(_plain, two.functions)] or _opsets(one) != _opsets(two):
        return False
    ours = {tuple(node.output): node for node in one.graph.node}
    for node in two.graph.node:
        other = ours.get(tuple(node.output))
        if other is None or _settings(node) != _settings(other):
            return False
    weights = {tensor.name: tensor for tensor in one.graph.initializer}
    return all(tensor.name in weights and _equal(weights[tensor.name], tensor) for tensor in two.graph.initializer)


def _is_constant(layout: Layout, place: int) -> bool:
    return all(layout.constant.get(name) == place for name in layout.nodes[place].output if name)


def _plain(function: onnx.FunctionProto) -> bytes:
    data: bytes = function.SerializeToString(deterministic=True)
    return data


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}


def _settings(node: onnx.NodeProto) -> tuple[object, ...]:
    given = sorted((each.name, each.SerializeToString(deterministic=True)) for each in node.attribute)
    return node.op_type, node.domain, node.overload, tuple(node.input), given


def _equal(one: onnx.TensorProto, two: onnx.TensorProto) -> bool:
    if one.data_type != two.data_type or list(one.dims) != list(two.dims):
        return False
    if one == two:
        # Of held weights this compares where they are held.
        return True
    if onnx.TensorProto.STRING in (one.data_type, two.data_type):
        return list(one.string_data) == list(two.string_data)
    first, second = (np.ascontiguousarray(array_of(each)).reshape(-1).view(np.uint8) for each in (one, two))
    if not np.array_equal(first[:_FIRST], second[:_FIRST]):
        return False
    return bool(np.array_equal(first, second))
