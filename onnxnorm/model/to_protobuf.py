"""Writes the structure of a model as a protobuf message, in which weights may be no more than references to files.

onnx-ir serializes everything; here the graph is walked once more by our own hand, for two reasons: its weights are not
to be touched, and what makes up nearly all of a large graph (plain nodes and tensor types) goes three times faster than
by the general way. Whatever is out of the ordinary still goes that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import cast

import onnx
import onnx_ir as ir

from onnxnorm.model.opaque import restore_attribute, restore_type

__all__ = ["TYPES", "Place", "structure"]

TYPES = {dtype.value: dtype for dtype in ir.DataType}
_QUANTIZATION = "quant_parameter_tensor_names"
_PLAIN = {
    ir.AttributeType.INT: "i",
    ir.AttributeType.FLOAT: "f",
    ir.AttributeType.INTS: "ints",
    ir.AttributeType.FLOATS: "floats",
}


@dataclass(frozen=True)
class Place:
    """The place of a tensor's bytes: the file as the model names it, and the range in it."""

    location: str
    offset: int
    length: int


def structure(
    model: ir.Model,
    places: Mapping[int, Place],
    *,
    only: Set[str | None] | None = None,
    annotated: bool = True,
    told: Set[str] | None = None,
) -> onnx.ModelProto:
    """Return the model as a message.

    Args:
        model: is not changed.
        places: for tensors, by `id`, where their bytes are; all others are written into the message.
        only: names of the initializers to which `places` applies, all where None.
        annotated: with what it says of quantization.
        told: names of the computed values whose types are written, all where None.
    """
    shell = ir.Model(
        ir.Graph((), (), nodes=(), opset_imports=model.graph.opset_imports, name=model.graph.name),
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        functions=tuple(model.functions.values()),
        metadata_props=dict(model.metadata_props),
        device_configurations=model.device_configurations,
    )
    proto = ir.serde.serialize_model(shell)
    _Writer(places, only, model.ir_version, annotated, told).graph(proto.graph, model.graph)
    return proto


class _Writer:
    def __init__(
        self,
        places: Mapping[int, Place],
        only: Set[str | None] | None,
        ir_version: int | None,
        annotated: bool,
        told: Set[str] | None,
    ) -> None:
        self._places = places
        self._only = only
        self._ir_version = ir_version
        self._annotated = annotated
        self._told = told
        self._types: dict[object, onnx.TypeProto] = {}

    def graph(self, proto: onnx.GraphProto, graph: ir.Graph) -> None:
        if graph.name:
            proto.name = graph.name
        if graph.doc_string:
            proto.doc_string = graph.doc_string
        for key in sorted(graph.metadata_props):
            proto.metadata_props.add(key=key, value=graph.metadata_props[key])
        inputs = set()
        for value in graph.inputs:
            inputs.add(value)
            self._value(proto.input.add(), value)
            self._annotate(proto, value)
        for value in graph.initializers.values():
            if value not in inputs:
                self._annotate(proto, value)
                # The tensor itself says type and shape; a value_info would say them twice.
                if value.metadata_props or value.doc_string:
                    self._value(proto.value_info.add(), value)
            if value.const_value is not None:
                self._tensor(proto.initializer.add(), value.const_value, value.name)
        outputs = set(graph.outputs)
        for node in graph:
            self._node(proto.node.add(), node)
            for value in node.outputs:
                if value in outputs or not value.name:
                    continue
                self._annotate(proto, value)
                is_typed = value.type is not None and (self._told is None or value.name in self._told)
                if is_typed or value.metadata_props or value.doc_string:
                    self._value(proto.value_info.add(), value)
        for value in graph.outputs:
            self._value(proto.output.add(), value)
            if value.producer() is not None:
                self._annotate(proto, value)

    def _node(self, proto: onnx.NodeProto, node: ir.Node) -> None:
        if node.device_configurations:
            ir.serde.serialize_node_into(proto, node, model_ir_version=self._ir_version)
            return
        proto.op_type = node.op_type
        for name in ("domain", "name", "overload", "doc_string"):
            if text := getattr(node, name):
                setattr(proto, name, text)
        if node.metadata_props:
            for key in sorted(node.metadata_props):
                proto.metadata_props.add(key=key, value=node.metadata_props[key])
        proto.input.extend(["" if value is None else value.name or "" for value in node.inputs])
        outputs = [value.name or "" for value in node.outputs]
        while outputs and not outputs[-1]:
            outputs.pop()
        proto.output.extend(outputs)
        for attribute in node.attributes.values():
            self._attribute(proto.attribute.add(), attribute)

    def _attribute(self, proto: onnx.AttributeProto, attribute: ir.Attr) -> None:
        if attribute.is_ref():
            ir.serde.serialize_reference_attribute_into(proto, attribute)
            return
        kind, value = attribute.type, attribute.value
        field = _PLAIN.get(kind)
        if field is None and kind not in (ir.AttributeType.TENSOR, ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            ir.serde.serialize_attribute_into(proto, attribute)
            restore_attribute(proto)
            return
        proto.name = attribute.name
        proto.type = cast(onnx.AttributeProto.AttributeType, kind.value)
        if attribute.doc_string:
            proto.doc_string = attribute.doc_string
        if field in ("i", "f"):
            setattr(proto, field, value)
        elif field is not None:
            getattr(proto, field).extend(value)
        elif kind is ir.AttributeType.TENSOR:
            self._tensor(proto.t, value, value.name)
        elif kind is ir.AttributeType.GRAPH:
            # An empty graph is one too.
            proto.g.SetInParent()
            self.graph(proto.g, value)
        else:
            for graph in value:
                self.graph(proto.graphs.add(), graph)

    def _tensor(self, proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str | None) -> None:
        place = self._places.get(id(tensor))
        if place is None or (self._only is not None and name not in self._only):
            # By `type`: to `isinstance` the classes of onnx-ir are protocols, of which it asks a lot.
            if type(tensor) is ir.serde.TensorProtoTensor and not tensor.metadata_props:
                proto.CopyFrom(tensor.raw)
            elif type(tensor) is ir.Tensor and not tensor.metadata_props and not tensor.doc_string:
                proto.data_type = tensor.dtype.value
                proto.dims.extend(tensor.shape.numpy())
                proto.raw_data = tensor.tobytes()
            else:
                if isinstance(tensor, ir.ExternalTensor):
                    tensor = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name, doc_string=tensor.doc_string)
                ir.serde.serialize_tensor_into(proto, tensor)
            if name:
                proto.name = name
            return
        if name:
            proto.name = name
        if tensor.doc_string:
            proto.doc_string = tensor.doc_string
        for key, value in (tensor.metadata_props or {}).items():
            proto.metadata_props.add(key=key, value=value)
        proto.data_type = tensor.dtype.value
        proto.dims.extend(tensor.shape.numpy())
        proto.data_location = onnx.TensorProto.EXTERNAL
        proto.external_data.add(key="location", value=place.location)
        proto.external_data.add(key="offset", value=str(place.offset))
        proto.external_data.add(key="length", value=str(place.length))

    def _value(self, proto: onnx.ValueInfoProto, value: ir.Value) -> None:
        kind, shape = value.type, value.shape
        if kind is None and not (value.metadata_props or value.doc_string):
            # A shape without a type cannot be written; onnx-ir says so each time.
            proto.name = value.name or ""
            return
        if value.metadata_props or value.doc_string or type(kind) is not ir.TensorType or kind.denotation:
            ir.serde.serialize_value_into(proto, value)
            restore_type(proto.type)
            return
        proto.name = value.name or ""
        dims: tuple[object, ...] | None = None
        if shape is not None:
            if any(shape.get_denotation(index) for index in range(len(shape))):
                ir.serde.serialize_value_into(proto, value)
                return
            dims = tuple(dim if isinstance(dim, int) else dim.value or "" for dim in shape)
        key = (kind.dtype, dims)
        message = self._types.get(key)
        if message is None:
            message = self._types[key] = _type(kind.dtype, dims)
        proto.type.CopyFrom(message)

    def _annotate(self, proto: onnx.GraphProto, value: ir.Value) -> None:
        names: Mapping[str, str] | None = value.meta.get(_QUANTIZATION) if self._annotated else None
        if names:
            annotation = proto.quantization_annotation.add(tensor_name=value.name)
            for key in sorted(names):
                annotation.quant_parameter_tensor_names.add(key=key, value=names[key])


def _type(dtype: ir.DataType, dims: Iterable[object] | None) -> onnx.TypeProto:
    message = onnx.TypeProto()
    message.tensor_type.elem_type = dtype.value
    if dims is not None:
        message.tensor_type.shape.SetInParent()
        for dim in dims:
            entry = message.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                entry.dim_value = dim
            elif dim:
                entry.dim_param = str(dim)
    return message
