"""The command of this bench, `python -m bench matrix`."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import bench.matrix
from bench.matrix.columns import COLUMNS, Column, install
from bench.matrix.outcomes import Outcome, examine, read_outcomes, write, write_outcomes
from bench.matrix.report import document, losses
from bench.matrix.rows import OPSETS, Row, network_rows, operator_rows

__all__ = ["main"]

SHORT_OPSETS = (18, 21)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench matrix", description=bench.matrix.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="small files at two opsets, in what is installed here")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="these columns alone, by the beginning of the name")
    parser.add_argument("--networks", nargs="*", metavar="NAME", help="these networks alone; none for operators alone")
    parser.add_argument("--no-small-files", action="store_true", help="networks alone")
    parser.add_argument("--opsets", nargs="+", type=int, help=f"default: {' '.join(map(str, OPSETS))}")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-matrix"), help="a folder for runtimes")
    parser.add_argument("--out", type=Path, help="the page of the docs whose tables are to be written")
    parser.add_argument("--resume", action="store_true", help="go on where the last run ended, and keep what it found")
    arguments = parser.parse_args()
    opsets = tuple(arguments.opsets or (SHORT_OPSETS if arguments.short else OPSETS))
    columns = [
        column
        for column in COLUMNS
        if (not arguments.only or column.name.lower().startswith(tuple(name.lower() for name in arguments.only)))
        and (column.is_here() or not arguments.short)
    ]
    networks = _networks(arguments.networks, short=arguments.short)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    store = arguments.cache.resolve() / "outcomes.json"
    found = read_outcomes(store) if arguments.resume else []
    absent: dict[str, str] = {}
    use_library()
    for title, subjects, opset in batches(networks, opsets, small_files=not arguments.no_small_files):
        done = {(each.column, each.subject) for each in found if each.opset == opset}
        left = [column for column in columns if any((column.name, subject) not in done for subject in subjects or [""])]
        if subjects and not left:
            continue
        with tempfile.TemporaryDirectory(prefix="onnxnorm-matrix-") as name:
            rows = write(_rows(subjects, opset), Path(name))
            for column in left:
                again = [row for row in rows if (column.name, row.subject) not in done]
                outcomes = _column(again, column, Path(name), arguments.cache.resolve(), absent)
                right = sum(outcome.is_right for outcome in outcomes)
                print(f"{title} at opset {opset}, {column.name}: {right} of {len(again)} right", flush=True)
                found = _sorted([*found, *outcomes])
                write_outcomes(found, store)
                # After each column: the last ones take long.
                _write_page(arguments.out, found, absent)
    _write_page(arguments.out, found, absent)
    _show(found, absent)
    return 0


def _write_page(page: Path | None, outcomes: Sequence[Outcome], absent: dict[str, str]) -> None:
    if page is not None:
        page.write_text(document(page.read_text(encoding="utf-8"), outcomes, absent), encoding="utf-8")


def batches(
    networks: Sequence[str], opsets: Sequence[int], *, small_files: bool
) -> Iterable[tuple[str, Sequence[str], int]]:
    """Yield a title, the network (none for the small files) and the opset of what is written and run at once."""
    for opset in opsets if small_files else ():
        yield "small files", (), opset
    for opset, name in itertools.product(opsets, networks):
        yield name, (name,), opset


def _networks(names: list[str] | None, *, short: bool) -> list[str]:
    if names is not None or short:
        return names or []
    from models import MODELS

    return list(MODELS)


def _rows(networks: Sequence[str], opset: int) -> Iterable[Row]:
    return network_rows(list(networks), (opset,)) if networks else operator_rows((opset,))


def _column(rows: Sequence[Row], column: Column, folder: Path, cache: Path, absent: dict[str, str]) -> list[Outcome]:
    if column.name in absent or not rows:
        return []
    try:
        return examine(rows, column, folder, install(column, cache))
    except (RuntimeError, OSError) as error:
        absent[column.name] = str(error)
        print(f"{column.name}: not here: {error}", flush=True)
        return []


def _sorted(outcomes: Iterable[Outcome]) -> list[Outcome]:
    places = {column.name: place for place, column in enumerate(COLUMNS)}
    return sorted(outcomes, key=lambda outcome: places.get(outcome.column, len(places)))


def _show(outcomes: Sequence[Outcome], absent: dict[str, str]) -> None:
    for outcome in outcomes:
        if not outcome.is_right:
            error = "" if outcome.error is None else f", off by {outcome.error:.1e}"
            title = f"{outcome.column}: {outcome.subject}, opset {outcome.opset}, {outcome.form}"
            print(f"{title}: {outcome.reason}{error}")
    print(f"{len(losses(outcomes))} files are right as exported and wrong for portable or web")
    for name, reason in absent.items():
        print(f"not run: {name}: {reason}")


def use_library() -> None:
    """Tell the processes where the kernels are; they import nothing of this project."""
    from onnxnorm.runtime.library import find_library

    library = find_library()
    if library is not None:
        os.environ.setdefault("ONNXNORM_LIBRARY", str(library))


if __name__ == "__main__":
    sys.exit(main())
