"""What a call, a vector and an element of each normalization cost, in onnxruntime's nodes and in the kernels.

    python -m bench norm_costs [--only TEXT] [--code]

Each normalization runs on tensors of many shapes, alone in its graph and on one thread. The least processor time of
some calls, less that of a graph with an Identity, is fitted by (call, vectors, elements) with relative errors. The rows
of `between` stand between two convolutions, which onnxruntime keeps in blocks of channels: what is told of them is the
time of the graph less that of the convolutions alone, as multiples of a copy of the tensor. `--code` prints the lines
of `onnxnorm/passes/native_costs.py` that hold the first table. Relu is what one node behind a normalization takes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench import norms
from bench.clock import Call
from bench.kernel_rows import aligned, bound
from bench.norms import Node
from bench.tables import print_head, print_row
from onnxnorm import session

SHAPES = [(1, 32, 4, 4), (1, 64, 7, 7), (2, 128, 7, 7), (1, 512, 7, 7), (1, 64, 14, 14), (1, 256, 14, 14),
          (1, 64, 28, 28), (1, 192, 28, 28), (2, 32, 56, 56), (1, 96, 56, 56), (1, 64, 112, 112)]  # fmt: skip
BETWEEN = [(1, 64, 28, 28), (1, 96, 56, 56), (1, 256, 28, 28)]
_TURNS = 15

KINDS = {
    "GroupNormalization": "group 32",
    "GroupNormalization (written out)": "group 32",
    "InstanceNormalization": "instance",
    "LayerNormalization": "channel layer",
    "LayerNormalization (in blocks)": "channel layer",
    "RMSNormalization": "channel RMS",
    "RMSNormalization (in blocks)": "channel RMS",
    "LpNormalization": "channel L2",
    "MeanVarianceNormalization": "mean variance",
    "GlobalResponseNorm (written out)": "global response",
    "BatchNormalization": "affine",
    "Relu": "",
}


def standard(kind: str, shape: tuple[int, ...]) -> list[tuple[Node, str]]:
    own = KINDS[kind]
    if kind == "GroupNormalization (written out)":
        nodes = norms.written_out(own, shape)
        assert nodes is not None
        return nodes
    if kind.endswith(" (in blocks)"):  # the Transposes are parts of the reorders, which cost the same with them
        op, weights = kind.split()[0], ("scale", "bias") if kind.startswith("Layer") else ("scale",)
        return [(Node(op, {"axis": -1}, ("x", *weights)), "y")]
    if kind == "Relu":
        return [(Node("Relu", {}, ("x",)), "y")]
    if kind == "BatchNormalization":
        return [(Node("BatchNormalization", {}, ("x", "scale", "bias", "zeros", "ones")), "y")]
    return norms.standard(own, shape)


def kernel(kind: str, channels: int) -> list[tuple[Node, str]]:
    own = KINDS[kind]
    if not own:  # it is but a part of a kernel
        return standard(kind, (1, channels))
    node = norms.ours("affine, relu" if own == "affine" else own, channels)
    return [(node._replace(attributes={**node.attributes, "activation": 0}), "y")]


def vectors(kind: str, shape: tuple[int, ...]) -> int:
    """How many vectors have a statistic of their own, or weights of their own where there is none."""
    batch, channels, places = shape[0], shape[1], math.prod(shape[2:])
    if kind.startswith("GroupNormalization"):
        return batch * 32
    return batch * (places if KINDS[kind].startswith("channel") else channels)


def graph(nodes: list[tuple[Node, str]], shape: tuple[int, ...], *, between: bool) -> onnx.ModelProto:
    """Build x -> Conv -> nodes -> Conv -> y, or the nodes between two Identities."""
    channels = shape[1]
    weights = norms.weights_of(channels, shape)
    if not between and any(node.attributes.get("axis") == -1 and node.inputs[0] == "x" for node, _ in nodes):
        shape = (shape[0], *shape[2:], channels)  # as it lies between the Transposes
    weights["kernel"] = np.full((channels, channels, 1, 1), 1 / channels, np.float32)
    rename = {"x": "before", "y": "after"}
    inner = [(n._replace(inputs=tuple(rename.get(i, i) for i in n.inputs)), rename.get(out, out)) for n, out in nodes]

    def end(source: str, result: str) -> tuple[Node, str]:
        return (Node("Conv", {}, (source, "kernel")) if between else Node("Identity", {}, (source,))), result

    every = [end("x", "before"), *inner, end("after", "y")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    read = {name for node, _ in every for name in node.inputs}
    made = [helper.make_node(n.op, n.inputs, [out], domain=n.domain, **n.attributes) for n, out in every]
    tensors = [numpy_helper.from_array(v, k) for k, v in weights.items() if k in read]
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("onnxnorm", 1)]
    proto = helper.make_graph(made, "norm", values[:1], values[1:], tensors)
    return helper.make_model(proto, opset_imports=imports, ir_version=10)


def processor_times(calls: list[Call]) -> list[float]:
    """Return the least seconds of processor time of each call, all of them in turns."""
    best = [math.inf] * len(calls)
    for call in calls:
        call()
    for _ in range(_TURNS):
        for index, call in enumerate(calls):
            start = time.thread_time()
            call()
            best[index] = min(best[index], time.thread_time() - start)
    return best


def call_of(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> Call:
    """Bind the arrays, in the shape that the model declares."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return bound(session(model, threads=1), x.reshape(shape), y.reshape(shape))


def seconds(graphs: list[list[tuple[Node, str]]], shape: tuple[int, ...], *, between: bool) -> list[float]:
    """Return the seconds of each graph less those of the graph without it; the last are those of a copy."""
    x, y, target = (aligned(shape) for _ in range(3))
    np.random.default_rng(0).standard_normal(out=x, dtype=np.float32)
    nothing = [(Node("Identity"), "y")]
    models = [graph(nodes, shape, between=between) for nodes in [*graphs, nothing]]
    calls = [call_of(model, x, y) for model in models]
    *own, rest, copy = processor_times([*calls, lambda: np.copyto(target, x)])
    return [*(each - rest for each in own), copy]


def fitted(rows: list[tuple[int, int]], times: list[float]) -> list[float]:
    """Return the nanoseconds of a call, a vector and an element that fit best, none of them negative."""
    table = np.array([[1.0, vectors, elements] for vectors, elements in rows])
    least = np.maximum(np.array(times) * 1e9, 200.0)
    best: tuple[float, list[float]] = (math.inf, [0.0] * 3)
    for kept in itertools.product((False, True), repeat=3):
        if not any(kept):
            continue
        part = (table / least[:, None])[:, kept]
        found, *_ = np.linalg.lstsq(part, np.ones(len(rows)), rcond=None)
        error = float(np.sum((part @ found - 1) ** 2))
        if np.all(found >= 0) and error < best[0]:
            values = iter(found)
            best = error, [float(next(values)) if keep else 0.0 for keep in kept]
    return best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="normalizations whose name contains this text")
    parser.add_argument("--code", action="store_true", help="print the lines of native_costs.py")
    arguments = parser.parse_args()
    head = ["replaced", "call, us", "vector, ns", "element, ns", "kernel: call, us", "vector, ns", "element, ns"]
    titles = ["between", *(f"{'x'.join(map(str, shape[1:]))}: nodes, kernel" for shape in BETWEEN)]
    code, rows = [], []
    if not arguments.code:
        print_head(*head)
    for kind in KINDS:
        if arguments.only not in kind:
            continue
        sizes = [(vectors(kind, shape), math.prod(shape)) for shape in SHAPES]
        both = [seconds([standard(kind, shape), kernel(kind, shape[1])], shape, between=False) for shape in SHAPES]
        nodes, own = (fitted(sizes, [each[index] for each in both]) for index in (0, 1))
        code.append(f'    "{kind}": ({cost(nodes)}, {cost(own)}),')
        if arguments.code:
            print(code[-1], flush=True)
            continue
        print_row(kind, *(cell for a, b, c in (nodes, own) for cell in (f"{a / 1e3:.1f}", f"{b:.1f}", f"{c:.3f}")))
        if kind.endswith(" (in blocks)"):
            continue
        within = [seconds([standard(kind, shape), kernel(kind, shape[1])], shape, between=True) for shape in BETWEEN]
        rows.append([kind, *(f"{a / copy:.1f}, {b / copy:.1f}" for a, b, copy in within)])
    if not arguments.code:
        print()
        print_head(*titles)
        for row in rows:
            print_row(*row)


def cost(values: list[float]) -> str:
    call, vector, element = values
    return f"Cost({call:.0f}, {vector:.1f}, {element:.3f})"
