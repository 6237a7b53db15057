"""Sessions on a bad day: the library loaded and unloaded again and again, from many threads, after fork and spawn.

    python -m fuzz sessions [--rounds 10000] [--threads 4]

Each round gives the native library to new session options, makes a session, runs it, compares the result to the bit
with the first one, and drops everything, upon which onnxruntime lets go of the library. Every hundredth round does it
in a forked child, every five hundredth in a spawned one. The same rounds without the library, on the portable body,
are the control: memory may not grow by more than there, save 64 bytes a round and 4 MB for the allocator.
Prints the counts; the exit code is 1 where a round failed or memory grew.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from onnxnorm import custom_ops_library_path
from onnxnorm.ops import attach
from onnxnorm.ops.schema import DOMAIN

__all__ = ["main", "run_rounds"]

_ALLOWED_PER_ROUND = 64
_ALLOWED = 4 * 2**20
X = np.random.default_rng(0).standard_normal((1, 4, 9, 11)).astype(np.float32)


def model() -> bytes:
    """Both operators, with their portable bodies."""
    nodes = [
        helper.make_node("IntraChannelLRN", ["X"], ["between"], "intra", domain=DOMAIN, kernel_shape=[3, 3]),
        helper.make_node("InterChannelLRN", ["between"], ["Y"], "inter", domain=DOMAIN, size=3),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "XY"]
    graph = helper.make_graph(nodes, "sessions", values[:1], values[1:])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=10)
    attach.attach_bodies(proto)
    return bytes(proto.SerializeToString())


def one(data: bytes, library: str | None) -> bytes:
    """A whole life of a session; the result of its run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if library is not None:
        options.register_custom_ops_library(library)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return bytes(session.run(None, {"X": X})[0].tobytes())


def _in_child(data: bytes, library: str | None, expected: bytes) -> None:
    sys.exit(0 if one(data, library) == expected else 1)


def _child(method: str, data: bytes, library: str | None, expected: bytes) -> bool:
    process = multiprocessing.get_context(method).Process(target=_in_child, args=(data, library, expected))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        return False
    return process.exitcode == 0


def resident() -> int:
    """Bytes of memory that this process has for itself."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    return 0


def run_rounds(rounds: int, threads: int, library: str | None) -> tuple[dict[str, int], int]:
    """Counts of what was done and what failed, and by how many bytes memory grew after the first tenth."""
    data = model()
    expected = one(data, library)
    counts = {"threads": 0, "fork": 0, "spawn": 0, "failed": 0}

    def many(number: int, pool: ThreadPoolExecutor) -> None:
        attempt: Callable[[int], bytes] = lambda _: one(data, library)  # noqa: E731
        for result in pool.map(attempt, range(number)):
            counts["threads"] += 1
            counts["failed"] += result != expected

    def children(first: int, last: int) -> None:
        for method, step in (("fork", 100), ("spawn", 500)):
            for _ in range(first // step, last // step):
                counts[method] += 1
                counts["failed"] += not _child(method, data, library, expected)

    step = max(1, rounds // 100)
    after_warming = 0
    done = 0
    while done < rounds:
        number = min(step, rounds - done)
        with ThreadPoolExecutor(threads) as pool:
            many(number, pool)
        children(done, done + number)
        done += number
        if done <= max(step, rounds // 10):
            gc.collect()
            after_warming = resident()
    gc.collect()
    return counts, resident() - after_warming


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    library = custom_ops_library_path()
    control, control_growth = run_rounds(arguments.rounds, arguments.threads, None)
    counts, growth = run_rounds(arguments.rounds, arguments.threads, library)
    failed = counts["failed"] + control["failed"]
    print(
        f"{arguments.rounds} sessions from {arguments.threads} threads, {counts['fork']} in forked and "
        f"{counts['spawn']} in spawned processes: {failed} failed; memory grew by {growth / 2**20:.1f} MB, by "
        f"{control_growth / 2**20:.1f} MB without the library"
    )
    allowed = max(control_growth, 0) + _ALLOWED_PER_ROUND * arguments.rounds + _ALLOWED
    return 1 if failed or growth > allowed else 0
