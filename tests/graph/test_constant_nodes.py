"""Tests of onnxnorm/graph/constant_nodes.py against the evaluator of the package onnx."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from onnxnorm.graph.constant_nodes import laid_out

DATA = np.arange(24.0, dtype=np.float32).reshape(1, 4, 6, 1)


def _node(op_type: str, second: object, opset: int, attributes: dict[str, object]) -> tuple[onnx.ModelProto, list]:
    arrays = [DATA] if second is None else [DATA, np.array(second, np.int64)]
    names = ["x", "s"][: len(arrays)]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op_type, names, ["y"], **attributes)],
        "one",
        [onnx.helper.make_tensor_value_info(name, 1 if name == "x" else 7, None) for name in names],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)]), arrays


CASES = [
    ("Identity", None, 17, {}),
    ("Transpose", None, 17, {}),
    ("Transpose", None, 17, {"perm": [0, 2, 1, 3]}),
    ("Unsqueeze", [0, -1], 17, {}),
    ("Unsqueeze", [2], 17, {}),
    ("Unsqueeze", None, 11, {"axes": [1, 4]}),
    ("Squeeze", [0, -1], 17, {}),
    ("Squeeze", None, 11, {"axes": [3]}),
    ("Reshape", [4, -1], 17, {}),
    ("Reshape", [24], 17, {"allowzero": 1}),
]


@pytest.mark.parametrize(("op_type", "second", "opset", "attributes"), CASES)
def test_it_gives_what_the_evaluator_gives(
    op_type: str, second: object, opset: int, attributes: dict[str, object]
) -> None:
    model, arrays = _node(op_type, second, opset, attributes)
    (wanted,) = ReferenceEvaluator(model).run(None, dict(zip(("x", "s"), arrays, strict=False)))
    found = laid_out(ir.from_proto(model).graph[0], arrays)
    assert found is not None and found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("op_type", "second", "attributes"),
    [
        ("Reshape", [0, -1], {}),
        ("Reshape", [5, 5], {}),
        ("Reshape", [[24]], {}),
        ("Unsqueeze", [0, 0], {}),
        ("Unsqueeze", [9], {}),
        ("Squeeze", [1], {}),
        ("Squeeze", None, {}),
        ("Transpose", None, {"perm": [0, 0, 1, 2]}),
        ("Transpose", None, {"perm": [0, 1]}),
        ("Relu", None, {}),
    ],
)
def test_what_is_doubtful_is_left_to_the_evaluator(op_type: str, second: object, attributes: dict[str, object]) -> None:
    model, arrays = _node(op_type, second, 17, attributes)
    assert laid_out(ir.from_proto(model).graph[0], arrays) is None
