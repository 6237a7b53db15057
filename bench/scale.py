"""Time over the number of nodes: for each stage, for the command, and for other tools; with the exponent fitted.

    python -m bench scale [--model chain] [--nodes 1000,10000,50000] [--rivals] [--limit 60]
    python -m bench scale --nodes 1000,10000,48000 --rivals --out docs/benchmarks.md
    python -m bench scale --model transformer --nodes 1000,10000 --out docs/benchmarks.md

The model is a chain of Conv, BatchNormalization and Relu of four channels, or a transformer of width 8 with all its
normalizations written out, so that time goes by nodes, not by weights. A chain is a plain network, which the command
folds on the message (onnxnorm/optimizer/fast_path): these stages are called `plain`. The others are those of the
passes, in the chain too, although the command does not need them there.
The exponent is the slope of a line through the logarithms: with 1, ten times the nodes take ten times the time.
Stages are measured in one process; tools and the command as whole processes, imports included; all in processor time,
which other processes disturb less. What takes longer than the limit is left out for larger models.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import gc
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from bench.pages import FIGURE, TEXT, Section, add_out
from bench.tables import Table

RIVALS = {
    "onnxsim": "import onnx,onnxsim,sys; m,_=onnxsim.simplify(sys.argv[1]); onnx.save(m,sys.argv[2])",
    "onnxslim": "import onnxslim,sys; onnxslim.slim(sys.argv[1],sys.argv[2])",
    "onnxscript rewriter": "import onnx_ir as ir,sys; from onnxscript import rewriter; m=ir.load(sys.argv[1]); "
    "ir.save(rewriter.rewrite(m),sys.argv[2])",
    "onnxruntime": "import onnxruntime as o,sys; s=o.SessionOptions(); s.optimized_model_filepath=sys.argv[2]; "
    "s.graph_optimization_level=o.GraphOptimizationLevel.ORT_ENABLE_EXTENDED; o.InferenceSession(sys.argv[1],s)",
    "onnxoptimizer": "import onnx,onnxoptimizer as p,sys; onnx.save(p.optimize(onnx.load(sys.argv[1]),"
    "['fuse_bn_into_conv']),sys.argv[2])",
}
CHANNELS = 4
WIDTH, HEADS = 8, 2


def chain(blocks: int) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes, constants, x = [], [], "x"
    for i in range(blocks):
        arrays = {
            "w": random.normal(size=(CHANNELS, CHANNELS, 1, 1)),
            "scale": random.uniform(0.5, 2.0, CHANNELS),
            "bias": random.normal(size=CHANNELS),
            "mean": random.normal(size=CHANNELS),
            "variance": random.uniform(0.5, 2.0, CHANNELS),
        }
        constants += [numpy_helper.from_array(a.astype(np.float32), f"{name}{i}") for name, a in arrays.items()]
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}"))
        statistics = [f"{name}{i}" for name in ("scale", "bias", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}", *statistics], [f"n{i}"], f"norm{i}"))
        nodes.append(helper.make_node("Relu", [f"n{i}"], [f"r{i}"], f"relu{i}"))
        x = f"r{i}"
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, CHANNELS, 8, 8]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Transformer:
    """Before each of the two parts of a layer a LayerNorm of nine nodes; a GELU of five between two products."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.heads = self.constant(np.array([0, 0, HEADS, WIDTH // HEADS]))
        self.merged = self.constant(np.array([0, 0, WIDTH]))

    def constant(self, array: npt.ArrayLike) -> str:
        array = np.asarray(array)
        name = f"c{len(self.constants)}"
        self.constants.append(
            numpy_helper.from_array(array.astype(np.float32 if array.dtype.kind == "f" else np.int64), name)
        )
        return name

    def node(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], f"{op_type}_{len(self.nodes)}", **attributes))
        return name

    def norm(self, x: str) -> str:
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centred, self.constant(2.0)), axes=[-1])
        deviation = self.node("Sqrt", self.node("Add", variance, self.constant(1e-5)))
        scaled = self.node(
            "Mul", self.node("Div", centred, deviation), self.constant(self.random.uniform(0.5, 2.0, WIDTH))
        )
        return self.node("Add", scaled, self.constant(self.random.normal(size=WIDTH)))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", x, self.constant(self.random.normal(size=(inputs, outputs)) / inputs**0.5))
        return self.node("Add", product, self.constant(self.random.normal(size=outputs)))

    def layer(self, x: str) -> str:
        h = self.norm(x)
        query, key, value = (
            self.node("Transpose", self.node("Reshape", self.linear(h, WIDTH, WIDTH), self.heads), perm=[0, 2, 1, 3])
            for _ in range(3)
        )
        likeness = self.node("MatMul", query, self.node("Transpose", key, perm=[0, 1, 3, 2]))
        weights = self.node("Softmax", self.node("Div", likeness, self.constant((WIDTH / HEADS) ** 0.5)))
        read = self.node("Transpose", self.node("MatMul", weights, value), perm=[0, 2, 1, 3])
        x = self.node("Add", x, self.linear(self.node("Reshape", read, self.merged), WIDTH, WIDTH))
        h = self.linear(self.norm(x), WIDTH, 2 * WIDTH)
        erf = self.node("Erf", self.node("Div", h, self.constant(2.0**0.5)))
        gelu = self.node("Mul", self.node("Mul", h, self.node("Add", erf, self.constant(1.0))), self.constant(0.5))
        return self.node("Add", x, self.linear(gelu, 2 * WIDTH, WIDTH))


def transformer(layers: int) -> onnx.ModelProto:
    made, x = _Transformer(), "x"
    for _ in range(layers):
        x = made.layer(x)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", WIDTH]) for name in ("x", x)]
    graph = helper.make_graph(made.nodes, "transformer", values[:1], values[1:], made.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS = {"chain": (chain, 3), "transformer": (transformer, len(transformer(1).graph.node))}
"""What makes each, of how many parts, and how many nodes a part has."""


def _section(command: str, sizes: str) -> Section:
    columns = (
        {"seconds at nodes": TEXT} | dict.fromkeys(sizes.split(","), rf"{FIGURE}|-") | {"exponent": rf"-?{FIGURE}|-"}
    )
    return Section(command, "docs/benchmarks.md", (columns,), ("onnx", *(name.split()[0] for name in RIVALS)))


SECTIONS = (
    _section("scale --nodes 1000,10000,48000 --rivals", "1000,10000,48000"),
    _section("scale --model transformer --nodes 1000,10000", "1000,10000"),
)


def compile_package() -> None:
    """As an installation does: a working tree may be without compiled modules, which take longest of all to start."""
    compileall.compile_dir(Path(onnxnorm.__file__).parent, quiet=1)


def stages(path: Path, output: Path) -> dict[str, float]:
    """Processor seconds of each stage, in a process that has imported everything."""
    from onnxnorm.io import load_and_save
    from onnxnorm.io.model_source import ModelSource
    from onnxnorm.io.replace import write_message
    from onnxnorm.optimizer.fast_path import folding_of
    from onnxnorm.passes import DEFAULT, PASSES, Journal, PassSettings

    found: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        found[stage] = found.get(stage, 0.0) + time.process_time() - start

    gc.collect()
    gc.disable()
    with timed("plain: read"):
        message = ModelSource(path).message
    with timed("plain: look, compute"):
        folding = None if message is None else folding_of(message)
    if message is not None and folding is not None:
        with timed("plain: fold"):
            message, _ = folding.carry_out()
        with timed("plain: write"):
            write_message(message.SerializeToString(), output)
    with timed("load"):
        model = load_and_save.load(path)
    journal, settings = Journal(), PassSettings()
    for name in DEFAULT:
        with timed(name):
            PASSES[name](journal, settings)(model)
    with timed("save"):
        load_and_save.save(model, output)
    gc.enable()
    return found


def processor_seconds() -> float:
    """Of all child processes so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def exponent(sizes: list[int], times: list[float]) -> str:
    """The slope over the sizes at which the time can be measured at all."""
    points = [(size, seconds) for size, seconds in zip(sizes, times, strict=False) if seconds > 0.02]
    if len(points) < 2:
        return "-"
    slope, _ = np.polyfit(*np.log(np.array(points)).T, 1)
    return f"{slope:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="chain")
    parser.add_argument("--nodes", default="1000,5000,20000,48000", help="sizes, up to 500000")
    parser.add_argument("--rivals", action="store_true", help="measure other tools too")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a tool is stopped")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    section = SECTIONS[list(MODELS).index(arguments.model)]
    sizes = [int(text) for text in arguments.nodes.split(",")]
    table: dict[str, list[float]] = {}
    stopped = set()
    compile_package()
    with tempfile.TemporaryDirectory() as name:
        path, output = Path(name, "in.onnx"), Path(name, "out.onnx")
        for size in sizes:
            make, nodes = MODELS[arguments.model]
            onnx.save(make(size // nodes), path)
            for stage, seconds in stages(path, output).items():
                table.setdefault(stage, []).append(seconds)
            command = [sys.executable, "-m", "onnxnorm", "optimize", str(path), str(output), "--no-verify"]
            tools = {"onnxnorm optimize": command}
            if arguments.rivals:
                tools |= {tool: [sys.executable, "-c", code, str(path), str(output)] for tool, code in RIVALS.items()}
            for tool, run in tools.items():
                times = table.setdefault(tool, [])
                if tool in stopped:
                    continue
                before = processor_seconds()
                try:
                    process = subprocess.run(run, capture_output=True, timeout=arguments.limit)
                except subprocess.TimeoutExpired:
                    stopped.add(tool)
                    continue
                if process.returncode:
                    stopped.add(tool)
                    continue
                times.append(processor_seconds() - before)
    printed = Table("seconds at nodes", *map(str, sizes), "exponent")
    for row, times in table.items():
        cells = [f"{seconds:.2f}" for seconds in times] + ["-"] * (len(sizes) - len(times))
        printed.add(row, *cells, exponent(sizes, times))
    if arguments.out:
        section.write(arguments.out, [printed])
