"""Fits what is printed to the terminal: lines break between words, and tables that are too wide become paragraphs.

What goes to a file or a pipe is left as it is.
"""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

__all__ = ["WrappedStream", "paragraphs", "width_of", "wrapped"]

_NARROW = 100
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_LEAST_TEXT = 40


def width_of(stream: TextIO) -> int | None:
    """Return how many columns the terminal behind the stream has; None where it is none."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def wrapped(line: str, width: int) -> str:
    """Break a line between words where it is longer than the width; a longer word stays whole."""
    if len(_ESCAPE.sub("", line)) <= width or _ESCAPE.search(line):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def paragraphs(
    headings: Sequence[str], rows: Iterable[Sequence[str]], width: int, *, rank: Sequence[int] | None = None
) -> list[str] | None:
    """Return a table as paragraphs: the first cell of a row on a line of its own, the others below it, by their names.

    Args:
        headings, rows: the texts of the table.
        width: how many columns there are.
        rank: the widths of the columns of the table; measured where None.

    Returns:
        The lines; None where the table fits as it is, with only its last column broken between words.
    """
    listed = [tuple(row) for row in rows]
    widths = list(rank or [max(map(len, column)) for column in zip(headings, *listed, strict=True)])
    gaps = 3 * len(widths) + 1
    fixed = sum(widths[:-1]) + gaps
    longest = max((len(word) for row in listed for word in row[-1].split()), default=0)
    room = width - fixed
    fits = fixed + widths[-1] <= width
    if fits or (width >= _NARROW and room >= max(min(widths[-1], _LEAST_TEXT), longest)):
        return None
    lines: list[str] = []
    for row in listed:
        lines.append(row[0])
        cells = [f"{name}: {text}" for name, text in zip(headings[1:-1], row[1:-1], strict=True) if text]
        if cells:
            lines.append(_filled("; ".join(cells), width))
        if len(row) > 1 and row[-1]:
            lines.append(_filled(f"{headings[-1]}: {row[-1]}", width))
    return lines


def _filled(text: str, width: int) -> str:
    return textwrap.fill(
        text, width, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


class WrappedStream(io.TextIOBase):
    """A terminal on which lines break between words."""

    def __init__(self, stream: TextIO, width: int) -> None:
        """
        Args:
            stream: the terminal.
            width: how many columns it has.
        """
        self._stream, self._width, self._begun = stream, width, ""

    def write(self, text: str) -> int:
        """Write the whole lines; what has no end yet waits for it."""
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            self._stream.write(wrapped(line, self._width) + "\n")
        return len(text)

    def flush(self) -> None:
        """Write what waits, too."""
        if self._begun:
            self._stream.write(wrapped(self._begun, self._width))
            self._begun = ""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the terminal."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the terminal."""
        return self._stream.encoding
