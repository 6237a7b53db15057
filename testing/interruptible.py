"""Starts Python as a process of its own that heeds signals, however the tests themselves were started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["start_python"]

_ROOT = Path(__file__).resolve().parents[1]


def start_python(
    words: Sequence[str], folder: Path | None = None, *, hang_up: Any = signal.SIG_DFL, **environment: str
) -> subprocess.Popen[str]:
    """Start Python with these arguments and the package of this repository.

    Args:
        words: the arguments.
        folder: where the process works; where the tests do, if None.
        hang_up: what it does at SIGHUP, at first.
        environment: further variables.
    """

    def prepare() -> None:
        # A test run in the background ignores the first, one by nohup the second, and so would its children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, hang_up)

    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(_ROOT), **environment},
        preexec_fn=prepare,
    )
