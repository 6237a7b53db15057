"""Networks trained with branches: as exported, merged from the file alone, and collapsed in PyTorch by their papers.

    python -m bench merge [NAME ...] [--seconds S]

For each model: nodes; latency in onnxruntime with all its optimizations, one thread, medians of interleaved runs; the
largest difference to a float64 run of the exported model, divided by its largest output. "collapsed" is exported and
optimized like the other, so that the branches alone make the difference. Exits with 1 where the merged model has more
nodes than the collapsed one, or is less accurate than the exported one beyond float32's rounding (`onnxnorm.verify`).
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time

import numpy as np
import onnx
import onnxruntime

import onnxnorm
from models import MODELS
from models._collapse import collapse
from onnxnorm.evaluate.evaluator import evaluate_float64

NETWORKS = ("repvgg", "mobileone", "acnet", "dbb", "repvit")


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def latencies(
    sessions: list[onnxruntime.InferenceSession], feeds: dict[str, np.ndarray], seconds: float
) -> list[float]:
    """Medians in milliseconds; the sessions take turns in random order, so that none profits from who ran before."""
    times: list[list[float]] = [[] for _ in sessions]
    turns = list(zip(sessions, times, strict=True))
    order = random.Random(0)
    for one, _ in turns:
        one.run(None, feeds)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 6:
        order.shuffle(turns)
        for one, own in turns:
            start = time.perf_counter()
            one.run(None, feeds)
            own.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(own) for own in times]


def measure(name: str, seconds: float) -> bool:
    spec = MODELS[name]
    network, inputs = spec.build(), spec.example_inputs()
    exported = onnxnorm.export(network, inputs, dynamic_shapes=spec.dynamic_shapes)
    merged = onnxnorm.optimize(exported).model
    by_paper = onnxnorm.export(collapse(network), inputs, dynamic_shapes=spec.dynamic_shapes)
    collapsed = onnxnorm.optimize(by_paper).model
    models = {"exported": exported, "merged": merged, "collapsed": collapsed}
    sessions = [session(model) for model in models.values()]
    feeds = {exported.graph.input[0].name: inputs[0].numpy()}
    times = dict(zip(models, latencies(sessions, feeds, seconds), strict=True))
    (exact,) = evaluate_float64(exported, feeds).values()
    largest = np.abs(exact).max()
    errors = {
        label: float(np.abs(one.run(None, feeds)[0] - exact).max() / largest)
        for label, one in zip(models, sessions, strict=True)
    }
    nodes = {label: len(model.graph.node) for label, model in models.items()}
    passed = nodes["merged"] <= nodes["collapsed"] and onnxnorm.verify(exported, merged, [feeds]).passed
    for label in models:
        speedup = times["exported"] / times[label]
        print(f"{name:>10}  {label:<9} {nodes[label]:>5} {times[label]:>9.2f} {speedup:>8.2f} {errors[label]:>9.1e}")
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each model is timed")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NETWORKS)
    if unknown:
        parser.error(f"there is no network {', '.join(sorted(unknown))}; there are: {', '.join(NETWORKS)}")
    print(f"{'model':>10}  {'form':<9} {'nodes':>5} {'ms':>9} {'speed-up':>8} {'error':>9}")
    failed = [name for name in arguments.names or NETWORKS if not measure(name, arguments.seconds)]
    if failed:
        print(f"error: less than what the papers reach: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
