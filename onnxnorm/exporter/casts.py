"""Casts operands and results of single nodes, in a graph whose nodes and values have names."""

from __future__ import annotations

import math

import onnx_ir as ir

from onnxnorm.graph.edit import rename_initializer
from onnxnorm.model.names import fresh_name
from onnxnorm.model.walk import graphs_within

__all__ = ["Casts"]

# Constants of no more elements are widened in the file: so many more bytes it may have for a node less.
_LARGEST_WIDENED = 2**14


class Casts:
    """The casts that are put into the graphs of a model; a value is cast to a type once."""

    def __init__(self, model: ir.Model) -> None:
        graphs = graphs_within(model.graph)
        self._nodes = {node.name or "" for graph in graphs for node in graph}
        self._values = {
            value.name or ""
            for graph in graphs
            for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs))
        }
        self._made: dict[tuple[ir.Value, ir.DataType, ir.Graph | None], ir.Value] = {}
        self._constants: list[tuple[ir.Value, ir.Value]] = []

    def widened(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        """Return the value in a type that holds all of its numbers, for a node that reads it."""
        tensor = value.const_value
        small = tensor is not None and math.prod(tensor.shape.numpy()) <= _LARGEST_WIDENED
        constant = small and value.is_initializer() and not value.is_graph_input()
        graph = None if constant else _graph_of(reader)
        made = self._made.get((value, dtype, graph))
        if made is None:
            made = self._constant(value, dtype) if graph is None else self._cast(value, dtype, reader)
            self._made[value, dtype, graph] = made
        return made

    def round_result(self, value: ir.Value, made: ir.DataType) -> None:
        """Have a node make `value` in the type `made` instead, and a Cast behind it round to the type of `value`."""
        node, wanted = value.producer(), value.dtype
        assert node is not None and wanted is not None
        users, is_output, name = list(value.uses()), value.is_graph_output(), value.name
        cast = self._node(value, wanted, node)
        rounded = cast.outputs[0]
        _graph_of(node).insert_after(node, cast)
        for use in users:
            use.node.replace_input_with(use.idx, rounded)
        if is_output:
            outputs = _graph_of(node).outputs
            for place, output in enumerate(outputs):
                if output is value:
                    outputs[place] = rounded
        value.name, value.type = self._fresh(value, made), ir.TensorType(made)
        rounded.name = name

    def give_back_names(self) -> None:
        """Give the name of a constant that is read in its wide form alone to that form."""
        for value, wide in self._constants:
            graph, name = value.graph, value.name
            if (
                value.uses()
                or value.is_graph_output()
                or graph is None
                or name is None
                or name not in graph.initializers
            ):
                continue
            del graph.initializers[name]
            rename_initializer(graph, wide, name)

    def _constant(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        tensor, graph = value.const_value, value.graph
        assert tensor is not None and graph is not None
        name = self._fresh(value, dtype)
        wide = ir.tensor(tensor.numpy().astype(dtype.numpy()), dtype=dtype, name=name)
        made = ir.Value(name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(dtype), const_value=wide)
        graph.register_initializer(made)
        self._constants.append((value, made))
        return made

    def _cast(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        cast = self._node(value, dtype, reader)
        cast.outputs[0].name = self._fresh(value, dtype)
        _graph_of(reader).insert_before(reader, cast)
        return cast.outputs[0]

    def _node(self, value: ir.Value, dtype: ir.DataType, beside: ir.Node) -> ir.Node:
        """Make a Cast that bears the notes of the node beside it, and a name of the same module."""
        module = (beside.name or "").rpartition("/")[0]
        name = fresh_name(f"{module}/Cast" if module else "Cast", self._nodes)
        cast = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=name)
        cast.metadata_props.update(beside.metadata_props)
        cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(dtype), value.shape
        return cast

    def _fresh(self, value: ir.Value, dtype: ir.DataType) -> str:
        return fresh_name(f"{value.name}_{dtype.name.lower()}", self._values)


def _graph_of(node: ir.Node) -> ir.Graph:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    return graph
