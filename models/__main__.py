"""The main job: every model exported, optimized, verified and run on the picture, and a table of what came of it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from models import MODELS
from models.demo import Files, Outcome, make_all, measure
from onnxnorm import OnnxNormError
from onnxnorm.cli.tables import Table, format_size, print_json, print_table


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = options.only or list(MODELS)
    start = time.perf_counter()
    # With --json, stdout is the machine's.
    console = Console(stderr=options.json)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        _save_picture(options.out)
    except OSError as error:
        print(f"error: {options.out}: {error.strerror}", file=sys.stderr)
        return 2
    outcomes, failures = _go(names, options.out, console)
    if options.json:
        print_json({"models": outcomes, "failures": failures})
    else:
        print_table(_table(outcomes))
        print(_LEGEND)
        print(f"\n{2 * len(outcomes)} models and the picture are in {options.out}{os.sep}", end="")
        print(f" ({time.perf_counter() - start:.0f} s)")
    return _report_failures(outcomes, failures)


_LEGEND = """
norms    normalization nodes, before -> after; those left are computed from the data, or say why in `onnxnorm inspect`
error    the largest against a float64 run of the exported model, divided by the largest output
latency  onnxruntime on the picture, one thread, its own optimizations on: medians of runs in turns"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where the files go (default: out)"
    )
    parser.add_argument("--only", nargs="+", choices=list(MODELS), metavar="NAME", help=f"of: {', '.join(MODELS)}")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON document on stdout")
    return parser


def _save_picture(folder: Path) -> None:
    from models.picture import save_png

    save_png(folder / "picture.png")


def _go(names: Sequence[str], folder: Path, console: Console) -> tuple[list[Outcome], dict[str, str]]:
    """What came of each model, and the reason for each that did not get through."""
    outcomes: list[Outcome] = []
    failures: dict[str, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        making = progress.add_task("export and optimize", total=len(names))
        measuring = progress.add_task("verify and run", total=len(names))
        made: list[Files] = []
        for name, files in make_all(names, folder):
            progress.advance(making)
            if isinstance(files, Files):
                console.print(f"exported and optimized  {name}", highlight=False)
                made.append(files)
            else:
                failures[name] = files
        # Only now, so that nothing else runs while latencies are taken.
        for files in sorted(made, key=lambda files: names.index(files.name)):
            try:
                outcome = measure(files)
            except OnnxNormError as error:
                failures[files.name] = str(error)
            else:
                outcomes.append(outcome)
                verdict = "verified and run        " if outcome.passed else "NOT THE SAME            "
                console.print(verdict + files.name, highlight=False)
            progress.advance(measuring)
    return outcomes, failures


def _table(outcomes: Sequence[Outcome]) -> Table:
    rows = [
        (
            outcome.name,
            outcome.family,
            f"{outcome.normalizations_before} -> {outcome.normalizations_after}",
            f"{outcome.error_before:.1e} -> {outcome.error_after:.1e}",
            f"{outcome.latency_before_ms:.2f} -> {outcome.latency_after_ms:.2f} ms",
            f"{outcome.latency_before_ms / outcome.latency_after_ms:.2f}x",
            f"{format_size(outcome.size_before)} -> {format_size(outcome.size_after)}",
            "yes" if outcome.passed else "NO",
        )
        for outcome in outcomes
    ]
    return Table.of("model normalization >norms >error >latency >speed >file verified", rows)


def _report_failures(outcomes: Sequence[Outcome], failures: dict[str, str]) -> int:
    reasons = {outcome.name: f"not the same: {outcome.reason}" for outcome in outcomes if not outcome.passed} | failures
    for name, reason in reasons.items():
        print(f"error: {name}: {reason}", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
