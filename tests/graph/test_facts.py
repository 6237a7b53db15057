"""Tests of onnxnorm/graph/facts.py: what is constant, told with and without computing it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.graph.facts import Facts

CONSTANTS = {
    "two": np.array([2], np.int64),
    "w": np.ones((2, 3), np.float32),
}
NODES = [
    ("Shape", ["x"], "open"),
    ("Shape", ["y"], "fixed"),
    ("Shape", ["w"], "of_weight"),
    ("Identity", ["open"], "behind_open"),
    ("Identity", ["fixed"], "behind_fixed"),
    ("Add", ["fixed", "two"], "sum"),
    ("Add", ["open", "two"], "mixed"),
    ("Mul", ["w", "y"], "product"),
    ("RandomNormalLike", ["w"], "random"),
    ("Identity", ["random"], "behind_random"),
    ("Add", ["overridable", "two"], "overridden"),
    ("Custom", ["w"], "custom"),
]
IS_CONSTANT = {"two", "w", "fixed", "of_weight", "behind_fixed", "sum"}


def _values() -> tuple[ir.Model, dict[str, ir.Value]]:
    nodes = [
        helper.make_node(op_type, inputs, [output], domain="other" if op_type == "Custom" else "")
        for op_type, inputs, output in NODES
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]),
        helper.make_tensor_value_info("overridable", TensorProto.INT64, [1]),
    ]
    arrays = {**CONSTANTS, "overridable": np.array([1], np.int64)}
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "facts", inputs, [], constants)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("other", 1)]
    model = ir.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8))
    computed = [value for node in model.graph for value in node.outputs]
    values = [*model.graph.inputs, *model.graph.initializers.values(), *computed]
    return model, {value.name or "": value for value in values}


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_constant_is_told_without_computing_it(reverse: bool) -> None:
    """In whatever order the questions are asked."""
    model, values = _values()
    facts = Facts(model)
    names = sorted(values, reverse=reverse)
    assert {name for name in names if facts.is_constant(values[name])} == IS_CONSTANT
    assert {name for name in names if facts.constant(values[name]) is not None} == IS_CONSTANT


def test_constants_are_computed() -> None:
    model, values = _values()
    facts = Facts(model)
    assert facts.constant(values["sum"]).tolist() == [4, 5]
    assert facts.constant(values["of_weight"]).tolist() == [2, 3]
    assert facts.constant(None) is None and not facts.is_constant(None)


def test_a_filled_constant_has_one_number_everywhere() -> None:
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["s"], ["filled"], value=onnx.helper.make_tensor("v", 1, [1], [0.5]))],
        "filled",
        [],
        [],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "s")],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    filled = model.graph[0].outputs[0]
    filled.shape = ir.Shape([2, 3])
    array = Facts(model).constant(filled)
    assert array is not None and array.dtype == np.float32 and array.tolist() == [[0.5] * 3] * 2
