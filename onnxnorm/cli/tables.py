"""Prints tables for people, in colour on a terminal and plain elsewhere, and JSON for machines."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import itertools
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from onnxnorm.cli.terminal import paragraphs, width_of
from onnxnorm.model.domains import full_name

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.progress import Progress

__all__ = [
    "Table",
    "count_operators",
    "format_shape",
    "format_size",
    "model_size",
    "operator_table",
    "print_json",
    "print_table",
    "status",
    "steps",
    "transfer",
    "written_size",
]


class _Node(Protocol):
    op_type: str
    domain: str


class Align(str, enum.Enum):
    """The side on which the texts of a column are flush."""

    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Attributes:
        headings: one text a column.
        rows: as many texts each.
        align: one entry a column; all flush left where empty.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: tuple[Align, ...] = ()

    @classmethod
    def of(cls, headings: str, rows: Iterable[Sequence[object]]) -> Table:
        """Make a table from headings separated by blanks; `>` before a heading sets its column flush right.

        An underscore in a heading stands for a blank.
        """
        marked = headings.split()
        return cls(
            headings=tuple(text.removeprefix(">").replace("_", " ") for text in marked),
            rows=tuple(tuple(str(cell) for cell in row) for row in rows),
            align=tuple(Align.RIGHT if text.startswith(">") else Align.LEFT for text in marked),
        )

    def plain(self) -> str:
        """Return the table as aligned columns of plain text, a line a row, cut nowhere."""
        lines = [self.headings, *self.rows]
        align = self.align or (Align.LEFT,) * len(self.headings)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

        def joined(line: tuple[str, ...]) -> str:
            cells = zip(line, widths, align, strict=True)
            return "  ".join(
                text.rjust(n) if side is Align.RIGHT else text.ljust(n) for text, n, side in cells
            ).rstrip()

        return "\n".join(map(joined, lines))


def print_table(table: Table, file: TextIO | None = None) -> None:
    """Print a table to `file` (stdout where None): by rich on a terminal, as plain text elsewhere."""
    stream = sys.stdout if file is None else file
    if not stream.isatty():
        print(table.plain(), file=stream)
        return
    width = width_of(stream)
    lines = None if width is None else paragraphs(table.headings, table.rows, width)
    if lines is not None:
        print("\n".join(lines), file=stream)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    rich_table = RichTable(box=box.SIMPLE_HEAD)
    align = table.align or (Align.LEFT,) * len(table.headings)
    for number, (heading, side) in enumerate(zip(table.headings, align, strict=True), start=1):
        rich_table.add_column(heading, justify=side.value, overflow="fold", no_wrap=number < len(align))
    for row in table.rows:
        # Node names hold square brackets, which rich would read as markup in a plain string.
        rich_table.add_row(*(Text(cell) for cell in row))
    Console(file=stream).print(rich_table)


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """Tell what takes its time while it does, and for how long, if stderr is a terminal."""
    with _progress("{spinner} {text} {elapsed}") as progress:
        if progress is not None:
            progress.add_task("", total=None, what=_plain_text(text))
        yield


@contextlib.contextmanager
def steps(text: str, total: int, *, done: bool = False) -> Iterator[Callable[[str], None]]:
    """Show a bar of so many steps, if stderr is a terminal; what it yields is told the name of each as it begins.

    Where `done` is true, it is told the name of each when it is done.
    """
    with _progress("{text} {bar} {count} {elapsed} {step}") as progress:
        if progress is None:
            yield lambda name: None
            return
        task, numbers = progress.add_task("", total=total, what=_plain_text(text)), itertools.count(int(done))
        yield lambda name: progress.update(task, completed=next(numbers), description=_plain_text(name))


@contextlib.contextmanager
def transfer(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of so many bytes, if stderr is a terminal; what it yields is told how many more are done."""
    with _progress("{text} {bar} {bytes} {elapsed}") as progress:
        if progress is None:
            yield lambda count: None
            return
        task = progress.add_task("", total=total, what=_plain_text(text))
        yield lambda count: progress.update(task, advance=count)


@contextlib.contextmanager
def _progress(columns: str) -> Iterator[Progress | None]:
    """Yield a progress display of rich with these columns; None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    known = {
        "{text}": rich_progress.TextColumn("{task.fields[what]}"),
        "{step}": rich_progress.TextColumn("{task.description}"),
        "{bar}": rich_progress.BarColumn(),
        "{bytes}": rich_progress.DownloadColumn(),
        "{count}": rich_progress.MofNCompleteColumn(),
        "{elapsed}": rich_progress.TimeElapsedColumn(),
        "{spinner}": rich_progress.SpinnerColumn(),
    }
    with rich_progress.Progress(
        *(known[name] for name in columns.split()), console=Console(stderr=True), transient=True
    ) as progress:
        yield progress


def _plain_text(text: str) -> str:
    # Names hold square brackets, which rich would read as markup.
    return text.replace("[", "\\[")


def _jsonable(value: object) -> object:
    if isinstance(value, enum.Enum):
        return _jsonable(value.value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return float(value) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return _jsonable(value.tolist())
    if isinstance(value, Iterable):
        return [_jsonable(entry) for entry in value]
    return str(value)


def print_json(value: object, file: TextIO | None = None) -> None:
    """Print dataclasses, mappings, sequences, enumerations and NumPy values as strict JSON (RFC 8259).

    JSON has no NaN and no infinities: they become the texts "NaN", "Infinity" and "-Infinity".
    """
    print(json.dumps(_jsonable(value), indent=2, allow_nan=False), file=sys.stdout if file is None else file)


def count_operators(nodes: Iterable[_Node]) -> Counter[str]:
    """Count how often each operator stands among the nodes, of a graph or of a message.

    Those of other domains are called `domain::Op`.
    """
    return Counter(full_name(node.op_type, node.domain) for node in nodes)


def operator_table(before: Mapping[str, int], after: Mapping[str, int]) -> Table:
    """Return a table of every operator of either model: its count before and after, the sums in the last row."""
    rows: list[tuple[object, ...]] = []
    for name in sorted({*before, *after}):
        old, new = before.get(name, 0), after.get(name, 0)
        rows.append((name, old, new, f"{new - old:+d}" if new != old else ""))
    old, new = sum(before.values()), sum(after.values())
    rows.append(("all nodes", old, new, f"{new - old:+d}" if new != old else ""))
    return Table.of("operator >before >after >change", rows)


def model_size(path: str | os.PathLike[str], model: ir.Model) -> int:
    """Count the bytes on disk of the model file at `path` with the external data files to which `model` refers."""
    import onnx_ir as ir

    files = {Path(path).resolve()}
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                files.add(Path(value.const_value.path).resolve())
    return sum(file.stat().st_size for file in files)


def written_size(path: str | os.PathLike[str]) -> int:
    """Count the bytes on disk of the model file at `path` with its external data files."""
    from onnxnorm.io.read import data_locations

    model = Path(path)
    files = {model.resolve(), *(model.resolve().parent / name for name in data_locations(model))}
    return sum(file.stat().st_size for file in files)


def format_shape(shape: Iterable[int | str | None] | None) -> str:
    """Format a shape as the command line takes it: `N,64,?,?`, with question marks for unknown dimensions or rank."""
    if shape is None:
        return "?"
    return ",".join("?" if dim is None else str(dim) for dim in shape) or "scalar"


def format_size(size: int) -> str:
    """Format a number of bytes in the unit (B, kB, MB, GB; decimal) that leaves it below a thousand."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
