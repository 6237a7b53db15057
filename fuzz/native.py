"""Nodes of the custom operators with everything wrong that a hand-made model can have wrong.

    python -m fuzz native [--cases 20000] [--seed 0]

They go to the native library by onnxruntime alone, without onnxnorm's own checks. A case may be refused or run; what it
may not do is end the process, or take longer than a minute. Cases run in a process of their own; the exit code is 1
where one of them died.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from onnxnorm import custom_ops_library_path
from onnxnorm.ops.operators import NORMS

__all__ = ["attempt", "case", "main"]

ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 60
_NUMBERS = [-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 2**15, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1]
_FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-4, 0.75, 1e38, -1e38, 1e-45, float("nan"), float("inf"), -float("inf")]
_DIMS = [0, 1, 2, 3, 5, 17]
_TYPES = [TensorProto.FLOAT] * 9 + [
    TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.BOOL, TensorProto.STRING, TensorProto.COMPLEX64,
]  # fmt: skip


def _attribute(name: str, source: random.Random) -> onnx.AttributeProto:
    """An attribute of that name with a value of any type."""
    integer = source.choice(_NUMBERS)
    values: list[Any] = [
        integer,
        source.choice(_FLOATS),
        source.choice(["", "3", "SAME_UPPER", "\x00"]),
        [source.choice(_NUMBERS) for _ in range(source.randrange(1, 6))],
        [source.choice(_FLOATS) for _ in range(source.randrange(1, 4))],
        helper.make_tensor("t", TensorProto.INT64, [2], [3, 3]),
        onnx.GraphProto(name="g"),
    ]
    attribute = helper.make_attribute(name, source.choice(values))
    if source.random() < 0.05:
        attribute.type = source.choice(list(onnx.AttributeProto.AttributeType.values()))
    return attribute


def _window(source: random.Random) -> int:
    return source.choice(_NUMBERS if source.random() < 0.2 else [1, 2, 3, 5, 2**15])


_NORM_VALUES: dict[str, list[Any]] = {
    "num_groups": [1, 1, 2, 3, 5, 17],
    "axis": [1, 1, 1, 0, -1, 2],
    "p": [1, 2],
    "axes": [[1], [-1], [1, 2], [2, 3], [0], [3, 2], [0, 1]],
    "activation": list(range(8)),
}


def _norm_attributes(op: str, source: random.Random) -> list[onnx.AttributeProto]:
    found = []
    for name in (*NORMS[op].required, *NORMS[op].defaults):
        draw = source.random()
        if draw < 0.06:
            found.append(_attribute(name, source))
        elif name in NORMS[op].required or draw < 0.5:
            values = _NORM_VALUES.get(name, [0.0, 1e-5, 0.5, 1e-30] if draw < 0.4 else _FLOATS)
            if draw < 0.1 and name in ("num_groups", "axis", "p", "activation"):
                values = _NUMBERS
            found.append(helper.make_attribute(name, source.choice(values)))
    return found


def _attributes(op: str, rank: int, source: random.Random) -> list[onnx.AttributeProto]:
    if op in NORMS:
        return _norm_attributes(op, source)
    found = []
    for name in ("kernel_shape" if op == "IntraChannelLRN" else "size", "alpha", "beta", "bias"):
        draw = source.random()
        if draw < 0.05:
            continue
        if draw < 0.12:
            found.append(_attribute(name, source))
        elif name == "kernel_shape":
            length = max(1, rank - 2 + source.choice([0] * 12 + [-1, 1]))
            found.append(helper.make_attribute(name, [_window(source) for _ in range(length)]))
        elif name == "size":
            found.append(helper.make_attribute(name, _window(source)))
        else:
            found.append(helper.make_attribute(name, source.choice(_FLOATS if draw < 0.3 else _FLOATS[:9])))
    if source.random() < 0.05:
        found.append(_attribute(source.choice(["alpha", "unheard", "kernel_shape", ""]), source))
    return found


def case(number: int) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model of one node, and what to feed it."""
    source = random.Random(number)
    op = source.choice(["IntraChannelLRN", "InterChannelLRN", *NORMS, "GroupNorm", "ChannelLayerNorm"])
    rank = source.choice([0, 1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 6, 9])
    shape = [source.choice(_DIMS if rank < 6 else _DIMS[:4]) for _ in range(rank)]
    dtype = source.choice(_TYPES)
    inputs = ["X"] * source.choice([0, 2, 3] + [1] * 40)
    more: dict[str, list[int]] = {}
    if op in NORMS and source.random() < 0.95:
        more = {name: _weight_shape(shape, source) for name in ("scale", "bias")}
        more["residual"] = source.choice([shape, shape, [1], [1], [], _weight_shape(shape, source)])
        inputs = ["X", *more]
    outputs = ["Y", "Z", "W"][: source.choice([0, 2, 3] + [1] * 40)]
    node = onnx.NodeProto(op_type=op, domain="onnxnorm", name="node", input=inputs, output=outputs)
    node.attribute.extend(_attributes(op, rank, source))
    declared: Sequence[Any] | None = source.choice([shape, shape, None, None, [None] * rank, [7] * max(0, rank - 1)])
    result = source.choice([dtype] * 9 + [TensorProto.DOUBLE])
    graph = helper.make_graph(
        [node],
        "hostile",
        [helper.make_tensor_value_info("X", dtype, declared)]
        + [helper.make_tensor_value_info(name, dtype, None) for name in more],
        [helper.make_tensor_value_info(name, result, None) for name in outputs[:1] or ["X"]],
    )
    version = source.choice([1] * 20 + [2, 99])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("onnxnorm", version)]
    feeds = {name: _values(each, dtype, number, source) for name, each in {"X": shape, **more}.items()}
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds


def _weight_shape(shape: list[int], source: random.Random) -> list[int]:
    """One number, as many as there are channels, or anything."""
    channels = shape[1] if len(shape) > 1 else 1
    last = shape[-1] if shape else 1
    return source.choice([[1], [channels], [channels], [last], [channels, 1, 1], [], [0], [source.choice(_DIMS)]])


def _values(shape: list[int], dtype: int, number: int, source: random.Random) -> Any:
    if dtype == TensorProto.STRING:
        return np.full(shape, "text", object)
    wide = source.choice([1.0, 1.0, 1e30]) * np.random.default_rng(number).standard_normal(shape)
    if source.random() < 0.1 and wide.size > 0:
        wide.ravel()[0] = source.choice([np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        return np.asarray(wide).astype(helper.tensor_dtype_to_np_dtype(dtype))


def attempt(number: int, library: str) -> bool:
    """Whether onnxruntime ran the case; False where it refused it."""
    model, feeds = case(number)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1 + number % 2
    options.register_custom_ops_library(library)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, feeds)
    except Exception as error:
        assert str(error)
        return False
    return True


def _work(first: int, last: int) -> None:
    """Tells of each case before it is tried, and of how many were run at the end."""
    library = custom_ops_library_path()
    ran = 0
    for number in range(first, last):
        print(number, flush=True)
        signal.alarm(_SECONDS)
        ran += attempt(number, library)
    signal.alarm(0)
    print("ran", ran, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    last = arguments.seed + arguments.cases
    if arguments.worker is not None:
        _work(arguments.worker, last)
        return 0
    first, ran, died = arguments.seed, 0, 0
    while first < last:
        command = [sys.executable, "-m", "fuzz", "native", *sys.argv[1:], "--worker", str(first)]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        lines = process.stdout.splitlines()
        if process.returncode == 0:
            ran += int(lines[-1].split()[1])
            break
        died += 1
        if not lines:
            sys.exit(process.stderr)
        print(f"case {lines[-1]}: the process ended with {process.returncode}\n{process.stderr[-2000:]}", flush=True)
        first = int(lines[-1]) + 1
    print(f"{arguments.cases} nodes: {ran} ran, the others were refused; {died} ended the process")
    return 1 if died else 0
