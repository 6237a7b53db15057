"""Sends what is written to a file on to the disk at once, so that little is left to wait for at the end.

Of a large file the system is then told to let go: its memory is used again, which is warm, where writing to all the
free memory of the machine takes several times as long. Where the disk is slower than the writer this has no effect, and
the file stays in memory, where whoever reads it next finds it sooner.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["SENT_AT_ONCE", "Behind", "reserve"]

SENT_AT_ONCE = 2**23
# 128 MB of every file stay in memory.
_KEPT = 16
_LEAST_RESERVED = 2**20


class Behind:
    """A follower of the writer of a file.

    It starts what was written on its way to disk, and lets go of what is there.
    """

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
            if self._count < SENT_AT_ONCE:
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


def reserve(fd: int, start: int, end: int) -> None:
    """Take room on the disk for what will be written there, all of it at once, where the file system can do that.

    To find it block by block, as they are written, costs the processor a quarter of the writing. Where there is too
    little of it, the writing will say so.
    """
    if end - start >= _LEAST_RESERVED and (allocate := _allocator()) is not None:
        allocate(fd, start, end - start)


@functools.cache
def _allocator() -> Callable[[int, int, int], object] | None:
    # Not os.posix_fallocate: where the file system cannot do it, that writes to every block.
    if sys.platform != "linux":
        return None
    import ctypes

    function = getattr(ctypes.CDLL(None), "fallocate64", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return lambda fd, start, count: function(fd, 0, start, count)
