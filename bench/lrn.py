"""The LRN kernels against a copy of the tensor and against every other way to compute them.

    python -m bench lrn [--quick] [--only TEXT] [--threads 1 2] [--json FILE] [--out docs/benchmarks.md]

Each row is one tensor, one window and one number of threads. `copy` is memcpy of the tensor with one thread, `onnxnorm`
the operator run through onnxruntime with input and output bound. The other columns are how many times as long the
rivals take: onnxruntime's own LRN, the operator's portable body in onnxruntime, OpenVINO's LRN and PyTorch. Needs
`pip install ".[torch,bench]"`; a rival that is not installed, or that has no such operator, shows as `-`.

How it is measured stands in `bench/kernel_rows.py`.
"""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from bench.clock import Call
from bench.kernel_rows import OWN, KernelBench, bound
from onnxnorm import session

ALPHA, BETA, BIAS = 1e-4, 0.75, 1.0


class Case(NamedTuple):
    kind: str  # inter: across channels; intra: within each channel
    window: int
    shape: tuple[int, ...]

    @property
    def label(self) -> str:
        return f"{self.kind} {self.window}"


SHAPES = [(1, 96, 55, 55), (8, 96, 55, 55), (8, 64, 112, 112)]
CASES = [
    *(Case("inter", 5, shape) for shape in [(1, 64, 13, 13), *SHAPES]),
    *(Case("intra", window, shape) for shape in [(1, 64, 13, 13), *SHAPES] for window in (3, 5, 9, 31)),
]
QUICK = [Case("inter", 5, SHAPES[0]), Case("intra", 5, SHAPES[0]), Case("intra", 31, SHAPES[2])]


def model_of(case: Case, domain: str) -> onnx.ModelProto:
    """One node: the custom operator, or ONNX's own LRN in the standard domain."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, case.shape) for name in "XY"]
    window = {"size": case.window} if case.kind == "inter" else {"kernel_shape": [case.window] * (len(case.shape) - 2)}
    op_type = "LRN" if domain == "" else {"inter": "InterChannelLRN", "intra": "IntraChannelLRN"}[case.kind]
    node = helper.make_node(op_type, ["X"], ["Y"], domain=domain, alpha=ALPHA, beta=BETA, bias=BIAS, **window)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("onnxnorm", 1)]
    graph = helper.make_graph([node], "lrn", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def onnxnorm_kernel(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    return bound(session(model_of(case, "onnxnorm"), threads=threads), x, y)


def portable_body(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call:
    return bound(session(model_of(case, "onnxnorm"), threads=threads, portable=True), x, y)


def onnxruntime_lrn(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call | None:
    if case.kind == "intra":
        return None  # the standard has no such operator
    return bound(session(model_of(case, ""), threads=threads), x, y)


def openvino_lrn(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call | None:
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino as ov
    from openvino import opset13

    data = opset13.parameter(list(case.shape), np.float32)
    axes = [1] if case.kind == "inter" else list(range(2, len(case.shape)))
    node = opset13.lrn(data, axes, ALPHA, BETA, BIAS, case.window)
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.compile_model(ov.Model([node], [data]), "CPU", options).create_infer_request()
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    request.set_output_tensor(ov.Tensor(y, shared_memory=True))
    return request.infer


def torch_lrn(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> Call | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from onnxnorm import layers

    window = (case.window,) * (len(case.shape) - 2)
    module: torch.nn.Module
    if case.kind == "inter":
        module = torch.nn.LocalResponseNorm(case.window, ALPHA, BETA, BIAS)
    else:
        module = layers.IntraChannelLRN(window, ALPHA, BETA, BIAS)
    source, target = torch.from_numpy(x), torch.from_numpy(y)

    def call(copy: bool = False) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            result = module(source)
        if copy:
            target.copy_(result)

    call(copy=True)  # so that the results can be compared; the copy is not timed
    return call


RIVALS = {
    OWN: onnxnorm_kernel,
    "onnxruntime": onnxruntime_lrn,
    "portable body": portable_body,
    "OpenVINO": openvino_lrn,
    "PyTorch": torch_lrn,
}


BENCH = KernelBench("lrn", __doc__, "window", RIVALS, (1e-4, 1e-6), CASES, QUICK, "docs/benchmarks.md")
SECTIONS = BENCH.sections


def main() -> None:
    BENCH.main()
