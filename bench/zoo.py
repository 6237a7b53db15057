"""The command on every network of models/ and every light_* model, as whole processes, against the peers.

    python -m bench zoo [--only NAME ...] [--out DIR] [--rounds 3]

Each tool reads a file and writes one in a process of its own, so start and imports of Python count. Shown is the best
of the rounds, and how many affines are left (see bench/fold.py). `slower` names the peers that were faster than we on a
network and left no fewer affines than we did; the last line counts them.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx

from bench.fold import affines, networks
from bench.scale import RIVALS, compile_package
from bench.tables import print_head, print_row

_PACKAGES = {"onnxscript rewriter": "onnxscript"}


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
    parser.add_argument("--out", type=Path, help="a folder for the exported models, kept and used again")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rivals = {tool: code for tool, code in RIVALS.items() if importlib.util.find_spec(_PACKAGES.get(tool, tool))}
    tried = slower = 0
    compile_package()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        source, target = Path(temporary, "in.onnx"), Path(temporary, "out.onnx")
        print_head("model", "onnxnorm", *rivals, "slower")
        for name, model, _ in networks(arguments.only, folder):
            onnx.save(model, source)
            ours = [sys.executable, "-m", "onnxnorm", "optimize", str(source), str(target), "--no-verify"]
            commands = {"onnxnorm": ours}
            commands |= {tool: [sys.executable, "-c", code, str(source), str(target)] for tool, code in rivals.items()}
            cells, found = [name], {}
            for tool, command in commands.items():
                target.unlink(missing_ok=True)
                seconds = best_of(command, arguments.rounds)
                count = None if seconds is None else left(target)
                if seconds is not None and count is not None:
                    found[tool] = (seconds, count)
                cells.append("-" if seconds is None else f"{'?' if count is None else count}  {seconds:.2f} s")
            own_seconds, own_count = found.pop("onnxnorm")
            faster = [tool for tool, (seconds, count) in found.items() if seconds < own_seconds and count >= own_count]
            slower += len(faster)
            tried += 1
            print_row(*cells, ", ".join(faster))
    print(f"{tried} networks, {len(rivals)} peers: {slower} times slower than one that leaves no fewer affines")
