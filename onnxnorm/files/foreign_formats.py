"""Tells by its first bytes what a file is that is no ONNX model, and what to do with it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Family", "ForeignFormat", "foreign_format"]


class Family(enum.Enum):
    """The families of foreign formats for which a command has advice of its own."""

    CHECKPOINT = "checkpoint"
    """The formats of `torch.save`, and other archives and pickles."""
    ARRAY = "array"
    PICTURE = "picture"
    OTHER = "other"


@dataclass(frozen=True)
class ForeignFormat:
    """The format of a file that is no ONNX model.

    Attributes:
        what: what the file is, with its article.
        advice: what to do with it; "" where nothing helps.
        family: whether it is one of those for which a command has advice of its own.
    """

    what: str
    advice: str = ""
    family: Family = Family.OTHER

    @property
    def is_archive(self) -> bool:
        """Whether it is a ZIP archive, as checkpoints and .npz files both are."""
        return self is _ARCHIVE

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}" if self.advice else self.what


_EXPORT = "weights without a network: write it with `onnxnorm export path/to/script.py:factory OUT --weights FILE`"
_ARCHIVE = ForeignFormat("a PyTorch checkpoint, or another archive", _EXPORT, Family.CHECKPOINT)
_PICKLE = ForeignFormat("a Python pickle, such as an old PyTorch checkpoint", _EXPORT, Family.CHECKPOINT)
_SAFETENSORS = ForeignFormat("a safetensors file", _EXPORT, Family.CHECKPOINT)
_BY_BEGINNING = (
    (b"PK\x03\x04", _ARCHIVE),
    *((bytes((0x80, version)), _PICKLE) for version in (2, 3, 4, 5)),
    (
        b"version https://git-lfs",
        ForeignFormat("a pointer to a file in Git LFS", "fetch the file itself with `git lfs pull`"),
    ),
    (b"<", ForeignFormat("a web page or XML", "fetch the model itself")),
    (b"{", ForeignFormat("JSON text", "where it is a model, onnx.load(path, format='json') reads it")),
    (b"ir_version:", ForeignFormat("protobuf text", "onnx.load(path, format='textproto') reads it")),
    (b"\x1f\x8b", ForeignFormat("compressed by gzip", "unpack it")),
    (b"BZh", ForeignFormat("compressed by bzip2", "unpack it")),
    (b"\xfd7zXZ", ForeignFormat("compressed by xz", "unpack it")),
    (b"\x28\xb5\x2f\xfd", ForeignFormat("compressed by zstd", "unpack it")),
    (b"7z\xbc\xaf", ForeignFormat("a 7z archive", "unpack it")),
    (b"GGUF", ForeignFormat("a GGUF file of weights", "fetch the model that it was made of")),
    (b"\x89HDF", ForeignFormat("an HDF5 file, such as a Keras model", "convert it with tf2onnx")),
    (b"\x89PNG", ForeignFormat("a PNG picture", family=Family.PICTURE)),
    (b"\xff\xd8\xff", ForeignFormat("a JPEG picture", family=Family.PICTURE)),
    (b"\x93NUMPY", ForeignFormat("a NumPy array", family=Family.ARRAY)),
)
_BY_MARK = {
    b"ORTM": ForeignFormat("a model in onnxruntime's own format, which only onnxruntime runs", "fetch the .onnx file"),
    b"TFL3": ForeignFormat("a TensorFlow Lite model", "convert it with tf2onnx"),
}
_ONNX_TEXT = ForeignFormat("a model in ONNX's text form", "onnx.load(path, format='onnxtxt') reads it")
_PLAIN_TEXT = ForeignFormat("plain text", "fetch or export the model itself")
_BEGINNING_OF_ONNX_TEXT = re.compile(rb"\s*<\s*(ir_version|opset_import)")
_PRINTABLE = re.compile(rb"[\t\n\r\x20-\x7e]{4,}")


def foreign_format(path: Path) -> ForeignFormat | None:
    """Return what the file is and what to do; None where it tells nothing, or cannot be read."""
    try:
        with path.open("rb") as file:
            beginning = file.read(32)
    except OSError:
        return None
    # Its head is JSON behind eight bytes that say how long it is.
    if beginning[4:8] == bytes(4) and beginning[8:9] == b"{":
        return _SAFETENSORS
    if beginning[4:8] in _BY_MARK:
        return _BY_MARK[beginning[4:8]]
    if _BEGINNING_OF_ONNX_TEXT.match(beginning):
        return _ONNX_TEXT
    stripped = beginning.lstrip(b"\xef\xbb\xbf \r\n\t")
    for mark, found in _BY_BEGINNING:
        if beginning.startswith(mark) or stripped.startswith(mark):
            return found
    return _PLAIN_TEXT if _PRINTABLE.fullmatch(beginning) else None
