"""Checks that the parts of a message are those of a plain network: sound, and of the few kinds that occur there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxnorm.numerics.arrays import MAX_RANK
from onnxnorm.validate.attributes import SWITCHES

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto, TensorProto, ValueInfoProto

__all__ = [
    "FLOAT",
    "NotPlainError",
    "attributes_of",
    "has_its_elements",
    "has_text",
    "is_text",
    "is_typed",
    "keeps_places",
    "number",
    "require",
    "whole",
]

FLOAT = 1
"""The number of `TensorProto.DataType.FLOAT`, so that the package onnx, which is large, is not needed."""
# Bytes of an element: the types of weights, indices and shapes.
_SIZES = {FLOAT: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
_INT64 = 7
_DATA = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
# FieldDescriptor.Type.
_STRING, _MESSAGE = 9, 11
# AttributeProto.AttributeType: FLOAT, INT, STRING, FLOATS, INTS.
_A_FLOAT, _A_INT, _A_STRING = 1, 2, 3
_ATTRIBUTES = {_A_FLOAT: "f", _A_INT: "i", _A_STRING: "s", 6: "floats", 7: "ints"}


class NotPlainError(Exception):
    """Raised where the network is not plain, in its parts or in its numbers."""


def require(condition: bool) -> None:
    """Raise `NotPlainError` where the condition does not hold."""
    if not condition:
        raise NotPlainError


def has_its_elements(tensor: TensorProto) -> bool:
    """Whether the elements are in the tensor itself, in one form, and as many as its shape says."""
    itemsize, dims = _SIZES.get(tensor.data_type), tensor.dims
    if itemsize is None or tensor.data_location or tensor.external_data or not tensor.name or not has_text(tensor):
        return False
    if (dims and min(dims) < 0) or tensor.HasField("segment"):
        return False
    # Those of other types are raw data, or in fields that are not read here.
    own = {FLOAT: "float_data", _INT64: "int64_data"}.get(tensor.data_type)
    if any(getattr(tensor, name) for name in _DATA if name != own):
        return False
    size = itemsize * math.prod(dims)
    elements = len(getattr(tensor, own)) if own else 0
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) == size and not elements
    return bool(itemsize * elements == size)


def is_text(message: Any, left_out: Sequence[str] = ()) -> bool:
    """Whether every string in the message, but for some of its fields, is text: what is no UTF-8 comes as bytes."""
    for descriptor, value in message.ListFields():
        if descriptor.name in left_out or descriptor.type not in (_STRING, _MESSAGE):
            continue
        for each in value if hasattr(value, "extend") else (value,):
            if type(each) is not str and (descriptor.type == _STRING or not is_text(each)):
                return False
    return True


def has_text(part: NodeProto | TensorProto) -> bool:
    """Whether `is_text` holds for the statements about a node or a tensor, found in a fraction of the time."""
    return type(part.name) is type(part.doc_string) is str and all(map(is_text, part.metadata_props))


def is_typed(value: ValueInfoProto) -> bool:
    """Whether the value is stated to be a tensor, of a type that weights may have, with something in it."""
    kind = value.type
    if kind.WhichOneof("value") != "tensor_type" or kind.tensor_type.elem_type not in _SIZES:
        return False
    dims = kind.tensor_type.shape.dim
    return is_text(value) and all(dim.dim_value > 0 for dim in dims if dim.HasField("dim_value"))


def attributes_of(node: NodeProto) -> dict[str, AttributeProto]:
    """Return the attributes by name; each is required to have what its type says, and nothing else."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    require(len(attributes) == len(node.attribute))
    for name, attribute in attributes.items():
        require(type(name) is str and name != "" and attribute.type in _ATTRIBUTES)
        own = _ATTRIBUTES[attribute.type]
        present = {field.name for field, _ in attribute.ListFields()}
        require(present <= {"name", "type", "doc_string", own} and (own in present or own in ("floats", "ints")))
        require(attribute.type != _A_STRING or attribute.s.isascii())
        require(type(attribute.doc_string) is str)
        require(name not in SWITCHES or (attribute.type == _A_INT and attribute.i in (0, 1)))
        require(name != "axis" or abs(attribute.i) <= MAX_RANK)
    return attributes


def keeps_places(attributes: Mapping[str, AttributeProto]) -> bool:
    """Whether a window of size 1 is put on every place once."""
    if "auto_pad" in attributes and attributes["auto_pad"].s != b"NOTSET":
        return False
    wanted = {"pads": 0, "strides": 1}
    return all({*attributes[name].ints} <= {value} for name, value in wanted.items() if name in attributes)


def number(attributes: Mapping[str, AttributeProto], name: str, default: float) -> float:
    """Return the attribute, which is required to be a real number, or the default."""
    attribute = _of_type(attributes, name, _A_FLOAT)
    return default if attribute is None else attribute.f


def whole(attributes: Mapping[str, AttributeProto], name: str, default: int) -> int:
    """Return the attribute, which is required to be an integer, or the default."""
    attribute = _of_type(attributes, name, _A_INT)
    return default if attribute is None else attribute.i


def _of_type(attributes: Mapping[str, AttributeProto], name: str, kind: int) -> AttributeProto | None:
    attribute = attributes.get(name)
    require(attribute is None or attribute.type == kind)
    return attribute
