"""The command of this bench, `python -m bench matrix`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

import bench.matrix
from bench.matrix.columns import COLUMNS, Column, install, run_column
from bench.matrix.report import document
from bench.matrix.rows import OPSETS, Row, network_rows, operator_rows

__all__ = ["Cell", "examine", "main"]

SHORT_OPSETS = (18, 21)


@dataclass(frozen=True)
class Cell:
    """What a runtime makes of a file.

    Attributes:
        row: the file.
        error: the largest error, as a part of the largest number; None where there is no result to compare.
        reason: why not, in words; empty where there is a result, or none was asked for.
    """

    row: Row
    error: float | None
    reason: str

    @property
    def is_right(self) -> bool:
        return not self.reason and (self.error is None or self.error <= self.row.tolerance)


def write(rows: Iterable[Row], folder: Path) -> list[Row]:
    """Write the files of the rows and their inputs; return the rows."""
    written = []
    for row in rows:
        written.append(row)
        if row.model is not None:
            onnx.save(row.model, folder / f"{row.name}.onnx")
            np.save(folder / f"{row.name}.x.npy", row.x)
    return written


def examine(rows: Sequence[Row], column: Column, folder: Path, place: Path | None, seconds: float = 600) -> list[Cell]:
    """Run all files in one runtime and compare."""
    run_column(column, [row.name for row in rows if row.model is not None], folder, place, seconds)
    return [_cell(row, folder) for row in rows]


def _cell(row: Row, folder: Path) -> Cell:
    if row.model is None:
        return Cell(row, None, row.reason)
    answer = json.loads((folder / f"{row.name}.out.json").read_text(encoding="utf-8"))
    if "reason" in answer:
        return Cell(row, None, answer["reason"])
    errors = []
    for place in range(answer["outputs"]):
        got = np.load(folder / f"{row.name}.{place}.y.npy").astype(np.float64)
        if got.shape != row.wanted.shape:
            return Cell(row, None, f"gives the shape {list(got.shape)}, not {list(row.wanted.shape)}")
        worst = float(np.max(np.abs(got - row.wanted))) / float(np.max(np.abs(row.wanted)))
        errors.append(worst if np.isfinite(got).all() else np.inf)
    return Cell(row, max(errors, default=None), "")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench matrix", description=bench.matrix.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="small files at two opsets, in what is installed here")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="these columns alone, by the beginning of the name")
    parser.add_argument("--networks", nargs="*", metavar="NAME", help="these networks alone; none for operators alone")
    parser.add_argument("--opsets", nargs="+", type=int, help=f"default: {' '.join(map(str, OPSETS))}")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-matrix"), help="a folder for runtimes")
    parser.add_argument("--out", type=Path, help="the page of the docs whose tables are to be written")
    arguments = parser.parse_args()
    opsets = tuple(arguments.opsets or (SHORT_OPSETS if arguments.short else OPSETS))
    columns = [
        column
        for column in COLUMNS
        if (not arguments.only or column.name.lower().startswith(tuple(name.lower() for name in arguments.only)))
        and not (arguments.short and (column.packages or column.node_packages))
    ]
    found: dict[str, list[Cell]] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="onnxnorm-matrix-") as name:
        folder = Path(name)
        rows = write(_rows(arguments.networks, opsets, short=arguments.short), folder)
        print(f"{len(rows)} files", flush=True)
        for column in columns:
            try:
                cells = examine(rows, column, folder, install(column, arguments.cache.resolve()))
            except (ImportError, RuntimeError, OSError) as error:
                absent[column.name] = str(error)
                print(f"{column.name}: not here: {error}", flush=True)
                continue
            found[column.name] = cells
            print(f"{column.name}: {sum(cell.is_right for cell in cells)} of {len(cells)} right", flush=True)
            if arguments.out is not None:
                # After each column: the last ones take long.
                page = document(arguments.out.read_text(encoding="utf-8"), found, absent)
                arguments.out.write_text(page, encoding="utf-8")
    _show(found)
    return 0


def _rows(networks: list[str] | None, opsets: tuple[int, ...], *, short: bool) -> Iterable[Row]:
    yield from operator_rows(opsets)
    if short and networks is None:
        return
    from models import MODELS

    yield from network_rows(list(MODELS) if networks is None else networks, opsets)


def _show(found: Mapping[str, Sequence[Cell]]) -> None:
    for name, cells in found.items():
        for cell in cells:
            if not cell.is_right:
                print(f"{name}: {cell.row.name}: {cell.reason or f'off by {cell.error:.1e}'}")


def use_library() -> None:
    """Tell the processes where the kernels are; they import nothing of this project."""
    from onnxnorm.runtime.library import find_library

    library = find_library()
    if library is not None:
        os.environ.setdefault("ONNXNORM_LIBRARY", str(library))


if shutil.which("node") is None:
    COLUMNS = tuple(column for column in COLUMNS if not column.node_packages)
use_library()
if __name__ == "__main__":
    sys.exit(main())
