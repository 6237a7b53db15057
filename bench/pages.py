"""Parts of the documentation that benches write: tables between two markers, under a caption that names the machine.

A bench declares each part that it writes as a `Section` in its `SECTIONS`, takes `--out PAGE` by `add_out`, and writes
by `Section.write`. `tests/bench/test_pages.py` holds pages and sections against each other.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.machine import CAPTION, caption

__all__ = ["COUNT", "END", "FIGURE", "MARKER", "TEXT", "Section", "add_out", "rows_of"]

MARKER = re.compile(r"<!-- Written by `python -m bench (?P<command>[^`]+) --out (?P<page>\S+)` from here on\. -->")
END = "<!-- To here. -->"

COUNT = r"\d+"
FIGURE = r"\d+(\.\d+)?"
TEXT = r".*\S.*"


@dataclass(frozen=True)
class Section:
    """A part of a page that one command writes.

    Attributes:
        command: the command line after `python -m bench`, without `--out`.
        page: the page, from the root of the project.
        tables: for each table the titles of its columns, each with a pattern that a cell has to match.
        packages: what the caption gives the versions of, where it is installed; None for tables without a caption,
            which are gathered from others.
    """

    command: str
    page: str
    tables: tuple[Mapping[str, str], ...]
    packages: tuple[str, ...] | None = ("onnx", "onnxruntime")

    @property
    def begin(self) -> str:
        return f"<!-- Written by `python -m bench {self.command} --out {self.page}` from here on. -->"

    def write(self, path: Path, tables: Iterable[object]) -> None:
        """Replace what stands between the markers of this section.

        Raises:
            ValueError: the tables are not those that the section declares, or the page has no place for them.
        """
        above = [] if self.packages is None else [textwrap.fill(caption(self.packages), 120, break_on_hyphens=False)]
        text = "\n\n".join([*above, *map(str, tables)])
        if wrong := self.problems(text):
            raise ValueError(f"`python -m bench {self.command}` did not measure what {path} has: {'; '.join(wrong)}")
        before, _, after = self.split(path.read_text(encoding="utf-8"))
        path.write_text(f"{before}{self.begin}\n\n{text}\n\n{END}{after}", encoding="utf-8")

    def problems(self, text: str) -> list[str]:
        """Say where a text is not what this section prints, numbers aside."""
        blocks, found = text.strip().split("\n\n"), []
        if self.packages is not None and not CAPTION.fullmatch(" ".join(blocks.pop(0).split())):
            found.append("no caption that names the machine")
        if len(blocks) != len(self.tables):
            return [*found, f"{len(blocks)} tables instead of {len(self.tables)}"]
        for columns, block in zip(self.tables, blocks, strict=True):
            found += _wrong_cells(columns, block)
        return found

    def split(self, text: str) -> tuple[str, str, str]:
        """Return what stands before the markers, between them and behind them.

        Raises:
            ValueError: the text does not have both markers.
        """
        before, marker, rest = text.partition(self.begin)
        inside, end, after = rest.partition(END)
        if not marker or not end:
            raise ValueError(f"the page has no place for this table, which is between {self.begin} and {END}")
        return before, inside, after


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def rows_of(text: str, *titles: str) -> list[dict[str, str]]:
    """Return the rows of the first table that has columns of these titles, each as cells by title.

    Raises:
        ValueError: the text has no such table.
    """
    for block in text.split("\n\n"):
        head, *lines = block.strip().splitlines() or [""]
        columns = _cells(head)
        if head.startswith("|") and set(titles) <= set(columns):
            return [dict(zip(columns, _cells(line), strict=True)) for line in lines[1:]]
    raise ValueError(f"there is no table with the columns {', '.join(titles)}")


def _wrong_cells(columns: Mapping[str, str], table: str) -> Iterator[str]:
    titles, *lines = table.splitlines()
    if _cells(titles) != list(columns):
        yield f"the columns are {', '.join(_cells(titles))}, not {', '.join(columns)}"
        return
    if len(lines) < 2 or set(lines[0]) != {"|", "-"}:
        yield "a table without rows"
    for line in lines[1:]:
        cells = _cells(line)
        if len(cells) != len(columns):
            yield f"{len(cells)} cells in {line!r}"
            continue
        for (title, pattern), cell in zip(columns.items(), cells, strict=True):
            if not re.fullmatch(pattern, cell):
                yield f"{title}: {cell!r}"


def add_out(parser: argparse.ArgumentParser, *sections: Section) -> None:
    """Add the option `--out`."""
    pages = ", ".join(dict.fromkeys(section.page for section in sections))
    parser.add_argument("--out", type=Path, metavar="PAGE", help=f"replace what this command wrote there: {pages}")
