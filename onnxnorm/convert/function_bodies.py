"""Writes operators that an older opset lacks in terms of others: by the bodies that ONNX's definitions bring along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir

from onnxnorm.graph.inline import inline
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.walk import graphs_of

__all__ = ["lower_by_bodies"]

_DOMAIN = "onnxnorm.body"
# Whose bodies no runtime takes: that of AffineGrid gives Range vectors in place of scalars.
_UNFIT = frozenset({"AffineGrid"})


def lower_by_bodies(model: ir.Model, own: int, is_guilty: Callable[[ir.Node], bool]) -> dict[str, str]:
    """Put bodies in place of the nodes for which `is_guilty` holds, where their definition at `own` has one.

    Returns:
        For the name of each node that came from a body, what errors called the node that it stands for.
    """
    origins: dict[str, str] = {}
    for _ in range(4):
        replaced = 0
        # What is registered on the way is a graph of the next round.
        for graph in list(graphs_of(model)):
            for node in graph:
                if node.domain in STANDARD_DOMAINS and is_guilty(node):
                    replaced += _register(model, node, own, origins, replaced)
        if not replaced:
            break
        inline(model, lambda function: function.domain == _DOMAIN)
        model.graph.opset_imports.pop(_DOMAIN, None)
    return origins


def _register(model: ir.Model, node: ir.Node, own: int, origins: dict[str, str], number: int) -> int:
    """Make the node a call of its body; return how many that were."""
    body = _body_of(node, own)
    if body is None or not _drop_unmade_outputs(body, node):
        return 0
    title = origins.get(node.name or "", f"{node.op_type} {node.name!r}")
    body.domain, body.name = _DOMAIN, f"{node.op_type}_{len(origins)}_{number}"
    del body.opset_import[:]
    body.opset_import.append(onnx.helper.make_opsetid("", own))
    for index, inner in enumerate(body.node):
        # Inlining would put the name of the call before it.
        inner.name = f"{inner.op_type}_{index}"
    schema = onnx.defs.get_schema(node.op_type, own, "")
    for name, attribute in schema.attributes.items():
        if name not in node.attributes and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            node.attributes[name] = ir.serde.deserialize_attribute(attribute.default_value)
    prefix = node.name or body.name
    for inner in body.node:
        inner.name = f"{prefix}/{inner.name}"
        origins[inner.name] = title
    function = ir.serde.deserialize_function(body)
    model.functions[function.identifier()] = function
    node.domain, node.op_type = _DOMAIN, body.name
    model.graph.opset_imports[_DOMAIN] = 1
    return 1


def _drop_unmade_outputs(body: onnx.FunctionProto, node: ir.Node) -> bool:
    """Leave out optional outputs that the body does not make; tell whether the node does without them."""
    made = {output for inner in body.node for output in inner.output} | set(body.input)
    while body.output and body.output[-1] not in made:
        del body.output[-1]
    needed = [index for index, output in enumerate(node.outputs) if output.uses() or output.is_graph_output()]
    if any(output not in made for output in body.output) or max(needed, default=0) >= len(body.output):
        return False
    if len(node.outputs) > len(body.output):
        node.resize_outputs(len(body.output))
    return True


def _body_of(node: ir.Node, own: int) -> onnx.FunctionProto | None:
    # The stubs of the package onnx lack the bodies of definitions.
    schema: Any = onnx.defs.get_schema(node.op_type, own, "")
    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    if node.op_type in _UNFIT:
        return None
    if any(attribute.is_ref() or attribute.type in graphs for attribute in node.attributes.values()):
        # A body cannot be put in place of a call that hands it a graph.
        return None
    for version in sorted((v for v in schema.function_opset_versions if v <= own), reverse=True):
        found = schema.get_function_with_opset_version(version)
        if found:
            return _function(found)
    types = [b"" if value is None else _type_bytes(value) for value in node.inputs]
    if any(value is not None and not kind for value, kind in zip(node.inputs, types, strict=True)):
        return None
    for version in sorted((v for v in schema.context_dependent_function_opset_versions if v <= own), reverse=True):
        proto = ir.to_proto(node)
        found = schema.get_context_dependent_function_with_opset_version(version, proto.SerializeToString(), types)
        if found:
            return _function(found)
    return None


def _type_bytes(value: ir.Value) -> bytes:
    if value.type is None:
        return b""
    proto: onnx.TypeProto = ir.serde.serialize_value(value).type
    data: bytes = proto.SerializeToString()
    return data


def _function(data: bytes) -> onnx.FunctionProto:
    function = onnx.FunctionProto()
    function.ParseFromString(data)
    return function
