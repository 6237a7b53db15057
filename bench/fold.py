"""Affines left by onnxnorm and by each peer installed, for real networks, and the time each took.

    python -m bench fold [--only NAME ...] [--cache DIR] [--no-weights] [--out docs/benchmarks.md]

Networks: those of `models/`, exported with every normalization in place, and the light_* models of the package onnx,
where they have batch normalizations.
Peers: the extra `bench` of pyproject.toml installs them. An affine is a node that computes scale * x + shift by
constants: BatchNormalization, and Mul, Add, Sub, Div, Neg by constants. `!` marks a result that computes something else
(off by more than 1e-3 of the largest output in onnxruntime), `?` one that onnxruntime does not run, `-` a tool that
failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import ShapeInferencePass

import onnxnorm
from bench.pages import COUNT, FIGURE, TEXT, Section, add_out
from bench.tables import Table
from onnxnorm.affine import AffineNode, affine_of, is_affine
from onnxnorm.graph.facts import Facts
from onnxnorm.runtime.library import find_library

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

Feeds = dict[str, np.ndarray]
Fold = Callable[[onnx.ModelProto], onnx.ModelProto]


def ours(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnxnorm.optimize(model, verify=False).model


def onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim

    return onnxsim.simplify(model)[0]


def onnxslim(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    return onnxslim.slim(model)


def onnxoptimizer(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxoptimizer

    return onnxoptimizer.optimize(model, onnxoptimizer.get_fuse_and_elimination_passes())


def onnxscript(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxscript.optimizer
    import onnxscript.rewriter

    return onnxscript.rewriter.rewrite(onnxscript.optimizer.optimize(model))


def runtime(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "extended.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        _session(model, options)
        return onnx.load(path)


TOOLS: Mapping[str, Fold] = {
    "onnxnorm": ours,
    "onnxsim": onnxsim,
    "onnxslim": onnxslim,
    "onnxoptimizer": onnxoptimizer,
    "onnxscript": onnxscript,
    "onnxruntime": runtime,
}

PEERS = tuple(tool for tool in TOOLS if tool != "onnxnorm")
_OUTCOME = rf"-|\d+[!?]?  {FIGURE} s"
SECTIONS = (
    Section(
        "fold",
        "docs/benchmarks.md",
        (
            {"model": TEXT, "affines": COUNT} | dict.fromkeys(TOOLS, _OUTCOME),
            {
                "weights": rf"{COUNT} MB",
                "BatchNormalizations": COUNT,
                "read and written": rf"{FIGURE} s",
                "folded from file to file": rf"{FIGURE} s",
                "ratio": FIGURE,
                "left": COUNT,
            },
        ),
        ("onnx", *PEERS),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What one tool made of one network: affines left (None: it failed), seconds, and a mark (see above)."""

    left: int | None
    seconds: float
    mark: str = ""

    def __str__(self) -> str:
        return "-" if self.left is None else f"{self.left}{self.mark}  {self.seconds:.2f} s"


def affines(model: onnx.ModelProto) -> int:
    typed = onnx_ir.from_proto(model)
    # Files of old versions, and what some tools make of them, list constants among the inputs: they are counted all the
    # same.
    typed.graph.inputs[:] = [value for value in typed.graph.inputs if value.name not in typed.graph.initializers]
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(typed)
    facts = Facts(typed)
    graphs = [*typed.graphs(), *(f.graph for f in typed.functions.values() if f.domain != "onnxnorm")]
    nodes = [node for graph in graphs for node in graph if is_affine(node)]
    return sum(isinstance(affine_of(node, facts), AffineNode) for node in nodes)


def networks(only: list[str] | None, folder: Path) -> Iterator[tuple[str, onnx.ModelProto, Feeds]]:
    if importlib.util.find_spec("torch") is not None:
        from models import MODELS

        for name, spec in MODELS.items():
            if only is None or name in only:
                path = folder / f"{name}.onnx"
                if not path.exists():
                    onnxnorm.export(spec.build(), spec.example_inputs(), path, dynamic_shapes=spec.dynamic_shapes)
                model = onnx.load(path)
                yield name, model, {model.graph.input[0].name: spec.example_inputs()[0].numpy()}
    random = np.random.default_rng(0)
    for path in sorted(LIGHT.glob("light_*.onnx")):
        if only is None or path.stem in only:
            model = onnx.load(path)
            constants = {tensor.name for tensor in model.graph.initializer}
            (value,) = (value for value in model.graph.input if value.name not in constants)
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            yield path.stem, model, {value.name: random.normal(size=shape).astype(np.float32)}


def _session(model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    options.intra_op_num_threads = 1
    if (library := find_library()) is not None:
        options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs(model: onnx.ModelProto, feeds: Feeds) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return _session(model, options).run(None, feeds)


def try_tool(tool: Fold, model: onnx.ModelProto, feeds: Feeds, wanted: list[np.ndarray]) -> Outcome:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    start = time.perf_counter()
    try:
        result = tool(copy)
    except Exception:
        # A peer may fail in any way; the table says that it did.
        return Outcome(None, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    try:
        got = outputs(result, feeds)
    except Exception:
        return Outcome(affines(result), seconds, "?")
    right = all(
        a.shape == b.shape and np.abs(a - b).max(initial=0.0) <= 1e-3 * np.abs(a).max(initial=0.0)
        for a, b in zip(wanted, got, strict=True)
    )
    return Outcome(affines(result), seconds, "" if right else "!")


def resnet50_sized() -> onnx.ModelProto:
    """The convolutions of ResNet-50, each with its BatchNormalization, in one chain: 100 MB of weights."""
    random = np.random.default_rng(0)
    nodes, constants = [], []

    def add(channels: int, outputs: int, kernel: int, x: str) -> str:
        index = len(nodes)
        pieces = {"w": random.normal(0, 0.05, (outputs, channels, kernel, kernel))}
        pieces |= {name: random.uniform(0.5, 2.0, outputs) for name in ("gamma", "beta", "mean", "variance")}
        names = {key: f"{key}{index}" for key in pieces}
        constants.extend(numpy_helper.from_array(a.astype(np.float32), names[key]) for key, a in pieces.items())
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [x, names["w"]], [f"c{index}"], name=f"conv{index}", pads=pads))
        statistics = [names[key] for key in ("gamma", "beta", "mean", "variance")]
        norm = helper.make_node("BatchNormalization", [f"c{index}", *statistics], [f"n{index}"], name=f"norm{index}")
        nodes.extend([norm, helper.make_node("Relu", [f"n{index}"], [f"r{index}"])])
        return f"r{index}"

    x, channels = add(3, 64, 7, "x"), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(blocks):
            for outputs, kernel in ((width, 1), (width, 3), (4 * width, 1)):
                x, channels = add(channels, outputs, kernel, x), outputs
    graph = helper.make_graph(
        nodes, "resnet50 sized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 8, 8))],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ("batch", channels, 8, 8))],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def measure_weights(folder: Path, rounds: int = 5) -> Table:
    source, copied, folded = (folder / f"{name}.onnx" for name in ("source", "copied", "folded"))
    onnx.save(resnet50_sized(), source)
    copies, folds = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        onnx.save(onnx.load(source), copied)
        middle = time.perf_counter()
        onnxnorm.fold(source, verify=False).save(folded)
        copies.append(middle - start)
        folds.append(time.perf_counter() - middle)
    copy, fold = sorted(copies)[rounds // 2], sorted(folds)[rounds // 2]
    table = Table(*SECTIONS[0].tables[1])
    size, norms, left = f"{source.stat().st_size / 1e6:.0f} MB", affines(onnx.load(source)), affines(onnx.load(folded))
    table.add(size, norms, f"{copy:.2f} s", f"{fold:.2f} s", f"{fold / copy:.1f}", left)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench fold", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks alone")
    parser.add_argument("--cache", type=Path, help="a folder for the exported models, kept and used again")
    parser.add_argument("--no-weights", action="store_true", help="leave out the measurement of 100 MB of weights")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    if arguments.out and (arguments.only or arguments.no_weights):
        parser.error("--out wants all networks, and the weights")
    logging.disable(logging.WARNING)
    tools = {name: tool for name, tool in TOOLS.items() if importlib.util.find_spec(name) is not None}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for tool in tools.values():
            # What a tool loads on its first call is no part of its time.
            try_tool(tool, _warm_up(), {"x": np.ones((1, 3, 4, 4), np.float32)}, [np.zeros(0)])
        table = Table("model", "affines", *tools)
        for name, model, feeds in networks(arguments.only, folder):
            if not any(node.op_type == "BatchNormalization" for node in model.graph.node):
                continue
            wanted = outputs(model, feeds)
            outcomes = [try_tool(tool, model, feeds, wanted) for tool in tools.values()]
            table.add(name, affines(model), *outcomes)
        if not arguments.no_weights:
            weights = measure_weights(folder)
            if arguments.out:
                SECTIONS[0].write(arguments.out, [table, weights])


def _warm_up() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])], "warm up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 4, 4))],
        [weight],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
