"""Removes what is left when all else is done: nodes and initializers that nobody reads, and constants that are nodes.

Before: nodes without a reader, also with subgraphs; initializers without one, in subgraphs too; Constant nodes. After:
none of these; what a Constant held is an initializer of the same name, and where the graph has the same constant
already, that.
Conditions: outputs of graphs stay what they are. Text, sparse tensors and the bodies of functions keep their nodes, and
so do models before IR version 4 whose initializers are inputs, and all graphs within nodes there.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxnorm.graph.constant_nodes import tensor_of_constant_node
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import bytes_of, graphs_within, subgraphs_of
from onnxnorm.passes.cleaning.conditions import discard_graphs

__all__ = ["lift_constants", "remove_dead"]

_SMALL = 256


def remove_dead(model: ir.Model) -> bool:
    """Remove nodes and initializers that nobody reads; tell whether there was any."""
    graphs = graphs_within(model.graph)
    modified = len(graphs) > 1 and _remove_with_graphs(graphs)
    modified |= RemoveUnusedNodesPass()(model).modified
    for graph in graphs[1:]:
        for value in list(graph.initializers.values()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                assert value.name is not None
                del graph.initializers[value.name]
                modified = True
    return modified


def _remove_with_graphs(graphs: Sequence[ir.Graph]) -> bool:
    """Remove dead nodes, the innermost first: onnx-ir's pass leaves what the graphs in a dead node read."""
    modified = False
    for graph in reversed(graphs):
        for node in reversed(list(graph)):
            if any(out.uses() or out.is_graph_output() for out in node.outputs):
                continue
            if any(subgraphs_of(node)):
                discard_graphs(node)
            graph.remove(node, safe=True)
            modified = True
    return modified


def lift_constants(model: ir.Model, facts: Facts) -> bool:
    """Make initializers of Constant nodes; tell whether there was any."""
    if facts.initializers_are_inputs:
        return False
    modified = False
    for graph in filter(facts.takes_initializers, graphs_within(model.graph)):
        known = {key: value for value in graph.initializers.values() if (key := _key(value, facts)) is not None}
        for node in list(graph):
            if node.op_type == "Constant" and is_standard(node) and not node.outputs[0].is_graph_output():
                modified |= _lift(node, graph, known, facts)
    return modified


def _key(value: ir.Value, facts: Facts) -> object | None:
    tensor = value.const_value
    if (
        tensor is None
        or facts.overridable(value)
        or value.is_graph_output()
        or bytes_of(tensor) not in range(1, _SMALL)
    ):
        return None
    return tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes()


def _lift(node: ir.Node, graph: ir.Graph, known: dict[object, ir.Value], facts: Facts) -> bool:
    output, tensor = node.outputs[0], tensor_of_constant_node(node)
    if tensor is None or not output.name:
        return False
    name = output.name
    if not output.uses():
        graph.remove(node, safe=True)
        return True
    value = ir.Value(
        name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    key = _key(value, facts)
    same = None if key is None else known.setdefault(key, value)
    output.name = None
    output.replace_all_uses_with(value if same is None else same)
    graph.remove(node, safe=True)
    if same is None or same is value:
        graph.register_initializer(value)
    return True
