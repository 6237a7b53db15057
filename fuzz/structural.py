"""Valid models with a few things wrong: thousands of them, in a process that may crash.

    python -m fuzz.structural [--minutes 60] [--seed 0] [--jobs 2]

Each input is written down before it is tried, so that one on which the process dies is known too. Findings land in
fuzz/findings/, from where the tests run them for ever after; the exit code is 1 where there are any.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz.mutate import mutated
from fuzz.seeds import FINDINGS, seed_model
from fuzz.target import limit_memory, limited, survives

__all__ = ["main", "try_seeds"]


def try_seeds(start: int, step: int, until: float, folder: Path) -> None:
    """Try seeds from `start` on until the time has come; raises with the finding written to `folder`."""
    number = start
    counts = folder / "counts"
    tried = optimized = 0
    while time.monotonic() < until:
        (folder / "number").write_text(str(number))
        data = mutated(seed_model(number // 20), number)
        (folder / "current.onnx").write_bytes(data)
        with limited():
            optimized += survives(data, folder)
        tried += 1
        counts.write_text(f"{tried} {optimized}")
        number += step


def _work(start: int, step: int, seconds: float, folder: str) -> None:
    limit_memory()
    try:
        try_seeds(start, step, time.monotonic() + seconds, Path(folder))
    except BaseException:
        Path(folder, "why").write_text(traceback.format_exc())
        sys.exit(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    until = time.monotonic() + 60 * arguments.minutes
    tried = optimized = findings = 0
    with tempfile.TemporaryDirectory() as name:
        running: dict[int, tuple[object, Path]] = {}

        def begin(job: int, start: int) -> None:
            folder = Path(tempfile.mkdtemp(dir=name))
            (folder / "number").write_text(str(start))
            seconds = until - time.monotonic()
            process = context.Process(target=_work, args=(start, arguments.jobs, seconds, str(folder)))
            process.start()
            running[job] = (process, folder)

        for job in range(arguments.jobs):
            begin(job, arguments.seed + job)
        while running:
            for job, (process, folder) in list(running.items()):
                process.join(0.2)  # type: ignore[attr-defined]
                if process.is_alive():  # type: ignore[attr-defined]
                    continue
                del running[job]
                counts = folder / "counts"
                if counts.exists():
                    done = [int(text) for text in counts.read_text().split()]
                    tried, optimized = tried + done[0], optimized + done[1]
                if process.exitcode:  # type: ignore[attr-defined]
                    findings += 1
                    number = int((folder / "number").read_text())
                    _keep(folder, number, process.exitcode)  # type: ignore[attr-defined]
                    begin(job, number + arguments.jobs)
    print(f"{tried} inputs tried, {optimized} of them optimized, the others refused; {findings} findings")
    return 1 if findings else 0


def _keep(folder: Path, number: int, code: int) -> None:
    FINDINGS.mkdir(exist_ok=True)
    target = FINDINGS / f"structural-{number}.onnx"
    target.write_bytes((folder / "current.onnx").read_bytes())
    why = folder / "why"
    text = why.read_text() if why.exists() else f"the process died with exit code {code}"
    print(f"--- {target}\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
