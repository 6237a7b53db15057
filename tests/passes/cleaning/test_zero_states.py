"""States of zeros that a recurrent layer begins with are left out; all others stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from testing.builder import count, same_in_onnxruntime

WIDTH = 4
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def model_of(kind: str, fill: float | None = 0.0, *, way: str = "ConstantOfShape", behind: str = "") -> onnx.ModelProto:
    """x, (steps, batch, WIDTH), goes through the layer, whose states are made for the batch."""
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(size=(1, GATES[kind] * WIDTH, WIDTH)).astype(np.float32),
        "r": random.normal(size=(1, GATES[kind] * WIDTH, WIDTH)).astype(np.float32),
        "place": np.array([1]),
        "one": np.array([1]),
        "width": np.array([WIDTH]),
        "number": np.array(fill or 0.0, np.float32),
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "place"], ["batch"]),
        helper.make_node("Concat", ["one", "batch", "width"], ["wanted"], axis=0),
    ]
    if way == "ConstantOfShape":
        value = {} if fill is None else {"value": helper.make_tensor("f", TensorProto.FLOAT, [1], [fill])}
        nodes.append(helper.make_node("ConstantOfShape", ["wanted"], ["made"], **value))
    else:
        nodes.append(helper.make_node("Expand", ["number", "wanted"], ["made"]))
    if behind:
        nodes.append(helper.make_node(behind, ["made"], ["state"], **({"perm": [0, 1, 2]} if behind != "Cos" else {})))
    state = "state" if behind else "made"
    inputs = ["x", "w", "r", "", "", state, *([state] if kind == "LSTM" else [])]
    nodes.append(helper.make_node(kind, inputs, ["all", "last"], hidden_size=WIDTH))
    nodes.append(helper.make_node("Neg", ["all"], ["y"]))
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", "n", WIDTH]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("last", TensorProto.FLOAT, None),
    ]
    used = {name for node in nodes for name in node.input}
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used]
    graph = helper.make_graph(nodes, "states", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("options", "goes"),
    [
        ({}, True),
        ({"fill": None}, True),
        ({"way": "Expand"}, True),
        ({"behind": "Transpose"}, True),
        ({"fill": 0.5}, False),
        ({"fill": -0.0}, False),
        ({"fill": 0.5, "way": "Expand"}, False),
        ({"behind": "Cos"}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", GATES)
def test_states_of_zeros_are_left_out(kind: str, options: dict[str, object], goes: bool) -> None:
    model = model_of(kind, **options)  # type: ignore[arg-type]
    result = onnxnorm.optimize(model, verify=False).model
    assert count(result, "Shape") == (0 if goes else 1)
    x = np.random.default_rng(1).normal(size=(3, 2, WIDTH)).astype(np.float32)
    same_in_onnxruntime(model, result, feeds={"x": x})
