"""Tells by its first bytes what a file is that is no ONNX model, and what to do with it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["foreign_format"]

_EXPORT = "weights without a network: write it with `onnxnorm export path/to/script.py:factory OUT --weights FILE`"
_BY_BEGINNING = (
    (b"PK\x03\x04", f"a PyTorch checkpoint, or another archive: {_EXPORT}"),
    (b"\x80\x02", f"a Python pickle, such as an old PyTorch checkpoint: {_EXPORT}"),
    (b"version https://git-lfs", "a pointer to a file in Git LFS: fetch the file itself with `git lfs pull`"),
    (b"<", "a web page or XML: fetch the model itself"),
    (b"{", "JSON text: where it is a model, onnx.load(path, format='json') reads it"),
    (b"ir_version:", "protobuf text: onnx.load(path, format='textproto') reads it"),
    (b"\x1f\x8b", "compressed by gzip: unpack it"),
    (b"\x89HDF", "an HDF5 file, such as a Keras model: convert it with tf2onnx"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x93NUMPY", "a NumPy array"),
)
_ONNX_TEXT = re.compile(rb"\s*<\s*(ir_version|opset_import)")
_PLAIN_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]{4,}")
_BY_MARK = {
    b"ORTM": "a model in onnxruntime's own format, which only onnxruntime runs: fetch the .onnx file",
    b"TFL3": "a TensorFlow Lite model: convert it with tf2onnx",
}


def foreign_format(path: Path) -> str | None:
    """Return what the file is and what to do; None where it tells nothing, or cannot be read."""
    try:
        with path.open("rb") as file:
            beginning = file.read(32)
    except OSError:
        return None
    if beginning[4:8] in _BY_MARK:
        return _BY_MARK[beginning[4:8]]
    if _ONNX_TEXT.match(beginning):
        return "a model in ONNX's text form: onnx.load(path, format='onnxtxt') reads it"
    stripped = beginning.lstrip(b"\xef\xbb\xbf \r\n\t")
    found = next(
        (what for mark, what in _BY_BEGINNING if beginning.startswith(mark) or stripped.startswith(mark)), None
    )
    return found or ("plain text: fetch or export the model itself" if _PLAIN_TEXT.fullmatch(beginning) else None)
