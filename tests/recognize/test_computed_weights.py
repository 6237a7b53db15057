"""Written-out normalizations with weights that are no constants, one behind the other, in functions, between casts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxnorm
from onnxnorm.evaluate.evaluator import evaluate_float64
from testing.builder import assert_same, random_feeds, same_in_onnxruntime
from tests.recognize.spellings import Net
from tests.recognize.test_declines import norm, recognized


def _with_weights(scale: str, bias: str | None, *, rms: bool = False) -> onnx.ModelProto:
    """LayerNorm (or RMSNorm) over 6 of (2, 3, 6); `scale` and `bias` say where the weights come from."""
    net = Net(opset=23, dtype=np.float32, ir_version=10)
    x = net.input((2, 3, 6))
    y = norm(net, x, rms=rms)
    for op_type, source, name in (("Mul", scale, "g"), ("Add", bias, "b")):
        if source is None:
            continue
        if source == "input":
            other = net.input((6,), name)
        elif source == "computed":
            other = net.node("Tanh", net.input((6,), name))
        elif source == "per sample":
            other = net.input((2, 1, 6), name)
        elif source == "one number":
            other = net.input((), name)
        else:
            other = net.input(("n",), name)
        y = net.node(op_type, y, other) if source == "input" else net.node(op_type, other, y)
    return net.model(y)


@pytest.mark.parametrize("bias", ["input", "computed"])
@pytest.mark.parametrize("scale", ["input", "computed"])
def test_weights_that_are_no_constants_are_operands_of_the_node(scale: str, bias: str) -> None:
    model = _with_weights(scale, bias)
    ops, _, after = recognized(model)
    assert {op for op in ops if op != "Tanh"} == {"LayerNormalization"} and ops["LayerNormalization"] == 1
    same_in_onnxruntime(model, after, tolerance=1e-5)
    ops, _, _ = recognized(_with_weights(scale, None, rms=True))
    assert {op for op in ops if op != "Tanh"} == {"RMSNormalization"}


@pytest.mark.parametrize("source", ["per sample", "one number"])
def test_what_has_not_the_normalized_shape_stays_behind_the_node(source: str) -> None:
    ops, _, _ = recognized(_with_weights(source, source))
    assert ops == {"LayerNormalization": 1, "Mul": 1, "Add": 1}


def test_the_result_is_read_elsewhere_too() -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    y = norm(net, x)
    scaled = net.node("Mul", y, net.input((6,), "g"))
    ops, _, _ = recognized(net.model(net.node("Add", scaled, net.node("Sigmoid", y))))
    assert ops == {"LayerNormalization": 1, "Mul": 1, "Add": 1, "Sigmoid": 1}


@pytest.mark.parametrize("depth", [2, 5])
def test_normalizations_of_normalizations_are_all_raised(depth: int) -> None:
    net = Net(opset=18, dtype=np.float32)
    y = net.input((2, 3, 6))
    for _ in range(depth):
        y = net.node("Add", net.node("Mul", norm(net, y), net.constant(net.normal(6))), net.constant(net.normal(6)))
    assert recognized(net.model(y))[0] == {"LayerNormalization": depth}


@pytest.mark.parametrize(("domain", "raised"), [("my.layers", True), ("com.microsoft", False)])
def test_a_local_function_that_normalizes_is_raised_at_each_call(domain: str, raised: bool) -> None:
    net = Net(opset=18, dtype=np.float32)
    y = norm(net, "x", epsilon="eps")
    y = net.node("Add", net.node("Mul", y, "g"), "b")
    body = [helper.make_node("Constant", [], ["eps"], value_float=1e-3)]
    axes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in net.constants]
    function = helper.make_function(
        domain, "Norm", ["x", "g", "b"], [y], [*body, *axes, *net.nodes], [helper.make_opsetid("", 18)]
    )
    main = Net(opset=18, dtype=np.float32, opsets={domain: 1})
    value = main.input((2, 3, 6), "data")
    for _ in range(2):
        value = main.node("Norm", value, main.constant(main.normal(6)), main.constant(main.normal(6)), domain=domain)
    main.functions.append(function)
    model = main.model(value)
    result = onnxnorm.optimize(
        model, passes=("inline_functions", "infer_shapes", "recognize", "clean"), verify=False
    ).model
    feeds = random_feeds(model)
    assert_same(evaluate_float64(model, feeds), evaluate_float64(result, feeds), 1e-6)
    kinds = Counter(node.op_type for node in result.graph.node)
    assert kinds == ({"LayerNormalization": 2} if raised else {"Norm": 2})


@pytest.mark.parametrize("where", ["power", "epsilon", "there and back"])
def test_casts_to_double_around_a_constant_do_not_hide_the_normalization(where: str) -> None:
    """TorchScript computes a power or a sum in double where the number in it is a Python float."""
    model = _in_double(where)
    ops, _, after = recognized(model)
    assert ops == {"LayerNormalization": 1}
    same_in_onnxruntime(model, after, tolerance=1e-5)


def test_a_normalization_that_is_computed_in_double_stays_as_accurate_as_it_is() -> None:
    model = _in_double("all of it")
    ops, _, after = recognized(model)
    assert ops == {"LayerNormalization": 1, "Cast": 2}
    assert [node.op_type for node in after.graph.node][1] == "LayerNormalization"


def _in_double(where: str) -> onnx.ModelProto:
    net = Net(opset=18, dtype=np.float32)
    x = net.input((2, 3, 6))
    float_, double = TensorProto.FLOAT, TensorProto.DOUBLE
    if where == "all of it":
        wide = net.cast(x, double)
        epsilon = net.constant(np.array(1e-3), dtype=np.float64)
        return net.model(net.cast(norm(net, wide, epsilon=epsilon), float_))
    centred = net.node("Sub", x, net.mean(x, -1))
    if where == "power":
        squares = net.cast(net.node("Pow", net.cast(centred, double), net.constant(2.0, dtype=np.float64)), float_)
    else:
        copy = net.cast(net.cast(centred, double), float_) if where == "there and back" else centred
        squares = net.node("Mul", copy, copy)
    variance = net.mean(squares, -1)
    if where == "epsilon":
        added = net.node("Add", net.cast(variance, double), net.constant(np.array(1e-3), dtype=np.float64))
        variance = net.cast(added, float_)
    else:
        variance = net.node("Add", variance, net.number(1e-3))
    return net.model(net.node("Div", centred, net.node("Sqrt", variance)))


@pytest.mark.parametrize("channels", [4, "c"])
def test_half_statistics_over_height_and_width_are_one_half_node(channels: int | str) -> None:
    net = Net(opset=18, dtype=np.float16)
    x = net.cast(net.input((2, channels, 5, 6)), TensorProto.FLOAT)
    centred = net.node("Sub", x, net.mean(x, 2, 3))
    variance = net.mean(net.node("Mul", centred, centred), 2, 3)
    root = net.node("Sqrt", net.node("Add", variance, net.constant(np.array(1e-3), dtype=np.float32)))
    model = net.model(net.cast(net.node("Div", centred, root), TensorProto.FLOAT16))
    result = onnxnorm.optimize(model, passes=("infer_shapes", "recognize", "clean"), verify=False).model
    assert [node.op_type for node in result.graph.node] == ["LayerNormalization"]
    feeds = random_feeds(model, symbols={"c": 4})
    assert_same(evaluate_float64(model, feeds), evaluate_float64(result, feeds), 1e-6)


def test_a_weight_tells_the_channels_that_the_input_does_not() -> None:
    net = Net(opset=18, dtype=np.float32)
    x = net.node("Relu", net.node("Conv", net.input(None), net.constant(net.normal(5, 3, 1, 1))))
    y = norm_over_channels(net, x)
    model = net.model(y)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    result = onnxnorm.optimize(model, passes=("infer_shapes", "recognize", "clean"), verify=False).model
    assert Counter(node.op_type for node in result.graph.node)["LayerNormalization"] == 1
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)}
    assert_same(evaluate_float64(model, feeds), evaluate_float64(result, feeds), 1e-6)


def norm_over_channels(net: Net, x: str) -> str:
    centred = net.node("Sub", x, net.mean(x, 1))
    variance = net.mean(net.node("Mul", centred, centred), 1)
    normal = net.node("Div", centred, net.node("Sqrt", net.node("Add", variance, net.number(1e-3))))
    return net.node("Mul", normal, net.constant(net.normal(5, 1, 1)))
