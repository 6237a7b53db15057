"""For each target that runs here: each normalization as one node against what it is made of, and which is chosen.

    python -m bench targets [--seconds 0.3] [--out docs/recognition.md]

The table behind `onnxnorm.passes.targets`: one thread, float32, medians of interleaved runs; a ratio above 1 says that
the written-out form takes longer. OpenVINO is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from bench.clock import Call, medians, one_thread
from bench.pages import FIGURE, Section, add_out
from bench.tables import Table
from onnxnorm.passes import Journal, targets
from onnxnorm.passes.lower import Lower

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[tuple[int, ...], ...], int]] = {
    "GroupNormalization": ((1, 64, 56, 56), {"num_groups": 8}, ((64,), (64,)), 21),
    "LayerNormalization": ((8, 196, 384), {"axis": -1}, ((384,), (384,)), 17),
    "LpNormalization": ((8, 196, 384), {"axis": 2, "p": 2}, (), 18),
    "MeanVarianceNormalization": ((1, 64, 56, 56), {"axes": [2, 3]}, (), 18),
    "RMSNormalization": ((8, 196, 384), {"axis": -1}, ((384,),), 23),
}
# A form that is this much faster is worth more nodes.
WORTH = 1.15
_FORM = "one node|written out"
SECTIONS = (
    Section(
        "targets",
        "docs/recognition.md",
        (
            {
                "target": "onnxruntime|openvino",
                "operator": r"\w+",
                "one node": rf"{FIGURE} us|refused|-",
                "written out": rf"{FIGURE} us|-",
                "ratio": rf"{FIGURE}|-",
                "choice": f"{_FORM}|-",
                "table": f"{_FORM}|-",
            },
        ),
        ("onnxruntime", "openvino"),
    ),
)


def one_node(op_type: str) -> onnx.ModelProto:
    shape, attributes, weights, opset = CASES[op_type]
    random = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(random.uniform(0.5, 2, extents).astype(np.float32), f"w{index}")
        for index, extents in enumerate(weights)
    ]
    node = helper.make_node(op_type, ["x", *(constant.name for constant in constants)], ["y"], name="n", **attributes)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([node], "one", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def written_out(model: onnx.ModelProto, op_type: str) -> onnx.ModelProto:
    everything = targets.Target("all", "", {op_type: "is measured"})
    copy = ir.from_proto(model)
    Lower(Journal(), target=everything)(copy)
    return ir.to_proto(copy)


def in_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> Call:
    session = one_thread(model)
    return lambda: session.run(None, {"x": x})


def in_openvino(model: onnx.ModelProto, x: np.ndarray) -> Call:
    import io

    import openvino

    core = openvino.Core()
    read = core.read_model(io.BytesIO(model.SerializeToString()))
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: x})


RUNTIMES: Mapping[str, Callable[[onnx.ModelProto, np.ndarray], Call]] = {
    "onnxruntime": in_onnxruntime,
    "openvino": in_openvino,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each pair of forms")
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    rows = Table(*SECTIONS[0].tables[0])
    for name, bind in RUNTIMES.items():
        if importlib.util.find_spec(name) is None:
            continue
        for op_type, (shape, *_) in CASES.items():
            x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
            model = one_node(op_type)
            out = bind(written_out(model, op_type), x)
            table = "written out" if op_type in targets.TARGETS[name].lowered else "one node"
            try:
                node = bind(model, x)
            except Exception:
                # A runtime that lacks the operator raises anything.
                rows.add(
                    name, op_type, "refused", f"{medians([out], arguments.seconds)[0] * 1e6:.0f} us", "-", "-", table
                )
                continue
            times = medians([node, out], arguments.seconds)
            ratio = times[1] / times[0]
            choice = "one node" if ratio * WORTH > 1 else "written out"
            figures = f"{times[0] * 1e6:.0f} us", f"{times[1] * 1e6:.0f} us", f"{ratio:.2f}"
            rows.add(name, op_type, *figures, choice, table)
    if arguments.out:
        SECTIONS[0].write(arguments.out, [rows])
