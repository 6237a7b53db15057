"""`optimize(runtime=...)`: opset, IR version and forms are those that a version of a runtime reads."""

from __future__ import annotations

import re
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import onnxnorm
from onnxnorm import OnnxNormError
from onnxnorm.validate.runtimes import runtime_named
from testing.builder import Builder, same_in_onnxruntime
from tests.passes.test_plain_targets import custom


def _opset(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if not entry.domain)


def _norms(opset: int) -> onnx.ModelProto:
    """Return a GroupNormalization and an RMSNormalization, where the opset has them."""
    net = Builder(opset=opset, dtype="float32", ir_version=11)
    x = net.input(("n", 4, 3, 5))
    y = net.node("GroupNormalization", x, net.constant(net.normal(4)), net.constant(net.normal(4)), num_groups=2)
    y = net.node("RMSNormalization", y, net.constant(net.normal(5))) if opset >= 23 else net.node("Softmax", y)
    net.output(y, shape=("n", 4, 3, 5))
    return net.model()


@pytest.mark.parametrize(
    ("runtime", "opset", "ir_version"),
    [
        ("onnxruntime==1.15", 19, 9),
        ("onnxruntime==1.16.3", 19, 9),
        ("onnxruntime==1.17", 20, 9),
        ("onnxruntime==1.20.1", 21, 10),
        ("onnxruntime==1.22", 22, 10),
        ("onnxruntime==1.23", 23, 11),
        ("onnxruntime == 1.99", 23, 11),
        ("onnxruntime-web==1.20", 21, 10),
        ("onnxruntime-node==1.16", 19, 9),
        ("tensorrt==8.6", 17, 8),
        ("openvino", 23, 11),
        ("opencv==4.10", 23, 11),
    ],
)
def test_the_result_has_what_the_runtime_reads(runtime: str, opset: int, ir_version: int) -> None:
    model = _norms(23)
    after = onnxnorm.optimize(model, runtime=runtime, verify=False).model
    onnx.checker.check_model(after, full_check=True)
    assert (_opset(after), after.ir_version) == (opset, ir_version)
    same_in_onnxruntime(model, after, tolerance=4e-6)


@pytest.mark.parametrize(("runtime", "opset"), [("onnxruntime==1.22", 13), ("tensorrt==8.6", 17), ("onnxruntime", 18)])
def test_an_opset_that_is_read_stays(runtime: str, opset: int) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in "XY"]
    graph = helper.make_graph([helper.make_node("Softmax", ["X"], ["Y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    assert _opset(onnxnorm.optimize(model, runtime=runtime, verify=False).model) == opset


@pytest.mark.parametrize(("runtime", "functions"), [("onnxruntime==1.15", 0), ("onnxruntime==1.16", 1), ("opencv", 0)])
def test_a_body_is_carried_only_where_it_is_read(runtime: str, functions: int) -> None:
    model = custom("IntraChannelLRN", (1, 2, 5, 5), [3, 3], opset=21)
    after = onnxnorm.optimize(model, runtime=runtime, verify=False).model
    assert len(after.functions) == functions
    same_in_onnxruntime(model, after, tolerance=4e-6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"runtime": "onnxruntime==1.4"}, "it is from onnxruntime 1.15 on"),
        ({"runtime": "onnxrutime"}, "did you mean 'onnxruntime'?"),
        ({"runtime": "1.16"}, "a name and a version"),
        ({"runtime": "onnxruntime==1.16", "opset": 21}, "onnxruntime 1.16 reads opsets up to 19, not 21"),
        ({"runtime": "onnxruntime==1.16", "target": "web"}, "whose target is 'onnxruntime'"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(OnnxNormError, match=re.escape(reason)):
        onnxnorm.optimize(_norms(21), **options)


def test_what_the_runtime_has_no_form_for_is_named() -> None:
    values = [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, (4,)),
        helper.make_tensor_value_info("Y", TensorProto.FLOAT, (4,)),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["X"], ["A"], name="narrow", to=TensorProto.INT4),
            helper.make_node("Cast", ["A"], ["Y"], name="wide", to=TensorProto.FLOAT),
        ],
        "g",
        values[:1],
        values[1:],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(OnnxNormError, match="narrow"):
        onnxnorm.optimize(model, runtime="onnxruntime==1.16")


@pytest.mark.parametrize("opset", [9, 13, 15, 17, 18, 19, 21])
def test_the_ir_version_is_the_least_that_the_contents_need(opset: int) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in "XY"]
    graph = helper.make_graph([helper.make_node("Softmax", ["X"], ["Y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    after = onnxnorm.optimize(model, verify=False).model
    assert after.ir_version == helper.find_min_ir_version_for(model.opset_import)
    onnx.checker.check_model(after, full_check=True)


def test_weights_that_a_caller_may_replace_keep_their_ir_version() -> None:
    """Below IR version 4 nobody may replace an initializer that is an input."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in "XWY"]
    weight = helper.make_tensor("W", TensorProto.FLOAT, (2, 3), [1.0] * 6)
    graph = helper.make_graph([helper.make_node("Add", ["X", "W"], ["Y"])], "g", values[:2], values[2:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=8)
    after = onnxnorm.optimize(model, freeze_inputs=False, verify=False).model
    assert after.ir_version == 4
    assert [value.name for value in after.graph.input] == ["X", "W"]


def test_a_plain_network_gets_the_least_ir_version_too() -> None:
    net = Builder(opset=17, dtype="float32", ir_version=10)
    x = net.input((1, 3, 8, 8))
    y = net.node("Conv", x, net.constant(net.normal(4, 3, 3, 3)))
    ones = [net.constant(abs(net.normal(4)) + 1) for _ in range(4)]
    net.output(net.node("Relu", net.node("BatchNormalization", y, *ones)), shape=(1, 4, 6, 6))
    after = onnxnorm.optimize(net.model(), verify=False).model
    assert [node.op_type for node in after.graph.node] == ["Conv", "Relu"]
    assert after.ir_version == 8


def test_versions_between_known_ones_are_those_before() -> None:
    assert runtime_named("onnxruntime==1.19.2").opset == runtime_named("onnxruntime==1.18").opset == 21
    assert runtime_named("ONNXRuntime").ir_version == 14
