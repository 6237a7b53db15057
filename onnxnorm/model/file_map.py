"""Maps files of weights, gives their pages back to the system between uses, and says where in a file an array lies."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FileMap", "map_behind", "place_of"]


class FileMap(mmap.mmap):
    """A whole file, mapped to be read alone: pages that are let go are read again from the file."""

    _path: Path
    _identity: tuple[int, int]

    def __new__(cls, fd: int, path: Path) -> FileMap:
        """
        Args:
            fd: the open file.
            path: its name, as far as it has one.
        """
        mapped = super().__new__(cls, fd, 0, access=mmap.ACCESS_READ)
        mapped._path, mapped._identity = path, _identity(os.fstat(fd))
        return mapped

    def let_go(self) -> None:
        """Give the pages back, so that they no longer count as memory of this process."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.madvise(mmap.MADV_DONTNEED)

    @property
    def path(self) -> Path | None:
        """The real path of the file; None where it has no name, or another file has it by now."""
        with contextlib.suppress(OSError):
            real = self._path.resolve(strict=True)
            return real if _identity(real.stat()) == self._identity else None
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def map_behind(array: npt.NDArray[Any]) -> FileMap | None:
    """Return the file in which the elements of an array lie; None where they lie elsewhere."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return base if isinstance(base, FileMap) else None


def place_of(array: npt.NDArray[Any]) -> tuple[Path, int] | None:
    """Return the file and the byte at which the elements of an array begin; None where no file has them so.

    They lie there one behind the other, of the machine's byte order, at a multiple of their size.
    """
    mapped = map_behind(array)
    is_plain = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative and sys.byteorder == "little"
    if mapped is None or not is_plain or not array.size:
        return None
    path = mapped.path
    start = np.frombuffer(mapped, np.uint8, 1).ctypes.data
    return None if path is None else (path, array.ctypes.data - start)
