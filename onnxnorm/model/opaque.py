"""Carries what onnx-ir has no words for through it unread: maps, and sparse constants.

Types with a map in them become sparse tensors of no element type, and sparse attributes texts; each holds the message
that it stands for, which takes its place again where the model is written. What stands in functions is not carried.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import onnx

from onnxnorm.model.protobuf import graphs_of_node

__all__ = ["restore_attribute", "restore_type", "with_opaque_parts"]

_MARK = "onnxnorm.opaque:"
_SPARSE = (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS)


def with_opaque_parts(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the message without maps and sparse attributes in its graphs."""
    same = onnx.ModelProto()
    same.CopyFrom(proto)
    for graph in _graphs(same.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if _has_map(value.type):
                text = _text(value.type)
                value.type.Clear()
                value.type.denotation = text
                value.type.sparse_tensor_type.elem_type = onnx.TensorProto.UNDEFINED
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type in _SPARSE and not attribute.ref_attr_name:
                    name, text = attribute.name, _text(attribute)
                    attribute.Clear()
                    attribute.name, attribute.type, attribute.s = name, onnx.AttributeProto.STRING, text.encode()
    return same


def restore_type(proto: onnx.TypeProto) -> None:
    """Put the type that was carried in this one, if any, in its place."""
    if proto.denotation.startswith(_MARK):
        proto.ParseFromString(_message(proto.denotation))


def restore_attribute(proto: onnx.AttributeProto) -> None:
    """Put the attribute that was carried in this one, if any, in its place."""
    if proto.type == onnx.AttributeProto.STRING and proto.s.startswith(_MARK.encode()):
        proto.ParseFromString(_message(proto.s.decode()))


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    pending = [graph]
    while pending:
        top = pending.pop()
        yield top
        for node in top.node:
            pending.extend(graphs_of_node(node))


def _has_map(proto: onnx.TypeProto) -> bool:
    while True:
        kind = proto.WhichOneof("value")
        if kind not in ("sequence_type", "optional_type"):
            return bool(kind == "map_type")
        proto = getattr(proto, kind).elem_type


def _text(message: onnx.TypeProto | onnx.AttributeProto) -> str:
    return _MARK + base64.b64encode(message.SerializeToString()).decode()


def _message(text: str) -> bytes:
    return base64.b64decode(text[len(_MARK) :])
