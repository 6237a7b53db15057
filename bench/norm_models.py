"""Networks whose normalizations stay, as PyTorch exports them, against what `--target onnxruntime` makes of them.

    python -m bench norm_models [--only NAME ...] [--threads 1 2] [--out docs/benchmarks.md]

The networks are those of `models/`, exported by PyTorch's own exporter. `onnxruntime` runs them as they are with all
its optimizations; the other columns are how many times as fast the result runs with the kernels, the result on its
portable bodies, as where the native library is not installed, and the result for the target portable. Input and output
are bound, all run in turns, and every figure is the fastest run of all turns, with one thread in processor time. The
results are compared first. Exits with 1 where a result with the kernels takes more than 1.03 times as long as the
original, beyond the noise of the machine: by the median of pairs of runs, and its lower bound. What looks slower is
measured longer. `--count` measures nothing: it prints the nodes that onnxruntime's optimization leaves.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

import onnxnorm
from bench.clock import Call, fastest
from bench.models import bound, plain_session
from bench.pages import COUNT, FIGURE, TEXT, Section, add_out
from bench.runtime.counting import Counts, after_onnxruntime
from bench.runtime.timing import Latency, compare
from bench.tables import Table, print_head, print_row
from models import MODELS

NETWORKS = (
    "vae-decoder", "style", "stylegan", "convnext", "convnext-v2", "bit", "unet-group", "preact-resnet", "densenet",
)  # fmt: skip
_SLOWER = 1.03
_SECONDS = 1.0
_OPSET = 18
SECTIONS = (
    Section(
        "norm_models",
        "docs/benchmarks.md",
        (
            {
                "network": TEXT,
                "threads": COUNT,
                "onnxruntime": rf"{FIGURE} ms",
                "with the kernels": FIGURE,
                "on the bodies": FIGURE,
                "target portable": FIGURE,
            },
        ),
        ("onnxruntime", "torch"),
    ),
)


def exported(name: str) -> tuple[onnx.ModelProto, np.ndarray]:
    """Return a network as PyTorch exports it, with all axes fixed, and an input."""
    spec, file = MODELS[name], io.BytesIO()
    inputs = spec.example_inputs()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(spec.build(), inputs, file, opset_version=_OPSET, dynamo=False)
    return onnx.load_from_string(file.getvalue()), inputs[0].numpy()


def optimized(model: onnx.ModelProto) -> Counts:
    """Count by kind the nodes that onnxruntime runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        return after_onnxruntime(path, "all")


def count(names: list[str]) -> None:
    """Print how many nodes onnxruntime runs, of the original and with the kernels, and which are more or fewer."""
    print_head("network", "onnxruntime", "with the kernels", "fewer", "more")
    for name in names:
        model, _ = exported(name)
        before, after = optimized(model), optimized(onnxnorm.optimize(model, target="onnxruntime", verify=False).model)
        changes = (", ".join(f"{kind} {n}" for kind, n in part.items()) for part in (before - after, after - before))
        print_row(name, before.total(), after.total(), *changes)


def judged(original: Call, native: Call, threads: int) -> Latency:
    """Compare the two, four times longer where the result looks slower."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    found = compare([original, native], _SECONDS, clock)
    return compare([original, native], 4 * _SECONDS, clock) if found.slower(_SLOWER) else found


def measure(name: str, threads: list[int], table: Table) -> bool:
    """Add the rows of a network to the table, and tell whether the kernels make it slower."""
    model, x = exported(name)
    native, portable = (onnxnorm.optimize(model, target=target, verify=False).model for target in
                        ("onnxruntime", "portable"))  # fmt: skip
    slower = False
    for threads_used in threads:
        sessions = {
            "original": plain_session(model, threads_used),
            "native": onnxnorm.session(native, threads=threads_used),
            "bodies": onnxnorm.session(native, threads=threads_used, portable=True),
            "portable": plain_session(portable, threads_used),
        }
        runs = {key: bound(session, session.get_inputs()[0].name, x) for key, session in sessions.items()}
        for call, _ in runs.values():
            call()
        results = [binding.copy_outputs_to_cpu()[0] for _, binding in runs.values()]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], rtol=1e-3, atol=1e-3 * float(np.abs(results[0]).max()))
        seconds = fastest({key: call for key, (call, _) in runs.items()}, processor=threads_used == 1)
        alone = seconds.pop("original")
        table.add(name, threads_used, f"{alone * 1e3:.1f} ms", *(f"{alone / each:.2f}" for each in seconds.values()))
        found = judged(runs["original"][0], runs["native"][0], threads_used)
        if found.slower(_SLOWER):
            print(
                f"{name}, {threads_used} threads: {found.ratio:.3f} times, at least {found.least:.3f}", file=sys.stderr
            )
            slower = True
    return slower


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME", help="these networks")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--count", action="store_true", help="count the nodes that are left, and measure nothing")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    if arguments.count:
        count(arguments.only)
        return 0
    table = Table(*SECTIONS[0].tables[0])
    slower = [name for name in arguments.only if measure(name, arguments.threads, table)]
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])
    if slower:
        print(f"error: slower than the original: {', '.join(slower)}", file=sys.stderr)
    return 1 if slower else 0
