"""Keeps folded weights while a model is worked on: in memory as long as they are few, then in a file.

The file has no name and goes with the last tensor in it. It lies in the folder that the caller names, by default the
one for temporary files, and can itself become the data file of the result, if that is written to the same file system.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.files.new_file import NewFile
from onnxnorm.io.file_tensors import DataFile, FileTensor
from onnxnorm.model.walk import stored_bytes

__all__ = ["ALIGNMENT", "Room", "Spool", "spool_of"]

ALIGNMENT = 4096
_KEY = "onnxnorm.spool"
_IN_MEMORY = 64 * 2**20
_LEAST = 2**16
_LEAST_IN_USE = 0.95


class Spool:
    """The spool: the new weights of one model, in memory or in a file without a name."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = Path(tempfile.gettempdir() if folder is None else folder)
        self._in_memory = 0
        self._file: NewFile | None = None
        self._data_file: DataFile | None = None
        self._end = 0

    def tensor(self, array: npt.NDArray[np.generic], dtype: ir.DataType, name: str | None) -> ir.TensorProtocol:
        """Return the array as a tensor, kept in memory or in the file."""
        room = self.room(array.shape, dtype)
        if room is None:
            self._in_memory += array.nbytes
            return ir.Tensor(array, dtype=dtype, name=name)
        room.put(0, array)
        room.tensor.name = name or ""
        return room.tensor

    def room(self, shape: tuple[int, ...], dtype: ir.DataType) -> Room | None:
        """Reserve room in the file for a tensor; None where it belongs in memory."""
        if dtype.bitwidth < 8:
            return None
        size = stored_bytes(dtype, shape)
        if size < _LEAST or self._in_memory + size <= _IN_MEMORY:
            return None
        with self._complaining():
            if self._file is None or self._data_file is None:
                self._file = NewFile(self._folder)
                self._data_file = DataFile(self._folder / "new weights", os.dup(self._file.fd))
                self._end = 0
        offset = -(-self._end // ALIGNMENT) * ALIGNMENT
        self._end = offset + size
        self._file.reserve(offset, self._end)
        tensor = FileTensor(self._data_file, offset, size, dtype, shape=ir.Shape(shape), name="")
        return Room(tensor, self._file, self._complaining)

    @property
    def end(self) -> tuple[int, int]:
        """The amount that is held in memory and in the file, for `back_to`."""
        return self._in_memory, self._end

    def back_to(self, end: tuple[int, int]) -> None:
        """Free the room of the weights made since `end`; nothing may refer to them any more."""
        self._in_memory, self._end = end

    def claim(self, folder: Path, tensors: Iterable[ir.TensorProtocol]) -> tuple[NewFile, DataFile, int] | None:
        """Give the file away to become one of the result, with what is in it and where that ends; once at most.

        None where it cannot lie in `folder`, or much in it is not among `tensors`: weights that changed twice.
        """
        if self._file is None or self._data_file is None or self._file.fd < 0:
            return None
        lengths = {
            tensor.start: tensor.length or 0
            for tensor in tensors
            if isinstance(tensor, FileTensor) and tensor.data_file is self._data_file
        }
        if sum(-(-length // ALIGNMENT) * ALIGNMENT for length in lengths.values()) < self._end * _LEAST_IN_USE:
            return None
        if os.fstat(self._file.fd).st_dev != folder.stat().st_dev or not self._file.is_nameless:
            return None
        claimed, self._file = self._file, None
        return claimed, self._data_file, self._end

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OnnxNormError(
                f"{self._folder}: cannot keep the new weights there: {error.strerror or error}; name a folder with "
                "more room as the workspace"
            ) from error


@dataclass(frozen=True, eq=False)
class Room:
    """Room for one tensor in the file, which can be filled piece by piece, by several threads at once."""

    tensor: FileTensor
    _file: NewFile
    _complaining: Callable[[], contextlib.AbstractContextManager[None]]

    def put(self, first: int, elements: npt.NDArray[np.generic]) -> None:
        """Put `elements` there, from the one with the number `first` on, in C order."""
        ordered = np.ascontiguousarray(elements, elements.dtype.newbyteorder("<"))
        with self._complaining():
            self._file.write(ordered.reshape(-1).view(np.uint8).data, self.tensor.start + first * ordered.itemsize)


def spool_of(model: ir.Model, folder: str | os.PathLike[str] | None = None) -> Spool:
    """Return the spool of the model, made on the first call."""
    spool = model.meta.get(_KEY)
    if not isinstance(spool, Spool) or folder is not None:
        spool = Spool(folder)
        model.meta[_KEY] = spool
    return spool
