"""Files that appear whole or not at all, also when the process is killed, the disk is full or two write at once.

A file is written without a name (Linux: O_TMPFILE, so that nothing is left of it when the process dies), brought to
disk, and only then takes its place by a rename. Of a model with data files the data come first; the model, which names
them, is renamed last and is the switch from old to new. New data never take the name of data that an old model needs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

__all__ = ["NewFile", "copy_range", "locked", "sync_folder", "write_all"]

_BLOCK = 2**20
_SENT_AT_ONCE = 2**25


class NewFile:
    """A file in the making, in the folder of its final place. Use as a context manager: what is not published goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary: Path | None = None
        self.fd = _nameless(folder)
        if self.fd < 0:
            self.fd, name = tempfile.mkstemp(prefix=".onnxnorm.", suffix=".tmp", dir=folder)
            self._temporary = Path(name)
            _open_to_all(self._temporary)

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    @property
    def is_nameless(self) -> bool:
        return self._temporary is None

    def sync(self) -> None:
        os.fsync(self.fd)

    def replace(self, target: Path) -> None:
        """Take the place of `target`, whatever stands there."""
        if self._temporary is None:
            self._temporary = self._named()
        self._temporary.replace(target)
        self._temporary = None

    def publish(self, target: Path) -> bool:
        """Take the name `target` if nobody has it; tells whether that was so."""
        try:
            if self._temporary is None:
                _link(self.fd, target, self._folder)
            else:
                os.link(self._temporary, target)
        except FileExistsError:
            return False
        return True

    def _named(self) -> Path:
        while True:
            path = self._folder / f".onnxnorm.{secrets.token_hex(8)}.tmp"
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


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of `data` at the descriptor's position."""
    view = memoryview(data).cast("B")
    sent = 0
    while view:
        written = os.write(fd, view[:_BLOCK])
        view, sent = view[written:], sent + written
        if sent >= _SENT_AT_ONCE:
            sent = _start_sync(fd, sent)


def copy_range(source: int, offset: int, count: int, target: int) -> None:
    """Write `count` bytes of the file `source`, from `offset` on, at the position of `target`; the kernel copies.

    Raises:
        OSError: the source ends too early, or the disk is full.
    """
    while count:
        try:
            copied = os.copy_file_range(source, target, min(count, _SENT_AT_ONCE), offset)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NOT_IN_KERNEL:
                raise
            break
        if not copied:
            break
        offset, count = offset + copied, count - copied
        _start_sync(target, copied)
    while count:
        block = os.pread(source, min(count, _BLOCK), offset)
        if not block:
            raise OSError("the source file ended while it was copied")
        write_all(target, block)
        offset, count = offset + len(block), count - len(block)


def _start_sync(fd: int, count: int) -> int:
    """Let the system begin to bring the last `count` bytes to disk, so that there is less to wait for later; gives 0.

    That is what Linux does when it is told that written data will not be needed; it keeps them until it is done.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.posix_fadvise(fd, os.lseek(fd, 0, os.SEEK_CUR) - count, count, os.POSIX_FADV_DONTNEED)
    return 0


# EBADF to EOPNOTSUPP: what file systems answer that cannot copy between these two files.
_NOT_IN_KERNEL = frozenset({1, 9, 18, 22, 26, 38, 95})


def sync_folder(folder: Path) -> None:
    """Bring renames in the folder to disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time publishes in the folder; without effect where the system has no such lock."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
