"""AlexNet, GoogLeNet and ZFNet as whole models: onnxruntime alone against what `onnxnorm optimize` makes of them.

    python -m bench models [--threads 1 2] [--out docs/benchmarks.md]

The models are those that the package onnx ships as test data (`light_*`). `onnxruntime` runs them as they are with all
its optimizations; the other columns are how many times as fast the results for the targets onnxruntime (with
`onnxnorm.session`) and portable (in plain onnxruntime) run, on the same threads. Input and output are bound, all run in
turns, and every figure is the fastest run of all turns. The results are compared first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import onnxnorm
from bench.clock import Call, fastest
from bench.pages import COUNT, FIGURE, TEXT, Section, add_out
from bench.tables import Table

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = {"AlexNet": "light_bvlc_alexnet", "GoogLeNet": "light_inception_v1", "ZFNet": "light_zfnet512"}
SECTIONS = (
    Section(
        "models",
        "docs/benchmarks.md",
        (
            {
                "model": TEXT,
                "threads": COUNT,
                "onnxruntime": rf"{FIGURE} ms",
                "target onnxruntime": FIGURE,
                "target portable": FIGURE,
            },
        ),
    ),
)


def plain_session(model: onnx.ModelProto | str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    source = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def bound(session: onnxruntime.InferenceSession, name: str, x: np.ndarray) -> tuple[Call, onnxruntime.IOBinding]:
    binding = session.io_binding()
    binding.bind_cpu_input(name, x)
    binding.bind_output(session.get_outputs()[0].name)
    return (lambda: session.run_with_iobinding(binding)), binding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    table = Table(*SECTIONS[0].tables[0])
    for title, name in MODELS.items():
        path = str(LIGHT / f"{name}.onnx")
        native, portable = (
            onnxnorm.optimize(path, target=target, verify=False).model for target in ("onnxruntime", "portable")
        )
        for threads in arguments.threads:
            sessions = {
                "onnxruntime": plain_session(path, threads),
                "native": onnxnorm.session(native, threads=threads),
                "portable": plain_session(portable, threads),
            }
            given = {value.name for value in onnx.load(path).graph.initializer}
            (entry,) = (value for value in sessions["onnxruntime"].get_inputs() if value.name not in given)
            x = np.random.default_rng(0).standard_normal(entry.shape, dtype=np.float32)
            runs = {key: bound(session, entry.name, x) for key, session in sessions.items()}
            for call, _ in runs.values():
                call()
            results = [binding.copy_outputs_to_cpu()[0] for _, binding in runs.values()]
            for result in results[1:]:
                np.testing.assert_allclose(result, results[0], rtol=1e-3, atol=1e-5)
            seconds = fastest({key: call for key, (call, _) in runs.items()})
            alone = seconds["onnxruntime"]
            ratios = (f"{alone / seconds[key]:.2f}" for key in ("native", "portable"))
            table.add(title, threads, f"{alone * 1e3:.1f} ms", *ratios)
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])
