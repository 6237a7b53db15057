"""Makes the streams of the process fit for what is printed, whoever started it and how."""

from __future__ import annotations

import io
import os
import sys

__all__ = ["make_fit"]


def make_fit() -> None:
    """Have stdout and stderr open, and stdout print every name, whatever its encoding.

    A process can be started with closed streams; what it opens next would get their numbers, and what libraries print
    would land in it. Characters that the encoding lacks, as in the locale C, are printed as their codes.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = io.StringIO()
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
