"""A result says the types and shapes of the values of which the original said them, and of no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm.optimizer.inspect import examine
from testing.builder import Builder


def network(*told: str) -> onnx.ModelProto:
    """x -> Relu -> MatMul -> Sigmoid -> If -> y; the values named are told."""
    net = Builder(dtype=np.float32)
    x = net.node("Relu", net.input((2, 8)), out="a")
    x = net.node("Sigmoid", net.node("MatMul", x, net.constant(net.normal(8, 8)), out="b"), out="c")
    condition = net.node("Equal", net.node("ReduceSum", x, keepdims=0), net.constant(np.array(1.0)), out="d")
    bodies = {}
    for name, op_type in (("then_branch", "Exp"), ("else_branch", "Floor")):
        inner = Builder(dtype=np.float32, prefix=name)
        inner.output(inner.node("Neg", inner.node(op_type, x, out=f"{op_type}_inside")), shape=(2, 8))
        bodies[name] = inner.graph(name)
    for name in told:
        net.told(name, (2, 8))
    return net.model(net.node("If", condition, out="y", **bodies))


def said(model: onnx.ModelProto) -> set[str]:
    graphs = [model.graph, *(a.g for node in model.graph.node for a in node.attribute if a.g.node)]
    return {value.name for graph in graphs for value in graph.value_info}


@pytest.mark.parametrize("told", [(), ("a",), ("a", "c")])
def test_the_result_says_what_the_original_said(told: tuple[str, ...], tmp_path: Path) -> None:
    model = network(*told)
    result = onnxnorm.optimize(model, verify=False)
    result.save(tmp_path / "one.onnx")
    result.save(tmp_path / "two.onnx", external_data=True)
    files = [onnx.load(tmp_path / f"{name}.onnx") for name in ("one", "two")]
    for made in (result.model, *files, examine(model)[0].model, onnxnorm.fold(model, verify=False).model):
        assert said(made) == set(told)
        onnx.checker.check_model(made, full_check=True)
    for value in result.model.graph.value_info:
        assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == [2, 8]


def test_who_asks_for_shapes_gets_them() -> None:
    assert said(onnxnorm.optimize(network(), passes=("infer_shapes",), verify=False).model) >= {
        "a",
        "b",
        "c",
        "d",
        "Exp_inside",
    }
    assert said(onnxnorm.optimize(network(), passes=("clean", "infer_shapes"), verify=False).model) >= {
        "a",
        "b",
        "c",
        "d",
    }
    assert said(onnxnorm.optimize(network(), passes=("infer_shapes", "clean"), verify=False).model) == set()
