"""Tells what was rewritten in few lines: what became of nodes in the same way is one line, whatever their operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnxnorm.journal.words import general

if TYPE_CHECKING:
    from onnxnorm.cli.tables import Table
    from onnxnorm.journal import Rewrite

__all__ = ["rewrite_table"]

_WAYS = 4
_OPERATORS = 3


def rewrite_table(rewrites: Iterable[Rewrite], *, list_all: bool) -> Table:
    """Return a table with a line for each thing that a pass did, the most frequent ones first.

    Args:
        rewrites: what was done, in order.
        list_all: tell everything that each pass did, not what it did most.
    """
    from onnxnorm.cli.tables import Table

    passes: dict[str, dict[str, list[Rewrite]]] = {}
    for rewrite in rewrites:
        passes.setdefault(rewrite.pass_name, {}).setdefault(general(rewrite.detail), []).append(rewrite)
    rows = []
    for name, ways in passes.items():
        # Those of as many nodes stay in the order of the passes.
        ordered = sorted(ways.items(), key=lambda way: -len(way[1]))
        # One line for a single way would take as much room as to tell it.
        shown = len(ordered) if list_all or len(ordered) == _WAYS + 1 else _WAYS
        rows += [_row(name, what, found) for what, found in ordered[:shown]]
        if further := [each for _, found in ordered[shown:] for each in found]:
            rows.append(_row(name, f"{len(ordered) - shown} further ways; --all lists them", further))
    return Table.of("what pass >nodes operators first", rows)


def _row(name: str, what: str, found: list[Rewrite]) -> tuple[str, str, int, str, str]:
    only = found[0].detail if len(found) == 1 else what
    return only, name, len(found), _operators(found), found[0].node


def _operators(found: Iterable[Rewrite]) -> str:
    counts = Counter(each.op_type for each in found).most_common()
    if len(counts) == 1:
        return counts[0][0]
    shown = len(counts) if len(counts) == _OPERATORS + 1 else _OPERATORS
    more = f" and {len(counts) - shown} more" if len(counts) > shown else ""
    return ", ".join(f"{op_type} {count}" for op_type, count in counts[:shown]) + more
