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
_BYTES = 2  # the wire type of strings and messages


def skim(data: mmap.mmap, location: str, *, least: int) -> bytes:
    """The model in `data` with every initializer of at least `least` bytes as external data at `location`.

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
    for number, wire_type, field, content, field_end in _fields(data, start, end):
        if number == _RAW_DATA and wire_type == _BYTES and field_end - content >= least:
            yield _varint_field(_DATA_LOCATION, 1)
            entries = {"location": location, "offset": str(content), "length": str(field_end - content)}
            for key, value in entries.items():
                entry = _message(_KEY, key.encode()) + _message(_VALUE, value.encode())
                yield _message(_EXTERNAL_DATA, entry)
        else:
            yield data[field:field_end]


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, start, start of the content and end of every field."""
    while position < end:
        start = position
        tag, position = _read_varint(data, position, end)
        wire_type = tag & 7
        content = position
        if wire_type == 0:
            _, position = _read_varint(data, position, end)
        elif wire_type == 1:
            position += 8
        elif wire_type == _BYTES:
            length, content = _read_varint(data, position, end)
            position = content + length
        elif wire_type == 5:
            position += 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {start}")
        if position > end:
            raise ValueError(f"the file ends within the field at byte {start}")
        yield tag >> 3, wire_type, start, content, position


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
    """A number as protobuf writes it."""
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
