"""Where folded weights go while a model is worked on: into memory as long as they are few, then into a file.

The file has no name and goes with the last tensor in it. It lies in the folder that the caller names, by default the
one for temporary files, and can itself become the data file of the result, if that is written to the same file system.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm._data_files import DataFile, FileTensor
from onnxnorm._errors import OnnxNormError
from onnxnorm._files import NewFile, write_all

__all__ = ["ALIGNMENT", "Spool", "spool_of"]

ALIGNMENT = 4096
_KEY = "onnxnorm.spool"
_IN_MEMORY = 64 * 2**20
_LEAST = 2**16


class Spool:
    """The new weights of one model."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = Path(tempfile.gettempdir() if folder is None else folder)
        self._in_memory = 0
        self._file: NewFile | None = None
        self._data_file: DataFile | None = None
        self._end = 0

    def tensor(self, array: npt.NDArray[np.generic], dtype: ir.DataType, name: str | None) -> ir.TensorProtocol:
        """The array as a tensor, kept in memory or in the file."""
        if array.nbytes < _LEAST or dtype.bitwidth < 8 or self._in_memory + array.nbytes <= _IN_MEMORY:
            self._in_memory += array.nbytes
            return ir.Tensor(array, dtype=dtype, name=name)
        try:
            if self._file is None or self._data_file is None:
                self._file = NewFile(self._folder)
                self._data_file = DataFile(self._folder / "new weights", os.dup(self._file.fd))
            offset = -(-self._end // ALIGNMENT) * ALIGNMENT
            os.lseek(self._file.fd, offset, os.SEEK_SET)
            ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            write_all(self._file.fd, ordered.reshape(-1).view(np.uint8).data)
        except OSError as error:
            raise OnnxNormError(
                f"{self._folder}: cannot keep the new weights there: {error.strerror or error}; name a folder with "
                "more room as the workspace"
            ) from error
        self._end = offset + array.nbytes
        return FileTensor(self._data_file, offset, array.nbytes, dtype, shape=ir.Shape(array.shape), name=name or "")

    def claim(self, folder: Path) -> tuple[NewFile, DataFile, int] | None:
        """Give the file away to become one of the result, with what is in it and where that ends; once at most."""
        if self._file is None or self._data_file is None or self._file.fd < 0:
            return None
        if os.fstat(self._file.fd).st_dev != folder.stat().st_dev or not self._file.is_nameless:
            return None
        claimed, self._file = self._file, None
        return claimed, self._data_file, self._end


def spool_of(model: ir.Model, folder: str | os.PathLike[str] | None = None) -> Spool:
    """The spool of the model, made on the first call."""
    spool = model.meta.get(_KEY)
    if not isinstance(spool, Spool) or folder is not None:
        spool = Spool(folder)
        model.meta[_KEY] = spool
    return spool
