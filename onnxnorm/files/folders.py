"""Watches over folders in which files appear: who publishes there now, and what is left there by those who died."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = [
    "MARK", "PREFIX", "SUFFIX", "lock_file", "locked", "mark", "remove_temporaries", "remove_temporary_folders",
    "sync_folder", "temporary_folder", "unfinished",
]  # fmt: skip

PREFIX, SUFFIX = ".onnxnorm.", ".tmp"
MARK = "user.onnxnorm.unfinished"
_temporary: set[Path] = set()


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that goes again at the end, also where `remove_temporary_folders` is all that comes before it."""
    # Every start would pay for it.
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _temporary.add(folder)
        try:
            yield folder
        finally:
            _temporary.discard(folder)


def remove_temporary_folders() -> None:
    """Remove the folders that are in use, from a process that ends without coming to the end of what it does."""
    import shutil

    for folder in list(_temporary):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Let one process at a time publish in the folder.

    Yield whether that is so, since the system may have no such lock.
    """
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


def sync_folder(folder: Path) -> None:
    """Bring renames in the folder to disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Remove the files with a name of a moment that dead processes left; the caller holds the lock of the folder."""
    for path in _entries(folder, PREFIX):
        if path.name.endswith(SUFFIX):
            with contextlib.suppress(OSError), _opened(path) as descriptor:
                if lock_file(descriptor):
                    path.unlink()


def mark(folder: Path, names: Iterable[str]) -> None:
    """Mark files as of no use, where the file system has such attributes; the caller holds the lock of the folder."""
    for name in names:
        with contextlib.suppress(AttributeError, OSError):
            os.setxattr(folder / name, MARK, b"")


def unfinished(folder: Path, prefix: str) -> set[str]:
    """Return the names, beginning with `prefix`, of files that bear the mark.

    The caller holds the lock of the folder.
    """
    found = set()
    for path in _entries(folder, prefix):
        with contextlib.suppress(AttributeError, OSError), _opened(path) as descriptor:
            if MARK in os.listxattr(descriptor):
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


def lock_file(fd: int) -> bool:
    """Lock the file until it is closed or the process ends; tell whether that could be done."""
    try:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
