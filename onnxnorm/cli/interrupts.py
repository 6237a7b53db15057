"""Ends a command that is told to end: by Ctrl-C, by `kill`, or because its terminal was closed.

The first signal raises `KeyboardInterrupt`, so that everything open is closed in order. Native code notices it only
when it returns, and libraries may swallow it: a command that goes on is ended from a thread after a moment, or at a
second signal. That leaves no half-written file, because files take their places whole (`onnxnorm.files.new_file`).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType

from onnxnorm.files.folders import remove_temporary_folders

__all__ = ["GRACE", "INTERRUPTED", "heed_no_more", "heed_signals", "tell_interrupted", "was_interrupted"]

INTERRUPTED = 130
"""The exit code of a command that was interrupted, whatever the signal was."""

GRACE = 2.0
"""The seconds that a command has to end in order."""

_LINE = "onnxnorm: interrupted"
_DOCUMENT = json.dumps({"error": "interrupted", "exit_code": INTERRUPTED})
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class _State:
    """The state of the interruption of this process."""

    raised = False
    told = False


def heed_signals(*, document: bool) -> None:
    """Have the process end by the signals that ask for it.

    Args:
        document: a program reads what the command prints, and is told there too.
    """
    for number in _SIGNALS:
        # A process in the background, or one that is to outlive its terminal, was started so that it ignores some.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if os.name != "posix":
        return
    import threading

    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    # Where the exception is raised inside a destructor, Python tells of it and goes on.
    sys.unraisablehook = _quiet(sys.unraisablehook)
    threading.Thread(target=_end_in_time, args=(read, document), daemon=True).start()


def heed_no_more() -> None:
    """Ignore the signals from now on, where the process is about to end by itself."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def tell_interrupted(*, document: bool) -> int:
    """Tell that the command was interrupted, and return its exit code."""
    _State.told = True
    with contextlib.suppress(OSError, ValueError):
        print(_LINE, file=sys.stderr, flush=True)
        if document:
            print(_DOCUMENT, flush=True)
    return INTERRUPTED


def was_interrupted() -> bool:
    """Whether a signal came: what fails then may fail for that, such as the import of a module in native code."""
    return _State.raised


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _State.raised:
        # A second one would break off what the first one has begun to close.
        _State.raised = True
        raise KeyboardInterrupt


def _end_in_time(signals: int, document: bool) -> None:
    while os.read(signals, 1)[0] not in _SIGNALS:
        pass
    select.select([signals], [], [], GRACE)
    remove_temporary_folders()
    if os.isatty(2):
        # The line that tells of progress, during which the cursor is hidden.
        _write(2, "\r\x1b[2K\x1b[?25h")
    if not _State.told:
        _write(2, f"{_LINE}\n")
        _write(1, f"{_DOCUMENT}\n" if document else "")
    os._exit(INTERRUPTED)


def _quiet(hook: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], object]:
    def told(unraisable: sys.UnraisableHookArgs) -> object:
        return None if isinstance(unraisable.exc_value, KeyboardInterrupt) else hook(unraisable)

    return told


def _write(descriptor: int, text: str) -> None:
    # The stream object may be in use by the thread that does not end.
    with contextlib.suppress(OSError):
        os.write(descriptor, text.encode())
