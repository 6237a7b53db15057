"""Files that appear whole or not at all, also when the process is killed, the disk is full or two write at once.

A file is written without a name (Linux: O_TMPFILE, so that nothing is left of it when the process dies), brought to
disk, and only then takes its place. Where nothing stands there it is given the name; what stands there is replaced by a
rename, for which the file needs a name for a moment. It is locked until then: a file with such a name and without a
lock is what a dead process left, and the next to write in the folder removes it.

Of a model with data files the data come first; the model, which names them, is last and is the switch from old to new.
New data never take the name of data that an old model needs. Until the model is there they bear a mark (an extended
attribute), by which the next to write the same model knows them if the process dies in between.

While a file is written, what has been written is brought to disk, so that little is left to wait for at the end. Of a
large file the system is then told to let go: its memory is used again, which is warm, where writing to all the free
memory of the machine takes several times as long. Where the disk is slower than the writer this has no effect, and the
file stays in memory, where whoever reads it next finds it sooner.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

__all__ = ["NewFile", "locked", "remove_temporaries", "sync_folder", "unfinished"]

_Bytes: TypeAlias = "bytes | bytearray | memoryview"

_BLOCK = 2**20
_SENT_AT_ONCE = 2**23
# 128 MB of every file stay in memory.
_KEPT = 16
_PREFIX, _SUFFIX = ".onnxnorm.", ".tmp"
_MARK = "user.onnxnorm.unfinished"


class NewFile:
    """A file in the making, in the folder of its final place. Use as a context manager: what is not published goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary: Path | None = None
        self._behind = _Behind()
        self.fd = _nameless(folder)
        if self.fd >= 0:
            _lock(self.fd)
            return
        # Whoever looks for what others left holds the lock of the folder, and so finds no name without its lock.
        with locked(folder):
            self.fd, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=folder)
            self._temporary = Path(name)
            _lock(self.fd)
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

    def write(self, data: _Bytes, offset: int) -> int:
        """Write all of `data` from `offset` on, from any thread; gives the end of it."""
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(self.fd, view[:_BLOCK], offset)
            self._behind.wrote(self.fd, offset, written)
            view, offset = view[written:], offset + written
        return offset

    def copy(self, source: int, start: int, count: int, offset: int) -> int:
        """Write `count` bytes of the file `source`, from `start` on, to `offset`; the kernel copies. Gives their end.

        Raises:
            OSError: the source ends too early, or the disk is full.
        """
        while count:
            try:
                copied = os.copy_file_range(source, self.fd, min(count, _SENT_AT_ONCE), start, offset)
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
        """Take the name `target` if nobody has it; tells whether that was so."""
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
        """Say of the file that it is of no use yet; without effect where the file system has no such attributes."""
        with contextlib.suppress(AttributeError, OSError):
            os.setxattr(self.fd, _MARK, b"")

    def unmark(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.removexattr(self.fd, _MARK)

    def _named(self) -> Path:
        while True:
            path = self._folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
            with contextlib.suppress(FileExistsError):
                _link(self.fd, path, self._folder)
                return path


class _Behind:
    """Follows the writer of a file: starts what it wrote on its way to disk, and lets go of what is there by then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start, self._end, self._count = 0, 0, 0
        self._sent: deque[tuple[int, int]] = deque()

    def wrote(self, fd: int, offset: int, count: int) -> None:
        with self._lock:
            if not self._count:
                self._start, self._end = offset, offset
            self._start, self._end = min(self._start, offset), max(self._end, offset + count)
            self._count += count
            if self._count < _SENT_AT_ONCE:
                return
            ranges = [(self._start, self._end - self._start)]
            self._sent.extend(ranges)
            self._count = 0
            if len(self._sent) > _KEPT:
                ranges.append(self._sent.popleft())
        for each in ranges:
            # To be told that written data will not be needed has Linux begin to write them to disk; what is there it
            # lets go of. Others may do nothing.
            with contextlib.suppress(AttributeError, OSError):
                os.posix_fadvise(fd, *each, os.POSIX_FADV_DONTNEED)


def remove_temporaries(folder: Path) -> None:
    """Remove the files with a name of a moment that dead processes left; the caller holds the lock of the folder."""
    for path in _entries(folder, _PREFIX):
        if path.name.endswith(_SUFFIX):
            with contextlib.suppress(OSError), _opened(path) as descriptor:
                if _lock(descriptor):
                    path.unlink()


def unfinished(folder: Path, prefix: str) -> set[str]:
    """The names, beginning with `prefix`, of files that bear the mark; the caller holds the lock of the folder."""
    found = set()
    for path in _entries(folder, prefix):
        with contextlib.suppress(AttributeError, OSError), _opened(path) as descriptor:
            if _MARK in os.listxattr(descriptor):
                found.add(path.name)
    return found


def _entries(folder: Path, prefix: str) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    # A pipe of that name is not waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(fd: int) -> bool:
    """Lock the file until it is closed or the process ends; whether that could be done."""
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


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


def sync_folder(folder: Path) -> None:
    """Bring renames in the folder to disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """One at a time publishes in the folder; tells whether that is so, where the system may have no such lock."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)
