"""Reads a large protobuf file without its weights.

A model in one file has its weights inside. Here the file is mapped and walked through, field by field; the bytes of
large tensors are left where they are, and the model that is parsed refers to them like to external data. Only the main
graph's initializers are left out so: exporters keep no weights elsewhere.

The wire format: https://protobuf.dev/programming-guides/encoding; the field numbers: onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

__all__ = ["skim", "varint"]

_GRAPH = 7  # of ModelProto
_INITIALIZER = 5  # of GraphProto
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14  # of TensorProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_DEFAULT, _EXTERNAL = 0, 1  # of TensorProto.DataLocation
# Wire types.
_VARINT, _FIXED64, _BYTES, _GROUP_START, _GROUP_END, _FIXED32 = range(6)
_DEEPEST_GROUP = 100


def skim(data: mmap.mmap, location: str, *, least: int) -> bytes:
    """Return the model in `data` with every initializer of at least `least` bytes as external data at `location`.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    parts: list[bytes] = []
    for number, wire_type, start, content, end in _fields(data, 0, len(data)):
        if number == _GRAPH and wire_type == _BYTES:
            parts.append(_message(_GRAPH, b"".join(_graph(data, content, end, location, least))))
        else:
            parts.append(data[start:end])
    return b"".join(parts)


def _graph(data: mmap.mmap, start: int, end: int, location: str, least: int) -> Iterator[bytes]:
    done = start
    for number, wire_type, field, content, field_end in _fields(data, start, end):
        if number == _INITIALIZER and wire_type == _BYTES and field_end - content >= least:
            yield data[done:field]
            yield _message(_INITIALIZER, b"".join(_tensor(data, content, field_end, location, least)))
            done = field_end
    yield data[done:end]


def _tensor(data: mmap.mmap, start: int, end: int, location: str, least: int) -> Iterator[bytes]:
    """Yield the tensor with its raw data as external data, or as it is where protobuf reads no large raw data from it.

    If a field is given several times the last one holds, and fields may stand in any order.
    """
    raw: tuple[int, int] | None = None
    is_external = False
    for number, wire_type, _, content, field_end in _fields(data, start, end):
        if number == _RAW_DATA and wire_type == _BYTES:
            raw = content, field_end
        elif number == _DATA_LOCATION and wire_type == _VARINT:
            said = _read_varint(data, content, field_end)[0] & 0xFFFFFFFF
            if said in (_DEFAULT, _EXTERNAL):
                # Any other number is no value of this enumeration, and protobuf sets it aside.
                is_external = said == _EXTERNAL
    if raw is None or is_external or raw[1] - raw[0] < least:
        yield data[start:end]
        return
    replaced = {(_RAW_DATA, _BYTES), (_EXTERNAL_DATA, _BYTES), (_DATA_LOCATION, _VARINT)}
    for number, wire_type, field, _, field_end in _fields(data, start, end):
        if (number, wire_type) not in replaced:
            yield data[field:field_end]
    yield _varint_field(_DATA_LOCATION, _EXTERNAL)
    entries = {"location": location, "offset": str(raw[0]), "length": str(raw[1] - raw[0])}
    for key, value in entries.items():
        entry = _message(_KEY, key.encode()) + _message(_VALUE, value.encode())
        yield _message(_EXTERNAL_DATA, entry)


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield number, wire type, start, start of the content and end of every field."""
    while position < end:
        start = position
        tag, content = _read_varint(data, position, end)
        position, content = _end_of(data, tag, content, end, 0)
        yield tag >> 3, tag & 7, start, content, position


def _end_of(data: mmap.mmap, tag: int, content: int, end: int, depth: int) -> tuple[int, int]:
    """Return where the field ends whose tag ends at `content`, and where its content starts behind any length."""
    wire_type = tag & 7
    position = content
    if wire_type == _VARINT:
        _, position = _read_varint(data, position, end)
    elif wire_type == _FIXED64:
        position += 8
    elif wire_type == _BYTES:
        length, content = _read_varint(data, position, end)
        position = content + length
    elif wire_type == _GROUP_START and depth < _DEEPEST_GROUP:
        position = _end_of_group(data, tag, position, end, depth)
    elif wire_type == _FIXED32:
        position += 4
    else:
        raise ValueError(f"wire type {wire_type} before byte {content}")
    if position > end:
        raise ValueError(f"the file ends within the field at byte {content}")
    return position, content


def _end_of_group(data: mmap.mmap, tag: int, position: int, end: int, depth: int) -> int:
    """Return where a group ends: ONNX has none, but messages of a later version may, which protobuf passes over."""
    while True:
        inner, position = _read_varint(data, position, end)
        if inner & 7 == _GROUP_END:
            if inner >> 3 != tag >> 3:
                raise ValueError(f"the group before byte {position} does not end")
            return position
        position, _ = _end_of(data, inner, position, end, depth + 1)


def _read_varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= end or shift > 63:
            raise ValueError(f"the number at byte {position} does not end")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def varint(value: int) -> bytes:
    """Encode a number as protobuf writes it."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)
