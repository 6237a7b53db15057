"""Checks what holds of every model between two passes, whatever the passes are.

Each value has one definition and, in its graph, one name, and so has each node; nodes stand behind what they read;
what a graph gives is defined in it or around it; operators of ONNX's own domain have inputs, outputs and attributes
that their opset knows.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import subgraphs_of

__all__ = ["violations"]


def violations(model: ir.Model) -> Iterator[str]:
    """Yield a sentence for each thing that does not hold, in the order of the graphs."""
    opset = model.graph.opset_imports.get("", 1)
    yield from _in_graph(model.graph, {}, opset)
    for function in model.functions.values():
        yield from _in_graph(function.graph, {}, function.opset_imports.get("", opset))


def _in_graph(graph: ir.Graph, around: dict[ir.Value, None], opset: int) -> Iterator[str]:
    known = dict(around)
    names: dict[str, ir.Value] = {}
    node_names: set[str] = set()

    def defined(value: ir.Value, by: str) -> Iterator[str]:
        if value in known and not (value.is_graph_input() and value.is_initializer()):
            yield f"{value.name!r} is defined twice, the second time by {by}"
        known[value] = None
        if value.name and names.setdefault(value.name, value) is not value:
            yield f"{value.name!r} is the name of two values, the second made by {by}"

    for value in graph.inputs:
        yield from defined(value, "the inputs")
    for name, value in graph.initializers.items():
        if value.name != name:
            yield f"the initializer {value.name!r} is kept under the name {name!r}"
        if value.const_value is None:
            yield f"the initializer {name!r} has no tensor"
        yield from defined(value, "the initializers")
    for node in graph:
        where = f"{node.op_type} {node.name!r}"
        if node.graph is not graph:
            yield f"{where} is in another graph than it says"
        if node.name and node.name in node_names:
            yield f"{node.name!r} is the name of two nodes"
        node_names.add(node.name or "")
        for operand in node.inputs:
            if operand is not None and operand not in known and not _is_missing(operand):
                yield f"{where} reads {operand.name!r} before it is computed"
        for body in subgraphs_of(node):
            yield from _in_graph(body, known, opset)
        for value in node.outputs:
            yield from defined(value, where)
        if is_standard(node):
            yield from _form(node, where, node.version or opset)
    for value in graph.outputs:
        if value not in known:
            yield f"the output {value.name!r} is not computed"


def _is_missing(value: ir.Value) -> bool:
    """Whether an empty name stands for an input that is left out."""
    return value.name == "" and value.producer() is None


def _form(node: ir.Node, where: str, opset: int) -> Iterator[str]:
    try:
        schema = onnx.defs.get_schema(node.op_type, min(opset, onnx.defs.onnx_opset_version()), "")
    except onnx.defs.SchemaError:
        yield f"{where} is no operator of opset {opset}"
        return
    given = len(node.inputs)
    while given and node.inputs[given - 1] is None:
        given -= 1
    if not schema.min_input <= given <= schema.max_input:
        yield f"{where} has {given} inputs, opset {opset} asks for {schema.min_input} to {schema.max_input}"
    if len(node.outputs) > schema.max_output:
        yield f"{where} has {len(node.outputs)} outputs, opset {opset} has at most {schema.max_output}"
    for name in node.attributes:
        if name not in schema.attributes:
            yield f"{where} has an attribute {name!r} that opset {opset} does not know"
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in node.attributes:
            yield f"{where} lacks the attribute {name!r} of opset {opset}"
