"""Kills the command at random moments and looks at what is there: the old result or the new one, whole, and no more.

    python -m fuzz kill [--rounds 200] [--seed 0]

Each round optimizes one of two models to the same path, with the weights inside or in a data file, also in place, and
kills the process (SIGKILL) at a random moment of its life; every tenth round is interrupted (SIGINT) instead, has to
exit with 130 and to leave nothing new. Afterwards the model at the path has to compute one of the two results, to the
bit. What a killed process leaves (a name of a moment, or data without their model) has to be gone after one more run.
Prints the counts; the exit code is 1 where a round failed or something is left.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["main", "run_rounds"]

ROOT = Path(__file__).resolve().parent.parent


def _model(fill: float) -> onnx.ModelProto:
    """A few megabytes of weights, so that writing takes a while."""
    nodes, initializers, x = [], [], "x"
    for i in range(6):
        weight = np.full((256, 256, 3, 3), fill, np.float32)
        initializers.append(numpy_helper.from_array(weight, f"w{i}"))
        for name in ("scale", "bias", "mean", "variance"):
            initializers.append(numpy_helper.from_array(np.full(256, 2.0, np.float32), f"{name}{i}"))
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1, 1, 1, 1]))
        names = [f"{name}{i}" for name in ("scale", "bias", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *names], [f"n{i}"], f"norm{i}"))
        x = f"n{i}"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 256, 8, 8]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "killed", values[:1], values[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _weights(path: Path) -> dict[str, bytes]:
    model = onnx.load(path)
    return {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in model.graph.initializer}


def _data_of(path: Path) -> set[str]:
    model = onnx.load(path, load_external_data=False)
    return {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }


def _command(source: Path, target: Path, external: bool) -> list[str]:
    flags = ["--external-data"] if external else []
    return [sys.executable, "-m", "onnxnorm", "optimize", str(source), str(target), "--no-verify", *flags]


def run_rounds(rounds: int, seed: int, folder: Path) -> dict[str, int]:
    """Counts of rounds that left the old result, the new one, and those that failed."""
    source = random.Random(seed)
    models = [folder / f"model{number}.onnx" for number in (0, 1)]
    results = []
    for number, path in enumerate(models):
        onnx.save(_model(0.001 * (number + 1)), path)
        start = time.perf_counter()
        subprocess.run(_command(path, folder / "expected.onnx", False), cwd=ROOT, check=True, capture_output=True)
        life = time.perf_counter() - start
        results.append(_weights(folder / "expected.onnx"))
    (folder / "expected.onnx").unlink()
    work = folder / "work"
    work.mkdir()
    target = work / "out.onnx"
    subprocess.run(_command(models[0], target, False), cwd=ROOT, check=True, capture_output=True)
    counts = {"old": 0, "new": 0, "finished": 0, "failed": 0}
    for number in range(rounds):
        before = _weights(target)
        wanted = number % 2
        external, in_place = source.random() < 0.5, source.random() < 0.2
        if in_place:
            # Who puts a model of another hand there takes care of the data of the one that was there.
            for name in _data_of(target):
                (work / name).unlink()
            onnx.save(_model(0.001 * (wanted + 1)), target)
            before = _weights(target)
        files = {path.name for path in work.iterdir()}
        process = subprocess.Popen(
            _command(target if in_place else models[wanted], target, external),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        time.sleep(source.uniform(0.6, 1.05) * life)
        interrupted = number % 10 == 9
        process.send_signal(signal.SIGINT if interrupted else signal.SIGKILL)
        _, errors = process.communicate()
        problem = _problem(target, before, results[wanted])
        after = {path.name for path in work.iterdir()}
        if problem is None and interrupted and process.returncode not in (0, 130):
            # Before Python runs the command's own code, the signal ends the process as it ends any other.
            problem = (
                None if b"onnxnorm" not in errors else f"exit code {process.returncode} on an interrupt: {errors!r}"
            )
        if problem is None and interrupted and process.returncode == 130 and after != files:
            problem = f"an interrupt left {sorted(after - files)}"
        if problem is not None:
            print(f"round {number}: {problem}", flush=True)
            counts["failed"] += 1
        else:
            now = _weights(target)
            kind = "finished" if process.returncode == 0 else "old" if now == before else "new"
            counts[kind] += 1
            # What counts happens near the end, and how long a run takes varies: keep aiming there.
            life *= 1.04 if kind == "old" else 0.96
    return counts


def _problem(target: Path, before: dict[str, bytes], new: dict[str, bytes]) -> str | None:
    try:
        onnx.checker.check_model(str(target))
        now = _weights(target)
    except Exception as error:
        return f"the result is broken: {error}"
    return None if now in (before, new) else "the result is neither the old one nor the new one"


def leftovers(folder: Path) -> tuple[set[str], set[str]]:
    """The files that the killed left behind, and those that are still there after one more run."""
    work = folder / "work"

    def strangers() -> set[str]:
        return {path.name for path in work.iterdir()} - {"out.onnx", *_data_of(work / "out.onnx")}

    before = strangers()
    subprocess.run(_command(folder / "model0.onnx", work / "out.onnx", True), cwd=ROOT, check=True, capture_output=True)
    return before, strangers()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        counts = run_rounds(arguments.rounds, arguments.seed, Path(name))
        before, after = leftovers(Path(name))
    print(
        f"{arguments.rounds} rounds: {counts['old']} left the old result, {counts['new']} the new one, "
        f"{counts['finished']} finished first, {counts['failed']} failed; {len(before)} files left by the last killed, "
        f"{len(after)} after one more run"
    )
    return 1 if counts["failed"] or after else 0
