"""Walks over the graphs, subgraphs and tensors of a model, and how many bytes its tensors take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from onnxnorm.model.domains import CUSTOM_DOMAIN
from onnxnorm.model.to_protobuf import TYPES

__all__ = [
    "Holder",
    "bytes_of",
    "changeable_graphs",
    "changeable_roots",
    "graphs_of",
    "graphs_within",
    "nodes_with_paths",
    "stored_bytes",
    "subgraphs_of",
    "tensor_in",
    "tensors_of",
    "weight_bytes",
]


def stored_bytes(dtype: ir.DataType, dims: Iterable[int]) -> int:
    """Count the bytes of a tensor in a file: packed where its elements are smaller than a byte."""
    return -(-math.prod(dims) * dtype.bitwidth // 8)


def subgraphs_of(node: ir.Node) -> Iterator[ir.Graph]:
    """Yield the graphs that a node holds (If, Loop, Scan)."""
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type is ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type is ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def weight_bytes(model: ir.Model) -> int:
    """Count the bytes that the weights of the model take in a file."""
    return sum(bytes_of(holder.tensor) for holder in tensors_of(model))


@dataclass(frozen=True)
class Holder:
    """A tensor of a model and the initializer that it belongs to; None where an attribute holds it."""

    tensor: ir.TensorProtocol
    value: ir.Value | None


def graphs_of(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield the main graph, all that is nested in it, and the same for every function."""
    yield from graphs_within(model.graph)
    for function in model.functions.values():
        yield from graphs_within(function.graph)


def changeable_roots(model: ir.Model) -> list[ir.Graph]:
    """Return the main graph and the bodies of functions, but for the portable bodies of this project's operators."""
    return [model.graph, *(body.graph for body in model.functions.values() if body.domain != CUSTOM_DOMAIN)]


def changeable_graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield the graphs of `changeable_roots`, and all that is nested in them."""
    for root in changeable_roots(model):
        yield from graphs_within(root)


def graphs_within(graph: ir.Graph) -> list[ir.Graph]:
    """Return the graph and all that is nested in it, each before those in it."""
    # onnx-ir's own way through nested graphs looks at every node in four layers of generators.
    found = []
    pending = [graph]
    while pending:
        top = pending.pop()
        found.append(top)
        inner: list[ir.Graph] = []
        for node in top:
            # Most nodes have none.
            attributes = node.attributes
            for attribute in attributes.values() if attributes else ():
                kind = attribute.type
                if kind is ir.AttributeType.GRAPH and not attribute.is_ref():
                    inner.append(attribute.as_graph())
                elif kind is ir.AttributeType.GRAPHS and not attribute.is_ref():
                    inner.extend(attribute.as_graphs())
        pending.extend(reversed(inner))
    return found


def nodes_with_paths(model: ir.Model) -> Iterator[tuple[ir.Node, str]]:
    """Yield every node with the path of its graph, in the order of the graphs; bodies of our own operators aside."""
    yield from _nodes_below(model.graph, "")
    for function in model.functions.values():
        if function.domain != CUSTOM_DOMAIN:
            yield from _nodes_below(function.graph, f"{function.domain}::{function.name}")


def _nodes_below(graph: ir.Graph, path: str) -> Iterator[tuple[ir.Node, str]]:
    for node in graph:
        yield node, path
        prefix = f"{path}/" if path else ""
        for attribute in node.attributes.values():
            if attribute.is_ref():
                continue
            below = f"{prefix}{node.name}/{attribute.name}"
            if attribute.type is ir.AttributeType.GRAPH:
                yield from _nodes_below(attribute.as_graph(), below)
            elif attribute.type is ir.AttributeType.GRAPHS:
                for index, subgraph in enumerate(attribute.as_graphs()):
                    yield from _nodes_below(subgraph, f"{below}[{index}]")


def tensors_of(model: ir.Model) -> Iterator[Holder]:
    """Yield every tensor of the graphs, those of model-local functions aside."""
    for graph in graphs_within(model.graph):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield Holder(value.const_value, value)
        for node in graph:
            attributes = node.attributes
            for attribute in attributes.values() if attributes else ():
                if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield Holder(tensor_in(attribute), None)


def tensor_in(attribute: ir.Attr) -> ir.TensorProtocol:
    """Return the tensor of an attribute of that type; onnx-ir's own way looks for each member of a tensor first."""
    tensor: ir.TensorProtocol = attribute.value
    return tensor


def bytes_of(tensor: ir.TensorProtocol) -> int:
    """Count the bytes of the tensor in a file; 0 for text, which has no fixed size."""
    if type(tensor) is ir.serde.TensorProtoTensor:
        # Its `dtype` and `shape` are made anew each time they are asked for.
        return stored_bytes(TYPES[tensor.raw.data_type], tensor.raw.dims)
    dtype = tensor.dtype
    if dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        return 0
    return stored_bytes(dtype, tuple(tensor.shape.numpy()))
