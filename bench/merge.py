"""Networks trained with branches: as exported, merged from the file alone, and collapsed in PyTorch by their papers.

    python -m bench merge [NAME ...] [--seconds S] [--out docs/merging.md]

For each model: nodes; latency in onnxruntime with all its optimizations, one thread, medians of interleaved runs; the
largest difference to a float64 run of the exported model, divided by its largest output. "collapsed" is exported and
optimized like the other, so that the branches alone make the difference. Exits with 1 where the merged model has more
nodes than the collapsed one, or is less accurate than the exported one beyond float32's rounding (`onnxnorm.verify`).
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np

import onnxnorm
from bench.clock import medians, one_thread
from bench.pages import FIGURE, TEXT, Section, add_out
from bench.tables import Table
from models import MODELS
from models._collapse import collapse
from onnxnorm.evaluate.evaluator import evaluate_float64

NETWORKS = ("repvgg", "mobileone", "acnet", "dbb", "repvit")
SECTIONS = (
    Section(
        "merge",
        "docs/merging.md",
        (
            {
                "model": TEXT,
                "nodes as exported, merged, collapsed": r"\d+, \d+, \d+",
                "speed-up merged": FIGURE,
                "speed-up collapsed": FIGURE,
                "error as exported, merged": r"\d\.\de-\d+, \d\.\de-\d+",
            },
        ),
        ("onnx", "onnxruntime", "torch"),
    ),
)


def measure(name: str, seconds: float, table: Table) -> bool:
    spec = MODELS[name]
    network, inputs = spec.build(), spec.example_inputs()
    exported = onnxnorm.export(network, inputs, dynamic_shapes=spec.dynamic_shapes)
    merged = onnxnorm.optimize(exported, verify=False).model
    by_paper = onnxnorm.export(collapse(network), inputs, dynamic_shapes=spec.dynamic_shapes)
    collapsed = onnxnorm.optimize(by_paper, verify=False).model
    models = {"exported": exported, "merged": merged, "collapsed": collapsed}
    sessions = [one_thread(model) for model in models.values()]
    feeds = {exported.graph.input[0].name: inputs[0].numpy()}
    calls = [partial(one.run, None, feeds) for one in sessions]
    times = dict(zip(models, medians(calls, seconds), strict=True))
    (exact,) = evaluate_float64(exported, feeds).values()
    largest = np.abs(exact).max()
    errors = {
        label: float(np.abs(one.run(None, feeds)[0] - exact).max() / largest)
        for label, one in zip(models, sessions, strict=True)
    }
    nodes = {label: len(model.graph.node) for label, model in models.items()}
    passed = nodes["merged"] <= nodes["collapsed"] and onnxnorm.verify(exported, merged, [feeds]).passed
    table.add(
        name,
        ", ".join(str(count) for count in nodes.values()),
        *(f"{times['exported'] / times[label]:.2f}" for label in ("merged", "collapsed")),
        ", ".join(f"{errors[label]:.1e}" for label in ("exported", "merged")),
    )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each model is timed")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NETWORKS)
    if unknown:
        parser.error(f"there is no network {', '.join(sorted(unknown))}; there are: {', '.join(NETWORKS)}")
    if arguments.out and arguments.names:
        parser.error("--out wants all networks")
    table = Table(*SECTIONS[0].tables[0])
    failed = [name for name in arguments.names or NETWORKS if not measure(name, arguments.seconds, table)]
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])
    if failed:
        print(f"error: less than what the papers reach: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
