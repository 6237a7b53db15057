"""Time over the number of nodes: for each stage, for the command, and for other tools; with the exponent fitted.

    python -m bench.scale [--nodes 1000,10000,50000] [--rivals] [--limit 60]

The model is a chain of Conv, BatchNormalization and Relu of four channels, so that time goes by nodes, not by weights.
The exponent is the slope of a line through the logarithms: with 1, ten times the nodes take ten times the time.
Stages are measured in one process; tools and the command as whole processes, imports included; all in processor time,
which other processes disturb less. What takes longer than the limit is left out for larger models.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxnorm

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


def compile_package() -> None:
    """As an installation does: a working tree may be without compiled modules, which take longest of all to start."""
    compileall.compile_dir(Path(onnxnorm.__file__).parent, quiet=1)


def stages(path: Path, output: Path) -> dict[str, float]:
    """Processor seconds of each stage, in a process that has imported everything."""
    from onnxnorm import _model_io
    from onnxnorm.passes import DEFAULT, PASSES, Journal, PassSettings

    found = {}
    gc.collect()
    gc.disable()
    start = time.process_time()
    model = _model_io.load(path)
    found["load"] = time.process_time() - start
    journal, settings = Journal(), PassSettings()
    for name in DEFAULT:
        start = time.process_time()
        PASSES[name](journal, settings)(model)
        found[name] = found.get(name, 0.0) + time.process_time() - start
    start = time.process_time()
    _model_io.save(model, output)
    found["save"] = time.process_time() - start
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
    parser.add_argument("--nodes", default="1000,5000,20000,48000", help="sizes, up to 500000")
    parser.add_argument("--rivals", action="store_true", help="measure other tools too")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a tool is stopped")
    arguments = parser.parse_args()
    sizes = [int(text) for text in arguments.nodes.split(",")]
    table: dict[str, list[float]] = {}
    stopped = set()
    compile_package()
    with tempfile.TemporaryDirectory() as name:
        path, output = Path(name, "in.onnx"), Path(name, "out.onnx")
        for size in sizes:
            onnx.save(chain(size // 3), path)
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
    print(f"{'seconds at nodes':24}" + "".join(f"{size:>10}" for size in sizes) + "  exponent")
    for row, times in table.items():
        cells = [f"{seconds:10.2f}" for seconds in times] + [f"{'-':>10}"] * (len(sizes) - len(times))
        print(f"{row:24}" + "".join(cells) + f"  {exponent(sizes, times):>8}")


if __name__ == "__main__":
    main()
