"""The LRN kernels against a copy of the tensor and against every other way to compute them.

    python -m bench lrn [--quick] [--json FILE]

Each row is one tensor, one window and one number of threads. `copy` is memcpy of the tensor with one thread, `onnxnorm`
the operator run through onnxruntime with input and output bound. The other columns are how many times as long the
rivals take: onnxruntime's own LRN, the operator's portable body in onnxruntime, OpenVINO's LRN and PyTorch. Needs
`pip install ".[torch,bench]"`; a rival that is not installed, or that has no such operator, shows as `-`.

All that stand in one row run in turns, several calls each, and every figure is the fastest call of all turns: what
other work on the machine disturbed least. Results are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from bench.clock import Call, fastest
from bench.tables import print_head, print_row
from onnxnorm import session

ALPHA, BETA, BIAS = 1e-4, 0.75, 1.0


class Case(NamedTuple):
    kind: str  # inter: across channels; intra: within each channel
    window: int
    shape: tuple[int, ...]


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


def bound(runner: onnxruntime.InferenceSession, x: np.ndarray, y: np.ndarray) -> Call:
    binding = runner.io_binding()
    for bind, name, array in ((binding.bind_input, "X", x), (binding.bind_output, "Y", y)):
        bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return lambda: runner.run_with_iobinding(binding)


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
    "onnxnorm": onnxnorm_kernel,
    "onnxruntime": onnxruntime_lrn,
    "portable body": portable_body,
    "OpenVINO": openvino_lrn,
    "PyTorch": torch_lrn,
}


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros that begin at a multiple of 64 bytes, as all tensors do that onnxruntime allocates."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + size].reshape(shape)


def calls_of(case: Case, threads: int) -> tuple[dict[str, Call], object]:
    """All that can be timed, each run once and its result compared with the first one's.

    Also what has to stay alive meanwhile: a binding does not hold the arrays it is bound to.
    """
    x, target = aligned(case.shape), aligned(case.shape)
    np.random.default_rng(0).standard_normal(out=x, dtype=np.float32)
    calls: dict[str, Call] = {"copy": lambda: ctypes.memmove(target.ctypes.data, x.ctypes.data, x.nbytes)}
    results: list[np.ndarray] = []
    for name, make in RIVALS.items():
        y = aligned(case.shape)
        call = make(case, x, y, threads)
        if call is None:
            continue
        call()
        results.append(y)
        if not np.allclose(y, results[0], rtol=1e-4, atol=1e-6):
            raise SystemExit(f"error: {name} computes something else on {case}")
        calls[name] = call
    return calls, (x, target, results)


def rows(cases: list[Case], threads: list[int]) -> Iterator[dict[str, object]]:
    for case in cases:
        alone = math.nan
        for count in threads:
            calls, alive = calls_of(case, count)
            seconds = fastest(calls)
            del calls, alive
            ours = seconds["onnxnorm"]
            alone = ours if count == 1 else alone
            yield {
                "kind": case.kind,
                "window": case.window,
                "tensor": "x".join(map(str, case.shape)),
                "threads": count,
                "seconds": seconds,
                "of one thread": alone / ours,
            }


def cells(row: dict[str, object]) -> list[str]:
    seconds = row["seconds"]
    assert isinstance(seconds, dict)
    ours = seconds["onnxnorm"]
    return [
        f"{row['kind']} {row['window']}",
        str(row["tensor"]),
        str(row["threads"]),
        f"{seconds['copy'] * 1e3:.3f} ms",
        f"{ours * 1e3:.3f} ms",
        f"{ours / seconds['copy']:.2f}",
        f"{row['of one thread']:.2f}",
        *(f"{seconds[name] / ours:.1f}" if name in seconds else "-" for name in list(RIVALS)[1:]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rows")
    parser.add_argument("--only", default="", help="rows whose kind, window and tensor contain this text")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="also write all seconds to this file")
    arguments = parser.parse_args()
    chosen = [
        case
        for case in (QUICK if arguments.quick else CASES)
        if arguments.only in f"{case.kind} {case.window} {'x'.join(map(str, case.shape))}"
    ]
    header = ["window", "tensor", "threads", "copy", "onnxnorm", "/ copy", "speed-up", *list(RIVALS)[1:]]
    print_head(*header)
    done = []
    for row in rows(chosen, arguments.threads):
        print_row(*cells(row))
        done.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(done, indent=1))
