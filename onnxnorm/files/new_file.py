"""Makes files appear whole or not at all, also when the process is killed, the disk is full or two write at once.

A file is written without a name (Linux: O_TMPFILE, so that nothing is left of it when the process dies), brought to
disk, and only then takes its place. Where nothing stands there it is given the name; what stands there is replaced by a
rename, for which the file needs a name for a moment. It is locked until then: a file with such a name and without a
lock is what a dead process left, and the next to write in the folder removes it.

Of a model with data files the data come first; the model, which names them, is last and is the switch from old to new.
New data never take the name of data that an old model needs. Until the model is there they bear a mark (an extended
attribute), by which the next to write the same model knows them if the process dies in between.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from onnxnorm.files.folders import MARK, PREFIX, SUFFIX, lock_file, locked
from onnxnorm.files.write_behind import SENT_AT_ONCE, Behind, reserve

__all__ = ["NewFile"]

_Bytes: TypeAlias = "bytes | bytearray | memoryview"

_BLOCK = 2**20


class NewFile:
    """A file in the making, in the folder of its final place. Use as a context manager: what is not published goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary: Path | None = None
        self._behind = Behind()
        self.fd = _nameless(folder)
        if self.fd >= 0:
            lock_file(self.fd)
            return
        # Only where files need names: a small network is written in less time than this takes to import.
        import tempfile

        # Whoever looks for what others left holds the lock of the folder, and so finds no name without its lock.
        with locked(folder):
            self.fd, name = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=folder)
            self._temporary = Path(name)
            lock_file(self.fd)
        _open_to_all(self._temporary)

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def is_nameless(self) -> bool:
        return self._temporary is None

    def reserve(self, start: int, end: int) -> None:
        """Take room on the disk for what will be written there."""
        reserve(self.fd, start, end)

    def write(self, data: _Bytes, offset: int) -> int:
        """Write all of `data` from `offset` on, from any thread; return the end of it."""
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(self.fd, view[:_BLOCK], offset)
            self._behind.wrote(self.fd, offset, written)
            view, offset = view[written:], offset + written
        return offset

    def copy(self, source: int, start: int, count: int, offset: int) -> int:
        """Write `count` bytes of the file `source`, from `start` on, to `offset`; the kernel copies. Return their end.

        Raises:
            OSError: the source ends too early, or the disk is full.
        """
        while count:
            try:
                copied = os.copy_file_range(source, self.fd, min(count, SENT_AT_ONCE), start, offset)
            except (AttributeError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _NOT_IN_KERNEL:
                    raise
                break
            if not copied:
                break
            self._behind.wrote(self.fd, offset, copied)
            start, offset, count = start + copied, offset + copied, count - copied
        while count:
            block = os.pread(source, min(count, _BLOCK), start)
            if not block:
                raise OSError("the source file ended while it was copied")
            offset = self.write(block, offset)
            start, count = start + len(block), count - len(block)
        return offset

    def sync(self) -> None:
        os.fsync(self.fd)

    def replace(self, target: Path) -> None:
        """Take the place of `target`, whatever stands there."""
        if self._temporary is None and self.publish(target):
            return
        if self._temporary is None:
            self._temporary = self._named()
        self._temporary.replace(target)
        self._temporary = None

    def publish(self, target: Path) -> bool:
        """Take the name `target` if nobody has it; tell whether that was so."""
        try:
            if self._temporary is None:
                _link(self.fd, target, self._folder)
            else:
                os.link(self._temporary, target)
        except FileExistsError:
            return False
        except OSError:
            # A file system without hard links; who publishes holds the lock of the folder.
            if self._temporary is None:
                raise
            if target.exists():
                return False
            self._temporary.rename(target)
            self._temporary = None
        return True

    def is_at(self, path: Path) -> bool:
        """Whether `path` is this very file."""
        try:
            return os.path.samestat(os.fstat(self.fd), path.stat())
        except OSError:
            return False

    def mark(self) -> None:
        """Mark the file as of no use yet; without effect where the file system has no such attributes."""
        with contextlib.suppress(AttributeError, OSError):
            os.setxattr(self.fd, MARK, b"")

    def unmark(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.removexattr(self.fd, MARK)

    def _named(self) -> Path:
        while True:
            path = self._folder / f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}"
            with contextlib.suppress(FileExistsError):
                _link(self.fd, path, self._folder)
                return path


def _nameless(folder: Path) -> int:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not Path("/proc/self/fd").is_dir():
        return -1
    try:
        return os.open(folder, flag | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError:
        # The file system does not know files without names; what else is wrong shows when one with a name is made.
        return -1


def _link(fd: int, path: Path, folder: Path) -> None:
    # Only with a folder's descriptor does Python follow the link in /proc, as linkat(2) wants it.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=descriptor, follow_symlinks=True)
    finally:
        os.close(descriptor)


def _open_to_all(path: Path) -> None:
    # mkstemp makes private files; the result gets the permissions that a plain open() would have given.
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


# EBADF to EOPNOTSUPP: what file systems answer that cannot copy between these two files.
_NOT_IN_KERNEL = frozenset({1, 9, 18, 22, 26, 38, 95})
