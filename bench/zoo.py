"""The command on every network of models/ and every light_* model, as whole processes, against the peers.

    python -m bench zoo [--only NAME ...] [--cache DIR] [--rounds 3] [--out docs/benchmarks.md]

Each tool reads a file and writes one in a process of its own, so start and imports of Python count. Shown is the best
of the rounds, and how many affines are left (see bench/fold.py). `faster` names the peers that were faster on a network
and left no fewer affines. The second table counts these networks for each peer, and those of them whose affines the
peer left as they were.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import onnx

from bench.fold import affines, networks
from bench.pages import COUNT, FIGURE, TEXT, Section, add_out
from bench.scale import RIVALS, compile_package
from bench.tables import Table

_PACKAGES = {"onnxscript rewriter": "onnxscript"}
SECTIONS = (
    Section(
        "zoo",
        "docs/benchmarks.md",
        (
            {
                "tool": TEXT,
                "networks": COUNT,
                "median": rf"{FIGURE} s|-",
                "fewer affines left than by onnxnorm": rf"{COUNT}|-",
                "faster, no fewer left": rf"{COUNT}|-",
                "of these, none removed": rf"{COUNT}|-",
            },
        ),
        ("onnx", "onnxsim", "onnxslim", "onnxscript", "onnxruntime", "onnxoptimizer"),
    ),
)


@dataclass(frozen=True)
class Result:
    """What one tool did with one network.

    Attributes:
        before: affines of the network.
        left: affines of the file that the tool wrote; None where it failed, or wrote none that can be read.
        seconds: wall time; None where the tool failed.
    """

    before: int
    left: int | None
    seconds: float | None

    def is_faster(self, other: Result) -> bool:
        """Tell whether the tool was faster than the other and left no fewer affines."""
        if None in (self.left, self.seconds, other.left, other.seconds):
            return False
        return self.seconds < other.seconds and self.left >= other.left

    def __str__(self) -> str:
        return "-" if self.seconds is None else f"{'?' if self.left is None else self.left}  {self.seconds:.2f} s"


def summarize(found: Sequence[Result], own: Sequence[Result]) -> tuple[int | str, ...]:
    """Return the cells of a tool in the second table."""
    pairs = list(zip(found, own, strict=True))
    times = [each.seconds for each in found if each.seconds is not None]
    faster = [each for each, ours in pairs if each.is_faster(ours)]
    fewer = [each for each, ours in pairs if each.left is not None and ours.left is not None and each.left < ours.left]
    untouched = [each for each in faster if each.left == each.before]
    return len(times), f"{median(times):.2f} s" if times else "-", len(fewer), len(faster), len(untouched)


def best_of(command: list[str], rounds: int) -> float | None:
    """Seconds of wall time; None where the tool fails."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        if subprocess.run(command, capture_output=True).returncode:
            return None
        times.append(time.perf_counter() - start)
    return min(times)


def left(path: Path) -> int | None:
    try:
        return affines(onnx.load(path))
    except Exception:
        # A peer may write anything.
        return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench zoo", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks alone")
    parser.add_argument("--cache", type=Path, help="a folder for the exported models, kept and used again")
    parser.add_argument("--rounds", type=int, default=3)
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    if arguments.out and arguments.only:
        parser.error("--out wants all networks")
    logging.disable(logging.WARNING)
    rivals = {tool: code for tool, code in RIVALS.items() if importlib.util.find_spec(_PACKAGES.get(tool, tool))}
    results: dict[str, list[Result]] = {tool: [] for tool in ("onnxnorm", *rivals)}
    compile_package()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source, target = Path(temporary, "in.onnx"), Path(temporary, "out.onnx")
        table = Table("model", *results, "faster")
        for name, model, _ in networks(arguments.only, folder):
            onnx.save(model, source)
            ours = [sys.executable, "-m", "onnxnorm", "optimize", str(source), str(target), "--no-verify"]
            commands = {"onnxnorm": ours}
            commands |= {tool: [sys.executable, "-c", code, str(source), str(target)] for tool, code in rivals.items()}
            for tool, command in commands.items():
                target.unlink(missing_ok=True)
                seconds = best_of(command, arguments.rounds)
                results[tool].append(Result(affines(model), None if seconds is None else left(target), seconds))
            own = results["onnxnorm"][-1]
            faster = [tool for tool in rivals if results[tool][-1].is_faster(own)]
            table.add(name, *(found[-1] for found in results.values()), ", ".join(faster))
    summary = Table(*SECTIONS[0].tables[0])
    for tool, found in results.items():
        summary.add(tool, *summarize(found, results["onnxnorm"]))
    if arguments.out:
        SECTIONS[0].write(arguments.out, [summary])
