"""The table printer of the benches: rows in Markdown, each printed as soon as it is measured."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["head", "print_head", "print_row", "row"]


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
