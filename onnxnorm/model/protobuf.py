"""Reads models as protobuf messages: the graphs in them, and copies without what takes room."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["graphs_in", "graphs_of_node", "read_names", "tensors_in", "with_types_of_inputs", "without_weights"]

_LARGEST = 1024


def graphs_in(model: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """Yield the main graph, the functions, and all graphs nested in them."""
    stack: list[GraphProto | FunctionProto] = [model.graph, *model.functions]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.node:
            stack.extend(graphs_of_node(node))


def tensors_in(model: ModelProto) -> Iterator[TensorProto]:
    """Yield the initializers and the tensors of attributes, in whatever graph or function; sparse ones aside."""
    for graph in graphs_in(model):
        if isinstance(graph, GraphProto):
            yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def read_names(model: ModelProto) -> set[str]:
    """Return the names of all values that a node reads, in whatever graph, or that the model gives."""
    read: set[str] = set()
    for graph in graphs_in(model):
        for node in graph.node:
            read.update(node.input)
        # A function gives names, a graph values.
        read.update(value if isinstance(value, str) else value.name for value in graph.output)
    return read


def graphs_of_node(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that are attributes of the node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def with_types_of_inputs(model: ModelProto) -> ModelProto:
    """Return the message with outputs that are inputs typed as these; the message itself where they are.

    Such an output may say another shape, as any output may, without any harm in runtimes. In onnx-ir the two are one.
    """
    if not any(_mistyped(graph) for graph in graphs_in(model)):
        return model
    same = ModelProto()
    same.CopyFrom(model)
    for graph in graphs_in(same):
        for output, value in _mistyped(graph):
            output.type.CopyFrom(value.type)
    return same


def _mistyped(graph: GraphProto | FunctionProto) -> list[tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]]:
    if isinstance(graph, FunctionProto):
        return []
    inputs = {value.name: value for value in graph.input}
    pairs = [(output, inputs[output.name]) for output in graph.output if output.name in inputs]
    return [(output, value) for output, value in pairs if output.type != value.type]


def without_weights(model: ModelProto) -> ModelProto:
    """Return the model with its large constants as inputs: shape inference can do without them."""
    slim = ModelProto(ir_version=model.ir_version)
    slim.opset_import.extend(model.opset_import)
    slim.functions.extend(model.functions)
    graph = slim.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        if tensor.ByteSize() < _LARGEST:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return slim
