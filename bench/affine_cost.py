"""What an affine that is left over costs in onnxruntime, in units of one BatchNormalization on the same tensor.

    python -m bench affine_cost [--seconds S]

The table behind `onnxnorm.affine.rules.affine_nodes`: one thread, input and output bound, medians of interleaved runs.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bench.clock import medians, one_thread
from bench.tables import print_head, print_row

SHAPES = [(1, 64, 56, 56), (1, 256, 14, 14), (8, 64, 56, 56), (256, 384), (1, 512, 7, 7)]
FORMS = {
    "BatchNormalization": [("BatchNormalization", ["x", "gamma", "beta", "mean", "variance"], "y")],
    "Add": [("Add", ["x", "shift"], "y")],
    "Mul": [("Mul", ["x", "scale"], "y")],
    "Mul, Add": [("Mul", ["x", "scale"], "t"), ("Add", ["t", "shift"], "y")],
}


def bound(form: list[tuple[str, list[str], str]], array: np.ndarray) -> tuple[onnxruntime.InferenceSession, object]:
    random = np.random.default_rng(0)
    channels = array.shape[1]
    columns = (channels,) + (1,) * (array.ndim - 2)
    shapes = dict.fromkeys(("gamma", "beta", "mean", "variance"), (channels,)) | {"scale": columns, "shift": columns}
    constants = [
        numpy_helper.from_array(random.uniform(0.5, 2.0, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    used = {name for _, inputs, _ in form for name in inputs}
    graph = helper.make_graph(
        [helper.make_node(op_type, inputs, [output]) for op_type, inputs, output in form],
        "affine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, array.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, array.shape)],
        [constant for constant in constants if constant.name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = one_thread(model)
    binding = session.io_binding()
    binding.bind_cpu_input("x", array)
    binding.bind_output("y")
    return session, binding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each tensor is timed")
    seconds = parser.parse_args().seconds
    print_head("tensor", *FORMS)
    for shape in SHAPES:
        array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        runs = [bound(form, array) for form in FORMS.values()]
        unit, *times = medians([partial(session.run_with_iobinding, binding) for session, binding in runs], seconds)
        print_row("x".join(map(str, shape)), f"{unit * 1e6:.0f} us", *(f"{each / unit:.2f}" for each in times))
