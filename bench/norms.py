"""The kernels of all normalizations but LRN against a copy of the tensor and against every other way to compute them.

    python -m bench norms [--quick] [--only TEXT] [--threads 1 2] [--json FILE]
    python -m bench norms --out custom_ops/README.md   # writes the table there

Each row is one tensor, one normalization and one number of threads. `copy` is memcpy of the tensor with one thread,
`/ copy` what the operator takes as a multiple of it, `speed-up` against itself on one thread. The other columns are how
many times as long the rivals take: the nodes of the standard in onnxruntime (for GroupNorm also written out as PyTorch
exports it), OpenVINO and PyTorch. A rival that is not installed, or that has no such operator, shows as `-`.

How it is measured stands in `bench/kernel_rows.py`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.clock import Call
from bench.kernel_rows import OWN, KernelBench, bound
from onnxnorm import session

EPSILON = 1e-5


class Case(NamedTuple):
    kind: str
    shape: tuple[int, ...]

    @property
    def label(self) -> str:
        return self.kind


SHAPES = [(1, 96, 56, 56), (1, 256, 128, 128), (1, 128, 256, 256)]
KINDS = (
    "group 32", "group 32, silu", "instance", "layer over C,H,W", "channel layer", "channel RMS", "channel L2",
    "mean variance", "global response", "affine, relu",
)  # fmt: skip
CASES = [Case(kind, shape) for kind in KINDS for shape in SHAPES]
QUICK = [Case(kind, SHAPES[0]) for kind in KINDS]


class Node(NamedTuple):
    op: str
    attributes: Mapping[str, Any] = MappingProxyType({})
    inputs: tuple[str, ...] = ("x",)
    domain: str = ""


def ours(kind: str, channels: int) -> Node:
    weights = ("x", "scale", "bias", "zero")
    plain = ("x", "one", "zero", "zero")
    return {
        "group 32": Node("GroupNorm", {"num_groups": 32}, weights),
        "group 32, silu": Node("GroupNorm", {"num_groups": 32, "activation": 2}, weights),
        "instance": Node("GroupNorm", {"num_groups": channels}, weights),
        "layer over C,H,W": Node("GroupNorm", {"num_groups": 1}, weights),
        "channel layer": Node("ChannelLayerNorm", {}, weights),
        "channel RMS": Node("ChannelRMSNorm", {}, weights),
        "channel L2": Node("ChannelLpNorm", {}, plain),
        "mean variance": Node("MeanVarianceNorm", {"axes": [2, 3]}, plain),
        "global response": Node("GlobalResponseNorm", {}, weights),
        "affine, relu": Node("ChannelAffine", {"activation": 1}, weights),
    }[kind]._replace(domain="onnxnorm")


def standard(kind: str, shape: tuple[int, ...]) -> list[tuple[Node, str]]:
    """The nodes of the standard that compute it, each with the name of its result."""
    last = [0, 2, 3, 1]
    group = Node("GroupNormalization", {"num_groups": 32, "epsilon": EPSILON}, ("x", "scale", "bias"))
    there, back = Node("Transpose", {"perm": last}), Node("Transpose", {"perm": [0, 3, 1, 2]}, ("n",))
    batch_norm = Node("BatchNormalization", {}, ("x", "scale", "bias", "zeros", "ones"))
    return {
        "group 32": [(group, "y")],
        "group 32, silu": [(group, "g"), (Node("Sigmoid", {}, ("g",)), "s"), (Node("Mul", {}, ("g", "s")), "y")],
        "instance": [(Node("InstanceNormalization", {}, ("x", "scale", "bias")), "y")],
        "layer over C,H,W": [(group._replace(attributes={"num_groups": 1, "epsilon": EPSILON}), "y")],
        "channel layer": [
            (there, "t"),
            (Node("LayerNormalization", {"axis": -1}, ("t", "scale", "bias")), "n"),
            (back, "y"),
        ],
        "channel RMS": [
            (there, "t"),
            (Node("RMSNormalization", {"axis": -1}, ("t", "scale")), "m"),
            (Node("Add", {}, ("m", "bias")), "n"),
            (back, "y"),
        ],
        "channel L2": [(Node("LpNormalization", {"axis": 1}), "y")],
        "mean variance": [(Node("MeanVarianceNormalization", {"axes": [2, 3]}), "y")],
        "global response": [
            (Node("ReduceL2", {}, ("x", "axes")), "l"),
            (Node("ReduceMean", {}, ("l", "second")), "m"),
            (Node("Add", {}, ("m", "tiny")), "e"),
            (Node("Div", {}, ("l", "e")), "r"),
            (Node("Mul", {}, ("x", "r")), "p"),
            (Node("Mul", {}, ("p", "columns")), "w"),
            (Node("Add", {}, ("w", "shifts")), "v"),
            (Node("Add", {}, ("v", "x")), "y"),
        ],
        "affine, relu": [(batch_norm, "b"), (Node("Relu", {}, ("b",)), "y")],
    }[kind]


def written_out(kind: str, shape: tuple[int, ...]) -> list[tuple[Node, str]] | None:
    """GroupNorm as PyTorch exports it."""
    if not kind.startswith("group"):
        return None
    nodes = [
        (Node("Reshape", {}, ("x", "grouped")), "r"),
        (Node("InstanceNormalization", {}, ("r", "ones32", "zeros32")), "i"),
        (Node("Reshape", {}, ("i", "whole")), "b"),
        (Node("Mul", {}, ("b", "columns")), "m"),
        (Node("Add", {}, ("m", "shifts")), "g"),
    ]
    if kind == "group 32":
        return [*nodes[:-1], (nodes[-1][0], "y")]
    return [*nodes, (Node("Sigmoid", {}, ("g",)), "s"), (Node("Mul", {}, ("g", "s")), "y")]


def weights_of(channels: int, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    scale, bias = (rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(2))
    number = {"one": 1.0, "zero": 0.0, "tiny": 1e-6}
    return {
        "scale": scale,
        "bias": bias,
        "columns": scale[:, None, None],
        "shifts": bias[:, None, None],
        "ones": np.ones(channels, np.float32),
        "zeros": np.zeros(channels, np.float32),
        "ones32": np.ones(32, np.float32),
        "zeros32": np.zeros(32, np.float32),
        "grouped": np.array([0, 32, -1]),
        "whole": np.array(shape),
        "axes": np.array([2, 3]),
        "second": np.array([1]),
        **{name: np.array([value], np.float32) for name, value in number.items()},
    }


def model_of(nodes: list[tuple[Node, str]], shape: tuple[int, ...]) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    read = {name for node, _ in nodes for name in node.inputs}
    weights = [numpy_helper.from_array(v, k) for k, v in weights_of(shape[1], shape).items() if k in read]
    made = [helper.make_node(n.op, n.inputs, [out], domain=n.domain, **n.attributes) for n, out in nodes]
    imports = [helper.make_opsetid("", 23), helper.make_opsetid("onnxnorm", 1)]
    graph = helper.make_graph(made, "norm", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def kernel(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    return bound(session(model_of([(ours(case.kind, case.shape[1]), "y")], case.shape), threads=threads), x, y)


def onnxruntime_nodes(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    return bound(session(model_of(standard(case.kind, case.shape), case.shape), threads=threads), x, y)


def onnxruntime_written_out(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call | None:
    nodes = written_out(case.kind, case.shape)
    return None if nodes is None else bound(session(model_of(nodes, case.shape), threads=threads), x, y)


def openvino_nodes(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call | None:
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino as ov

    nodes = written_out(case.kind, case.shape) if case.kind.startswith("group") else standard(case.kind, case.shape)
    if case.kind in ("channel RMS", "layer over C,H,W", "group 32", "group 32, silu"):
        nodes = standard(case.kind, case.shape)
    assert nodes is not None
    data = model_of(nodes, case.shape)
    data.opset_import[0].version = 21 if case.kind != "channel RMS" else 23
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        core = ov.Core()
        request = core.compile_model(core.read_model(data.SerializeToString()), "CPU", options).create_infer_request()
    except RuntimeError:
        return None  # it has no such operator
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    request.set_output_tensor(ov.Tensor(y, shared_memory=True))
    return request.infer


def torch_function(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    f = torch.nn.functional
    w = {name: torch.from_numpy(value) for name, value in weights_of(case.shape[1], case.shape).items()}
    scale, bias, channels = w["scale"], w["bias"], case.shape[1]
    source, target = torch.from_numpy(x), torch.from_numpy(y)

    def respond(v: Any) -> Any:
        length = torch.linalg.vector_norm(v, dim=(2, 3), keepdim=True)
        return v + w["columns"] * (v * (length / (length.mean(1, keepdim=True) + 1e-6))) + w["shifts"]

    def last(run: Any) -> Any:
        return lambda v: run(v.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    functions = {
        "group 32": lambda v: f.group_norm(v, 32, scale, bias),
        "group 32, silu": lambda v: f.silu(f.group_norm(v, 32, scale, bias)),
        "instance": lambda v: f.instance_norm(v, weight=scale, bias=bias),
        "layer over C,H,W": lambda v: f.group_norm(v, 1, scale, bias),
        "channel layer": last(lambda v: f.layer_norm(v, (channels,), scale, bias)),
        "channel RMS": last(lambda v: f.rms_norm(v, (channels,), scale, EPSILON) + bias),
        "channel L2": lambda v: f.normalize(v, dim=1),
        "mean variance": lambda v: f.instance_norm(v, eps=1e-9),
        "global response": respond,
        "affine, relu": lambda v: f.relu(f.batch_norm(v, w["zeros"], w["ones"], scale, bias)),
    }

    def call(copy: bool = False) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            result = functions[case.kind](source)
        if copy:
            target.copy_(result)

    call(copy=True)  # so that the results can be compared; the copy is not timed
    return call


RIVALS = {
    OWN: kernel,
    "onnxruntime": onnxruntime_nodes,
    "written out": onnxruntime_written_out,
    "OpenVINO": openvino_nodes,
    "PyTorch": torch_function,
}


BENCH = KernelBench("norms", __doc__, "normalization", RIVALS, (1e-3, 1e-4), CASES, QUICK, "custom_ops/README.md")
SECTIONS = BENCH.sections


def main() -> None:
    BENCH.main()
