"""Runs seeds in child processes, since an input may end the process that tries it."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fuzz.harness.limits import limit_memory
from fuzz.sources.seeds import FINDINGS

__all__ = ["CURRENT", "Counts", "Try", "arguments_of", "run_seeds", "tell_outcome", "try_seeds"]

Try: TypeAlias = Callable[[int, Path], bool]
"""Tries a seed in a folder, and tells whether it counts; raises where it is a finding."""
CURRENT = "current.onnx"
"""What is tried, in that folder: a process that dies without it has died before there was anything to find."""


@dataclass
class Counts:
    """How many seeds were tried, how many of them count, and how many are findings."""

    tried: int = 0
    counted: int = 0
    findings: int = 0


def arguments_of(description: str) -> argparse.ArgumentParser:
    """A command line with `minutes`, `seed` and `jobs`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    return parser


def tell_outcome(counts: Counts, what: str) -> int:
    """Print how many `what` were optimized or refused; the exit code, 1 where there are findings."""
    print(
        f"{counts.tried} {what} tried, {counts.counted} of them optimized, the others refused; "
        f"{counts.findings} findings"
    )
    return 1 if counts.findings else 0


def try_seeds(tries: Try, start: int, step: int, until: float, folder: Path) -> None:
    """Try seeds from `start` on until the time has come; raises with the finding in `folder`."""
    number = start
    tried = counted = 0
    while time.monotonic() < until:
        (folder / "number").write_text(str(number))
        (folder / CURRENT).unlink(missing_ok=True)
        counted += tries(number, folder)
        tried += 1
        (folder / "counts").write_text(f"{tried} {counted}")
        number += step


def run_seeds(tries: Try, arguments: argparse.Namespace, kind: str) -> Counts:
    """Try seeds in so many processes for so many minutes. Findings are kept as `kind` and the seed, and told."""
    context = multiprocessing.get_context("spawn")
    until = time.monotonic() + 60 * arguments.minutes
    counts = Counts()
    running: dict[int, tuple[Any, Path]] = {}
    with tempfile.TemporaryDirectory() as name:

        def begin(job: int, start: int) -> None:
            folder = Path(tempfile.mkdtemp(dir=name))
            (folder / "number").write_text(str(start))
            seconds = until - time.monotonic()
            process = context.Process(target=_work, args=(tries, start, arguments.jobs, seconds, str(folder)))
            process.start()
            running[job] = (process, folder)

        for job in range(arguments.jobs):
            begin(job, arguments.seed + job)
        while running:
            for job, (process, folder) in list(running.items()):
                process.join(0.2)
                if process.is_alive():
                    continue
                del running[job]
                if (folder / "counts").exists():
                    tried, counted = map(int, (folder / "counts").read_text().split())
                    counts.tried, counts.counted = counts.tried + tried, counts.counted + counted
                if process.exitcode:
                    number = int((folder / "number").read_text())
                    counts.findings += _keep(folder, FINDINGS / f"{kind}-{number}.onnx", process.exitcode)
                    begin(job, number + arguments.jobs)
    return counts


def _work(tries: Try, start: int, step: int, seconds: float, folder: str) -> None:
    limit_memory()
    try:
        try_seeds(tries, start, step, time.monotonic() + seconds, Path(folder))
    except BaseException:
        Path(folder, "why").write_text(traceback.format_exc())
        sys.exit(1)


def _keep(folder: Path, target: Path, code: int) -> bool:
    current, why = folder / CURRENT, folder / "why"
    if not current.exists() and not why.exists():
        return False
    FINDINGS.mkdir(exist_ok=True)
    if current.exists():
        target.write_bytes(current.read_bytes())
    text = why.read_text() if why.exists() else f"the process died with exit code {code}"
    print(f"--- {target}\n{text}", flush=True)
    return True
