"""The table printer of the benches: rows in Markdown, each printed as soon as it is measured."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Table", "head", "print_head", "print_row", "row"]


def row(cells: Iterable[object]) -> str:
    """Write a row; a `|` inside a cell would end it."""
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def head(titles: Iterable[str]) -> str:
    """Write the two lines that begin a table."""
    names = list(titles)
    return f"{row(names)}\n{'|---' * len(names)}|"


def print_head(*titles: str) -> None:
    print(head(titles), flush=True)


def print_row(*cells: object) -> None:
    print(row(cells), flush=True)


class Table:
    """A table that is printed row by row and kept, so that it can be written to a page at the end."""

    def __init__(self, *titles: str) -> None:
        self._lines = [head(titles)]
        print_head(*titles)

    def add(self, *cells: object) -> None:
        self._lines.append(row(cells))
        print_row(*cells)

    def __str__(self) -> str:
        return "\n".join(self._lines)
