"""What the decision counts as held in blocks of channels, against what the installed onnxruntime holds so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.graph.blocked_layout import is_blocked
from onnxnorm.graph.facts import Facts
from testing.optimized import operators_in_onnxruntime

CHANNELS = 16
Nodes = list[onnx.NodeProto]


def single(op_type: str, *more: str, **attributes: Any) -> Callable[[], Nodes]:
    return lambda: [helper.make_node(op_type, ["c", *more], ["t"], **attributes)]


def pair(op_type: str) -> Callable[[], Nodes]:
    return lambda: [helper.make_node(op_type, ["c", "d"], ["t"], **({"axis": 1} if op_type == "Concat" else {}))]


UNARY = (
    "Relu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu", "Softplus", "Erf", "Neg", "Abs",
    "Gelu", "Mish", "Identity", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "LRN",
)  # fmt: skip
BETWEEN: dict[str, Callable[[], Nodes]] = {
    **{op: single(op) for op in UNARY if op not in ("InstanceNormalization", "LRN")},
    **{op: pair(op) for op in ("Add", "Sum", "Mul", "Sub", "Div", "Max", "Concat")},
    "InstanceNormalization": single("InstanceNormalization", "gamma", "beta"),
    "LRN": single("LRN", size=5),
    "MaxPool": single("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "AveragePool": single("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
    "Clip": single("Clip", "zero", "six"),
    "Dropout": lambda: [helper.make_node("Sigmoid", ["c"], ["q"]), helper.make_node("Dropout", ["q"], ["t"])],
    "Silu": lambda: [helper.make_node("Sigmoid", ["c"], ["q"]), helper.make_node("Mul", ["c", "q"], ["t"])],
    "Mul of weights": lambda: [
        helper.make_node("Sigmoid", ["c"], ["q"]),
        helper.make_node("Mul", ["q", "column"], ["t"]),
    ],
    "Resize": single("Resize", "", "scales", mode="nearest", coordinate_transformation_mode="asymmetric",
                     nearest_mode="floor"),
    "Transpose": single("Transpose", perm=[0, 1, 3, 2]),
}  # fmt: skip


def network(name: str) -> onnx.ModelProto:
    """Two convolutions, what is between, and a BatchNormalization of it; the convolutions are read elsewhere too."""
    rng = np.random.default_rng(0)
    vector = rng.uniform(0.5, 1.0, CHANNELS).astype(np.float32)
    kernels = {key: rng.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32) for key in ("k", "l", "m")}
    weights = {
        **kernels,
        "gamma": vector, "beta": vector, "mean": vector, "variance": vector, "column": vector[:, None, None],
        "zero": np.float32(0), "six": np.float32(6), "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["x", "l"], ["d"], kernel_shape=[1, 1]),
        *BETWEEN[name](),
    ]
    if name == "Concat":
        weights |= {key: np.tile(weights[key], 2) for key in ("gamma", "beta", "mean", "variance")}
        weights["m"] = np.tile(kernels["m"], (1, 2, 1, 1))
    nodes.append(helper.make_node("BatchNormalization", ["t", "gamma", "beta", "mean", "variance"], ["n"]))
    nodes.append(helper.make_node("Conv", ["n", "m"], ["y"], kernel_shape=[1, 1]))
    read = {each for node in nodes for each in node.input}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 28, 28])],
        [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in ("y", "c", "d")],
        [numpy_helper.from_array(np.asarray(values), key) for key, values in weights.items() if key in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def holds_blocks(model: onnx.ModelProto, folder: Path) -> bool:
    """Whether the runtime has made a convolution in blocks of the BatchNormalization."""
    return "BatchNormalization" not in operators_in_onnxruntime(model, folder)


def test_what_onnxruntime_holds_in_blocks_is_counted_as_such(tmp_path: Path) -> None:
    """The other way is no loss: an affine that stays with onnxruntime takes what it took before."""
    disagreeing, plain = [], []
    for name in BETWEEN:
        model = onnx.shape_inference.infer_shapes(network(name))
        own = ir.from_proto(model)
        (norm,) = (node for node in own.graph if node.op_type == "BatchNormalization")
        x = norm.inputs[0]
        assert x is not None
        counted, held = is_blocked(x, Facts(own)), holds_blocks(model, tmp_path)
        if held and not counted:
            disagreeing.append(name)
        if not counted:
            plain.append(name)
    assert not disagreeing
    # Where the runtime has no blocks behind, neither have we.
    assert {"Transpose", "InstanceNormalization", "LRN", "Neg"} <= set(plain)
