"""Changes a graph and keeps it whole: constants in, constants out, nodes taken out of the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import captured, is_standard
from onnxnorm.model.walk import subgraphs_of

__all__ = [
    "add_constant",
    "add_tensor",
    "drop_if_unused",
    "put_in_place",
    "remove_unread",
    "rename_initializer",
    "set_inputs",
    "settle_casts",
    "splice_out",
]


def add_constant(
    graph: ir.Graph, name: str, array: npt.NDArray[np.generic], dtype: ir.DataType, facts: Facts
) -> ir.Value:
    """Add a constant to `graph`: an initializer, or a node where the graph takes none (`Facts.takes_initializers`).

    Before IR version 4 one of the main graph is listed among its inputs too, as every initializer has to be.
    """
    return add_tensor(graph, name, facts.new_tensor(array, dtype, name), facts)


def add_tensor(graph: ir.Graph, name: str, tensor: ir.TensorProtocol, facts: Facts) -> ir.Value:
    """Add a tensor made by `Facts.new_tensor` to the graph as a constant (see `add_constant`)."""
    tensor.name = name
    shape, dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
    if not facts.takes_initializers(graph):
        holder = ir.node("Constant", [], attributes={"value": tensor})
        value = holder.outputs[0]
        value.name, value.shape, value.dtype = name, shape, dtype
        graph.insert_before(graph[0], holder)
        return value
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype), const_value=tensor)
    graph.register_initializer(value)
    if facts.initializers_are_inputs and facts.is_main(graph):
        graph.inputs.append(value)
    return value


def drop_if_unused(value: ir.Value | None, facts: Facts) -> None:
    """Remove an initializer that nobody reads any more, from the inputs of an old model too."""
    if value is None or not value.is_initializer() or value.uses() or value.is_graph_output() or value.name is None:
        return
    graph = value.graph
    assert graph is not None
    if value.is_graph_input():
        if not facts.initializers_are_inputs:
            return
        graph.inputs.remove(value)
    del graph.initializers[value.name]


def set_inputs(node: ir.Node, values: Sequence[ir.Value | None]) -> None:
    """Give the node these inputs, in place of all that it had."""
    node.resize_inputs(len(values))
    for index, (old, value) in enumerate(zip(node.inputs, values, strict=True)):
        if old is not value:
            node.replace_input_with(index, value)


def splice_out(node: ir.Node, kept: int = 0) -> None:
    """Let input number `kept` take the place of the node's one output; outputs of the graph keep their names.

    Where the graph could not say that without a node (an input that is an output too), the node becomes an Identity.
    """
    value, output, graph = node.inputs[kept], node.outputs[0], node.graph
    assert value is not None and graph is not None
    if len(node.outputs) > 1:
        node.resize_outputs(1)
    if output.is_graph_output() and (
        value.is_graph_output() or value.is_graph_input() or value.is_initializer() or value.graph is not graph
    ):
        node.op_type, node.domain = "Identity", ""
        node.attributes.clear()
        set_inputs(node, [value])
        return
    is_output, name = output.is_graph_output(), output.name
    if value.type is None:
        value.type = output.type
    if output.shape is not None and (is_output or value.shape is None):
        value.shape = output.shape
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    if is_output:
        output.name = None
        value.name = name


def rename_initializer(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Give the initializer a name that no other has."""
    assert value.name is not None
    del graph.initializers[value.name]
    value.name = name
    if value.const_value is not None:
        value.const_value.name = name
    graph.initializers[name] = value


def settle_casts(graph: ir.Graph) -> bool:
    """Turn every CastLike of the graph whose type is known into a Cast; tell whether there was one.

    A Cast of a constant is a constant: PyTorch's dynamo exporter writes a CastLike around every number.
    """
    modified = False
    for node in graph:
        if node.op_type != "CastLike" or not is_standard(node) or len(node.inputs) != 2:
            continue
        like = node.inputs[1]
        if like is None or like.dtype is None or not _rounds_as_cast(node):
            continue
        node.op_type = "Cast"
        node.attributes["to"] = ir.AttrInt64("to", int(like.dtype))
        node.resize_inputs(1)
        modified = True
    return modified


def _rounds_as_cast(node: ir.Node) -> bool:
    # Where nothing rounds, runtimes do not look at what CastLike says of it; at Cast they do.
    mode = node.attributes.get("round_mode")
    return mode is None or mode.value in ("up", "down", "nearest")


def put_in_place(old: ir.Node, nodes: Iterable[ir.Node], output: ir.Value) -> None:
    """Insert `nodes` before `old`; `output`, the result of the last of them, takes over the result of `old`."""
    root, graph = old.outputs[0], old.graph
    assert graph is not None
    name = root.name
    for node in nodes:
        node.metadata_props.update(
            {key: text for key, text in old.metadata_props.items() if key not in node.metadata_props}
        )
        graph.insert_before(old, node)
    output.shape, output.type = root.shape, root.type or output.type
    root.replace_all_uses_with(output, replace_graph_outputs=True)
    root.name, output.name = None, name


def remove_unread(nodes: Iterable[ir.Node], facts: Facts) -> None:
    """Remove the nodes among `nodes` that nobody reads, and the nodes that only they read."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        graph = node.graph
        if graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
            continue
        operands = [value for value in (*node.inputs, *captured(node)) if value is not None]
        for branch in subgraphs_of(node):
            # What is in it would go on reading values from outside.
            for inner in branch:
                set_inputs(inner, [None] * len(inner.inputs))
        graph.remove(node, safe=True)
        for value in operands:
            drop_if_unused(value, facts)
            producer = value.producer()
            if producer is not None and not value.uses():
                waiting.append(producer)
