#!/usr/bin/env python3
"""Tries an installed onnxnorm, the source out of sight: fold, verify, inspect, both LRN operators, the command line.

    python release/smoke.py [--without-library]

Fails where something is wrong, or where the native library is missing (or, with the option, where it is there).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxnorm

ROOT = Path(__file__).resolve().parents[1]


def network() -> onnx.ModelProto:
    """Return a convolution with a BatchNormalization behind it, and an LRN."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((4, 3, 3, 3)),
        **{name: random.uniform(0.5, 1.5, 4) for name in ("scale", "bias", "mean", "var")},
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("BatchNormalization", ["a", "scale", "bias", "mean", "var"], ["b"], name="norm"),
        helper.make_node("LRN", ["b"], ["y"], name="lrn", size=3, alpha=0.5),
    ]
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8)),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 6, 6)),
    ]
    graph = helper.make_graph(nodes, "smoke", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def newer_operators() -> onnx.ModelProto:
    """Return operators that the oldest dependencies are the first to know, or to evaluate."""
    scale = numpy_helper.from_array(np.linspace(0.5, 1.5, 6, dtype=np.float32), "scale")
    nodes = [
        helper.make_node("RMSNormalization", ["x", "scale"], ["a"], name="norm"),
        helper.make_node("Gelu", ["a"], ["b"], name="gelu"),
        helper.make_node("Gelu", ["b"], ["y"], name="tanh_gelu", approximate="tanh"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3, 6)) for name in "xy"]
    graph = helper.make_graph(nodes, "newer", values[:1], values[1:], [scale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without-library", action="store_true", help="the library has to be missing")
    wants_library = not parser.parse_args().without_library
    assert not Path(onnxnorm.__file__).is_relative_to(ROOT / "onnxnorm"), "the source is what is imported"
    try:
        library = onnxnorm.custom_ops_library_path()
    except onnxnorm.OnnxNormError:
        library = ""
    assert bool(library) == wants_library, f"the native library is {library or 'missing'}"

    model = network()
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    wanted = onnxnorm.session(model).run(None, {"x": x})[0]
    for target in ("portable", "onnxruntime"):
        result = onnxnorm.optimize(model, target=target)
        assert all(node.op_type != "BatchNormalization" for node in result.model.graph.node), "nothing was folded"
        np.testing.assert_allclose(onnxnorm.session(result.model).run(None, {"x": x})[0], wanted, rtol=1e-4)
    assert onnxnorm.verify(model, result.model).passed
    newer = newer_operators()
    assert onnxnorm.verify(newer, onnxnorm.optimize(newer).model).passed
    assert [record.op_type for record in onnxnorm.inspect(model)] == ["BatchNormalization", "LRN"]
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder, "model.onnx"))
        for command in (
            ["optimize", "model.onnx", "fast.onnx"],
            ["verify", "model.onnx", "fast.onnx"],
            ["reasons", "graph-output"],
            ["doctor"],
        ):
            words = [sys.executable, "-m", "onnxnorm", *command]
            done = subprocess.run(words, cwd=folder, check=True, capture_output=True)
            assert done.stdout, f"{command[0]} says nothing"
    print(f"onnxnorm {onnxnorm.__version__} works{f' with {Path(library).name}' if library else ''}")


if __name__ == "__main__":
    main()
