"""Does work that may end the process it is done in in a child of this one, where the system forks."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

__all__ = ["FORKS", "BrokenOffError", "FailedError", "end_with_parent", "in_child"]

FORKS = sys.platform == "linux"

_FAILED = 1
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


class FailedError(Exception):
    """Raised where the work raised an exception, which said this."""


class BrokenOffError(Exception):
    """Raised where the child ended before the work was done."""


def in_child(work: Callable[[], bytes], *, seconds: int | None = None, memory: int | None = None) -> bytes:
    """Do the work in a child process and return what it returns.

    Args:
        work: done in the child; what it changes is lost.
        seconds: of the processor's time that it may take.
        memory: bytes that it may take beyond what the process has.

    Raises:
        FailedError: it raised an exception.
        BrokenOffError: it took more, or ended the child.
    """
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Of other threads; the child does nothing but what follows, and waits for none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        _work(work, write, seconds, memory)
    os.close(write)
    status = None
    try:
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
    finally:
        if status is None:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == _FAILED:
        raise FailedError(answer.decode(errors="replace"))
    if code:
        raise BrokenOffError(signal.Signals(-code).name if code < 0 else f"exit code {code}")
    return answer


def _work(work: Callable[[], bytes], write: int, seconds: int | None, memory: int | None) -> NoReturn:
    code = 2
    try:
        end_with_parent()
        # What a signal to this process sets off there is for the parent alone.
        signal.set_wakeup_fd(-1)
        # A session of onnxruntime that is collected here would wait for threads that the parent alone has.
        gc.freeze()
        # What an assertion says is no message to the user, and where the process stood no news, to whomever it is told.
        faulthandler.disable()
        for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _limit(seconds, memory)
        try:
            answer, done = work(), 0
        except Exception as error:
            answer, done = str(error).encode(), _FAILED
        with os.fdopen(write, "wb") as pipe:
            pipe.write(answer)
        code = done
    except BaseException:
        pass
    finally:
        os._exit(code)


def end_with_parent(number: signal.Signals | None = None) -> None:
    """Have Linux end this process when its parent ends, by the signal, or by one that nothing holds up."""
    if FORKS:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number or signal.SIGKILL))


def _limit(seconds: int | None, memory: int | None) -> None:
    import resource

    limits = {resource.RLIMIT_CORE: 0}
    if seconds is not None:
        limits[resource.RLIMIT_CPU] = int(time.process_time()) + seconds
    if memory is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = taken + memory
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
