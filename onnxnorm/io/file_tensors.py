"""Tensors that stay in their files: mapped when they are read, copied from file to file when they are written.

The module also decides whether a file that a model names may be read at all. A model from a stranger may name any path;
it gets what lies in its own folder. In a model cache both the model and its data are links into one folder of contents,
so the folder in which the model itself really lies counts too.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.file_map import FileMap

__all__ = ["DataFile", "FileTensor", "find_data_file"]

_PACKED_BITS = 8


class DataFile:
    """An open file of weights, mapped once for all of its tensors; closed when the last of them is gone.

    `is_model`: it is a model itself, with weights inside.
    """

    def __init__(self, path: Path, fd: int | None = None, *, is_model: bool = False) -> None:
        self.path = path
        self.is_model = is_model
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)) if fd is None else fd
        self._map: FileMap | None = None

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self.fd)

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def bytes(self, offset: int, count: int) -> npt.NDArray[np.uint8]:
        """Return the mapped bytes, read only."""
        if self._map is None or len(self._map) < offset + count:
            self._map = FileMap(self.fd, self.path)
        return np.frombuffer(self._map, np.uint8, count, offset)


class FileTensor(ir.ExternalTensor):
    """A tensor in a file that has been found fit to be read."""

    __slots__ = ("data_file",)

    def __init__(self, data_file: DataFile, offset: int, length: int, dtype: ir.DataType, **options: Any) -> None:
        # Without a base_dir onnx-ir checks no path: ours have been checked.
        super().__init__(str(data_file.path), offset, length, dtype, **options)
        self.data_file = data_file

    @property
    def start(self) -> int:
        return self.offset or 0

    def numpy(self) -> npt.NDArray[Any]:
        if self.size == 0 or self.dtype.bitwidth < _PACKED_BITS:
            return super().numpy()
        return self._bytes().view(self.dtype.numpy().newbyteorder("<")).reshape(self.shape.numpy())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype)

    def tobytes(self) -> bytes:
        return self._bytes().tobytes()

    def _bytes(self) -> npt.NDArray[np.uint8]:
        return self.data_file.bytes(self.start, self.length or 0) if self.length else np.empty(0, np.uint8)


def find_data_file(model: Path, location: str) -> Path:
    """Find the file of weights that the model at `model` calls `location`.

    Raises:
        OnnxNormError: it is missing, or lies where the model has no business.
    """
    if not location or "\0" in location:
        raise OnnxNormError(f"{model}: names no usable file for its external data ({location!r}); export it again")
    if Path(location).is_absolute():
        raise OnnxNormError(
            f"{model}: names its external data by the absolute path {location!r}; only files beside the model are "
            "read, so move the file there and let the model name it by a relative path"
        )
    path = model.parent / location
    real = Path(os.path.realpath(path))
    roots = [Path(os.path.realpath(model.parent)), Path(os.path.realpath(model)).parent]
    lexical = Path(os.path.normpath(path.absolute()))
    if not lexical.is_relative_to(os.path.normpath(model.parent.absolute())) or not any(
        real.is_relative_to(root) for root in roots
    ):
        raise OnnxNormError(
            f"{model}: its external data {location!r} lies outside of the model's folder ({real}); "
            "if you trust the model, move the file beside it"
        )
    if not real.is_file():
        raise OnnxNormError(f"{model}: its external data {location!r} is missing; keep the data file beside the model")
    links = real.stat().st_nlink
    if links > 1 and _names_within(real, roots) < links:
        raise OnnxNormError(
            f"{model}: its external data {location!r} is a hard link to a file that has another name outside of the "
            "model's folder; if you trust the model, put a copy in its place"
        )
    return real


def _names_within(path: Path, roots: list[Path]) -> int:
    """Count how many of the names of the file lie in the folders themselves."""
    wanted = path.stat()
    found = 0
    for folder in {*roots, path.parent}:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.inode() == wanted.st_ino and entry.is_file(follow_symlinks=False):
                    found += 1
    return found
