"""Networks whose normalizations stay, as PyTorch exports them, against what `--target onnxruntime` makes of them.

    python -m bench norm_models [--only NAME ...] [--threads 1 2] [--out docs/benchmarks.md]

The networks are those of `models/`, exported by PyTorch's own exporter. `onnxruntime` runs them as they are with all
its optimizations; the other columns are how many times as fast the result runs with the kernels, the result on its
portable bodies, as where the native library is not installed, and the result for the target portable. Input and output
are bound, all run in turns, and every figure is the fastest run of all turns, with one thread in processor time. The
results are compared first. Exits with 1 where a result with the kernels is slower than 0.97 times the original.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings

import numpy as np
import onnx
import torch

import onnxnorm
from bench.clock import fastest
from bench.models import bound, plain_session
from bench.pages import COUNT, FIGURE, TEXT, Section, add_out
from bench.tables import Table
from models import MODELS

NETWORKS = (
    "vae-decoder", "style", "stylegan", "convnext", "convnext-v2", "bit", "unet-group", "preact-resnet", "densenet",
)  # fmt: skip
_NOT_WORSE = 0.97
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


def measure(name: str, threads: list[int], table: Table) -> float:
    """Add the rows of a network to the table, and return the least speed-up by the kernels."""
    model, x = exported(name)
    native, portable = (onnxnorm.optimize(model, target=target, verify=False).model for target in
                        ("onnxruntime", "portable"))  # fmt: skip
    worst = np.inf
    for count in threads:
        sessions = {
            "original": plain_session(model, count),
            "native": onnxnorm.session(native, threads=count),
            "bodies": onnxnorm.session(native, threads=count, portable=True),
            "portable": plain_session(portable, count),
        }
        runs = {key: bound(session, session.get_inputs()[0].name, x) for key, session in sessions.items()}
        for call, _ in runs.values():
            call()
        results = [binding.copy_outputs_to_cpu()[0] for _, binding in runs.values()]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], rtol=1e-3, atol=1e-3 * float(np.abs(results[0]).max()))
        seconds = fastest({key: call for key, (call, _) in runs.items()}, processor=count == 1)
        alone = seconds.pop("original")
        table.add(name, count, f"{alone * 1e3:.1f} ms", *(f"{alone / each:.2f}" for each in seconds.values()))
        worst = min(worst, alone / seconds["native"])
    return float(worst)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, metavar="NAME", help="these networks")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    table = Table(*SECTIONS[0].tables[0])
    worst = {name: measure(name, arguments.threads, table) for name in arguments.only}
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])
    slower = [name for name, least in worst.items() if least < _NOT_WORSE]
    if slower:
        print(f"error: slower than the original: {', '.join(slower)}", file=sys.stderr)
    return 1 if slower else 0
