"""Describes the main graph of a model for cutting: what each node reads, what is constant, and what lives where."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.verification.pairs import reads
from onnxnorm.verification.random_draws import RANDOM

__all__ = ["Layout", "layout_of"]

_END = 1 << 60
_WITH_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_ITEM_BYTES: dict[int, int] = {onnx.TensorProto.DOUBLE: 8, onnx.TensorProto.INT64: 8, onnx.TensorProto.FLOAT16: 2}


@dataclass(frozen=True)
class Layout:
    """The main graph of a model, whose nodes stand in the order in which they are computed.

    Attributes:
        model: the model.
        nodes: its nodes in order.
        reads: what each of them reads, in its subgraphs too.
        constant: the nodes that depend on constants alone, by what they give: each piece that reads it computes it.
        made: the place of the node by what it gives, for all other nodes.
        last: the last place at which a value is read.
        readers: the operators that read a value, in order.
        initializers: the initializers by name.
        inputs: the inputs that are no initializers.
        told: what the model says of the types of its values, by their names.
        weight_bytes: for each node the bytes of the initializers that no node before it reads.
    """

    model: onnx.ModelProto
    nodes: Sequence[onnx.NodeProto]
    reads: Sequence[frozenset[str]]
    constant: dict[str, int]
    made: dict[str, int]
    last: dict[str, int]
    readers: dict[str, list[str]]
    initializers: dict[str, onnx.TensorProto]
    inputs: dict[str, onnx.ValueInfoProto]
    told: dict[str, onnx.ValueInfoProto]
    weight_bytes: Sequence[int]

    def borders(self, most: int) -> Iterator[tuple[int, frozenset[str]]]:
        """Yield the places between nodes where at most so many values live, with these: made before and read after."""
        live: set[str] = set()
        ending: dict[int, list[str]] = {}
        for place, node in enumerate(self.nodes):
            for name in node.output:
                if self.made.get(name) == place and self.last.get(name, -1) > place:
                    live.add(name)
                    ending.setdefault(self.last[name], []).append(name)
            live.difference_update(ending.pop(place, ()))
            if 0 < len(live) <= most:
                yield place + 1, frozenset(live)


def layout_of(model: onnx.ModelProto) -> Layout | None:
    """Return the layout of a model; None where it cannot be cut.

    That is where a node reads what stands behind it, or an initializer is sparse. Initializers that are inputs too are
    taken for constants.
    """
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in initializers}
    if graph.sparse_initializer:
        return None
    nodes = list(graph.node)
    constant: dict[str, int] = {}
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    readers: dict[str, list[str]] = {}
    all_reads, weights, weighed = [], [], set[str]()
    for place, node in enumerate(nodes):
        has_graphs = any(attribute.type in _WITH_GRAPHS for attribute in node.attribute)
        read = frozenset(reads(node)) - _names_inside(node) if has_graphs else frozenset(filter(None, node.input))
        if not all(name in made or name in constant or name in initializers or name in inputs for name in read):
            return None
        outputs = [name for name in node.output if name]
        if any(name in made or name in constant for name in outputs):
            return None
        is_constant = (
            not has_graphs
            and node.domain in STANDARD_DOMAINS
            and node.op_type not in RANDOM
            and (bool(read) or node.op_type == "Constant")
            and all(name in constant or name in initializers for name in read)
        )
        (constant if is_constant else made).update(dict.fromkeys(outputs, place))
        if not is_constant:
            last.update(dict.fromkeys(read, place))
            for name in read:
                if name in made:
                    readers.setdefault(name, []).append(node.op_type)
        fresh = [name for name in read if name in initializers and name not in weighed]
        weighed.update(fresh)
        weights.append(sum(map(_bytes_of, map(initializers.__getitem__, fresh))))
        all_reads.append(read)
    told = {value.name: value for value in (*graph.value_info, *graph.output)}
    return Layout(model, nodes, all_reads, constant, made, last, readers, initializers, inputs, told, weights)


def _bytes_of(tensor: onnx.TensorProto) -> int:
    size: int = math.prod(tensor.dims) * _ITEM_BYTES.get(tensor.data_type, 4)
    return size


def _names_inside(node: onnx.NodeProto) -> set[str]:
    """Return the names that the subgraphs of a node make for themselves."""
    names: set[str] = set()
    stack = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    while stack:
        graph = stack.pop()
        names.update(value.name for value in (*graph.input, *graph.initializer))
        for inner in graph.node:
            names.update(inner.output)
            stack += [each for attribute in inner.attribute for each in (attribute.g, *attribute.graphs)]
    return names
