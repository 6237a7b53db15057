"""Runs programs from several threads, all of which can be ended at once."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

__all__ = ["Commands", "Runner", "finished"]

Finished: TypeAlias = "subprocess.CompletedProcess[str]"
Runner: TypeAlias = "Callable[[Sequence[str], Mapping[str, str]], Finished]"

_GRACE = 5.0


def finished(command: Sequence[str], environment: Mapping[str, str]) -> Finished:
    """Run a program to its end and return what it printed."""
    return subprocess.run(command, capture_output=True, text=True, env=environment)


class Commands:
    """The programs that run now. After `end`, none begins any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> Finished:
        """Run a program to its end and return what it printed, as `finished` does.

        Raises:
            InterruptedError: all were ended before it began.
        """
        pipe = subprocess.PIPE
        with self._lock:
            if self._ended:
                raise InterruptedError(f"{command[0]}: was not begun, since all is ended")
            process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
            self._running.add(process)
        try:
            with process:
                out, told = process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
        return subprocess.CompletedProcess(command, process.returncode, out, told)

    def end(self) -> None:
        """Have all of them end, and wait until they have; those that do not after a while are killed."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            process.kill()
