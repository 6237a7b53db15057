"""Writes the head of a safetensors file, so that weights can lie in one.

Source: https://github.com/huggingface/safetensors#format.

An ONNX model refers to such a file as to any other data file, by offsets; the head tells other programs which tensors
are in it. Behind its length (8 bytes) it is JSON; the tensors follow without gaps, so those of the widest type come
first: each then lies at a multiple of the size of its elements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import onnx_ir as ir

__all__ = ["Entry", "head_of"]

Entry = tuple[str, ir.TensorProtocol, int]
"""An entry of the head: name, tensor and number of bytes."""

_NAMES = {
    ir.DataType.BFLOAT16: "BF16",
    ir.DataType.BOOL: "BOOL",
    ir.DataType.COMPLEX64: "C64",
    ir.DataType.DOUBLE: "F64",
    ir.DataType.FLOAT: "F32",
    ir.DataType.FLOAT16: "F16",
    ir.DataType.FLOAT8E4M3FN: "F8_E4M3",
    ir.DataType.FLOAT8E5M2: "F8_E5M2",
    ir.DataType.INT16: "I16",
    ir.DataType.INT32: "I32",
    ir.DataType.INT64: "I64",
    ir.DataType.INT8: "I8",
    ir.DataType.UINT16: "U16",
    ir.DataType.UINT32: "U32",
    ir.DataType.UINT64: "U64",
    ir.DataType.UINT8: "U8",
}
_ALIGNMENT = 64


def head_of(entries: Iterable[Entry]) -> bytes:
    """Return the head of a file in which these tensors follow one another.

    Types that the format lacks go as their bytes.
    """
    head: dict[str, object] = {"__metadata__": {"format": "onnx"}}
    start = 0
    for name, tensor, length in entries:
        key, number = name, 1
        while key in head:
            key, number = f"{name}#{number + 1}", number + 1
        known = _NAMES.get(tensor.dtype)
        head[key] = {
            "dtype": known or "U8",
            "shape": list(tensor.shape.numpy()) if known else [length],
            "data_offsets": [start, start + length],
        }
        start += length
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
