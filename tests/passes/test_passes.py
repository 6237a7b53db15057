"""Tests of the passes around the folding: constants computed once, dead nodes gone, a reason for every norm left."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.optimizer.optimize import optimize
from onnxnorm.passes import DEFAULT, FOLDING, PASSES
from testing.builder import Builder, count, folded, same_in_onnxruntime


def run(model: onnx.ModelProto, *passes: str, **options: Any) -> onnx.ModelProto:
    result = folded(model, whole=True, passes=passes, **options)
    assert isinstance(result.model, onnx.ModelProto)
    return result.model


# --- fold_constants ---------------------------------------------------------------------------------------------------

SHAPE = (2, 4, 6)


def _computed(op_type: str, opset: int, *more: Any, **attributes: Any) -> onnx.ModelProto:
    """x plus what `op_type` makes of a constant of the shape of x (summed up, so that any shape will do)."""
    net = Builder(opset=opset)
    x = net.input(SHAPE)
    constants = [net.constant(np.asarray(each)) for each in (net.normal(*SHAPE), *more)]
    y = net.node(op_type, *constants, **attributes)
    if opset >= 13:
        total = net.node("ReduceSum", y, net.ints(0, 1), keepdims=0)
    else:
        total = net.node("ReduceSum", y, axes=[0, 1], keepdims=0)
    net.output(
        net.node("Add", x, net.node("MatMul", total, net.constant(net.normal(_width(op_type), 6))), out="y"),
        shape=SHAPE,
    )
    return net.model()


def _width(op_type: str) -> int:
    return {"GlobalMaxPool": 1, "GlobalAveragePool": 1, "MaxPool": 5, "AveragePool": 5}.get(op_type, 6)


STATISTICS = (np.linspace(0.5, 2, 4), np.linspace(-1, 1, 4), np.linspace(0, 1, 4), np.linspace(0.3, 2, 4))


@pytest.mark.parametrize(
    ("op_type", "opset", "more", "attributes"),
    [
        ("BatchNormalization", 9, STATISTICS, {}),
        ("BatchNormalization", 13, STATISTICS, {}),
        ("BatchNormalization", 17, STATISTICS, {}),
        ("BatchNormalization", 8, tuple(np.stack([s] * 6, 1) for s in STATISTICS), {"spatial": 0}),
        ("Softmax", 11, (), {}),
        ("Softmax", 13, (), {}),
        ("LogSoftmax", 11, (), {"axis": 2}),
        ("LRN", 13, (), {"size": 3}),
        ("GlobalMaxPool", 13, (), {}),
        ("GlobalAveragePool", 13, (), {}),
        ("MaxPool", 13, (), {"kernel_shape": [2]}),
        ("AveragePool", 13, (), {"kernel_shape": [2]}),
        ("LpNormalization", 13, (), {"p": 1}),
        ("InstanceNormalization", 13, STATISTICS[:2], {}),
        ("LayerNormalization", 17, (np.linspace(0.5, 2, 6),), {}),
        ("RMSNormalization", 23, (np.linspace(0.5, 2, 6),), {}),
        ("MeanVarianceNormalization", 13, (), {"axes": [0, 2]}),
        ("Erf", 13, (), {}),
        ("Relu", 13, (), {}),
    ],
)
def test_constants_are_computed_as_the_operator_is_defined(
    op_type: str, opset: int, more: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    """Several of these the evaluator of the package onnx computes wrongly."""
    after = run(_computed(op_type, opset, *more, **attributes), "infer_shapes", "fold_constants", tolerance=1e-9)
    assert count(after, op_type) == 0


def test_constants_are_rounded_to_the_type_of_each_step() -> None:
    """Half precision on the way is the model's own: 0.1 in float16 is not 0.1."""
    net = Builder(dtype=np.float32)
    x = net.input((3,))
    half = net.node("Cast", net.constant(np.array([0.1, 1e-9, 70000.0])), to=TensorProto.FLOAT16)
    model = net.model(net.node("Add", x, net.node("Cast", half, to=TensorProto.FLOAT)))
    after = run(model, "infer_shapes", "fold_constants", evaluate=False)
    (constant,) = [numpy_helper.to_array(t) for t in after.graph.initializer if t.data_type == TensorProto.FLOAT]
    with np.errstate(over="ignore"):
        expected = np.array([0.1, 1e-9, 70000.0], np.float32).astype(np.float16).astype(np.float32)
    assert np.array_equal(constant, expected)
    assert [node.op_type for node in after.graph.node] == ["Add"]


def test_a_large_constant_keeps_its_recipe() -> None:
    def model(extent: int) -> onnx.ModelProto:
        net = Builder(dtype=np.float32)
        x = net.input((extent, 64))
        ones = net.node("ConstantOfShape", net.ints(extent, 64), value=numpy_helper.from_array(np.ones(1, np.float32)))
        return net.model(net.node("Add", x, ones))

    small, large = run(model(4), *DEFAULT, evaluate=False), run(model(10_000), *DEFAULT, evaluate=False)
    assert count(small, "ConstantOfShape") == 0
    assert count(large, "ConstantOfShape") == 1
    assert large.ByteSize() < 10_000


def test_weights_behind_a_chain_of_constants_become_one_initializer() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 4, 5, 5))
    weight = net.node("Transpose", net.constant(net.normal(3, 3, 4, 6)), perm=[3, 2, 0, 1])
    weight = net.node("Identity", weight)
    bias = net.node("Expand", net.constant(np.zeros(1)), net.node("Shape", net.constant(np.zeros(6))))
    model = net.model(net.node("Conv", x, weight, bias))
    after = run(model, *DEFAULT)
    assert [node.op_type for node in after.graph.node] == ["Conv"]
    assert len(after.graph.initializer) == 2


def test_random_numbers_are_no_constants() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 3))
    after = run(net.model(net.node("Add", x, net.node("RandomNormal", shape=[2, 3]))), *DEFAULT, evaluate=False)
    assert count(after, "RandomNormal") == 1


def test_a_constant_that_is_an_output_stays_an_output() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 3))
    y = net.node("Exp", net.constant(net.normal(3)), out="table")
    after = run(net.model(net.node("Add", x, y), "table"), *DEFAULT)
    assert [output.name for output in after.graph.output][1] == "table"


def test_overridable_constants_are_not_computed() -> None:
    """From IR version 4 on an initializer that is an input is a default."""
    net = Builder(dtype=np.float32)
    x = net.input((2, 3))
    default = net.constant(net.normal(3), name="default")
    net.input((3,), name="default")
    model = net.model(net.node("Add", x, net.node("Exp", default)))
    assert count(run(model, *DEFAULT), "Exp") == 1
    assert count(run(model, *DEFAULT, freeze_inputs=True, tolerance=1e-6), "Exp") == 0


def test_functions_are_left_to_themselves() -> None:
    net = Builder(dtype=np.float32, opsets={"local": 1})
    x = net.input((2, 3))
    net.functions.append(
        helper.make_function(
            "local",
            "Half",
            ["a"],
            ["b"],
            [
                helper.make_node("Constant", [], ["c"], value_float=0.5),
                helper.make_node("Exp", ["c"], ["d"]),
                helper.make_node("Mul", ["a", "d"], ["b"]),
            ],
            [helper.make_opsetid("", 18)],
        )
    )
    run(net.model(net.node("Half", x, domain="local")), *DEFAULT, target="onnxruntime")


@pytest.mark.parametrize(("opset", "is_inlined"), [(18, True), (15, False)])
def test_a_function_of_another_opset_is_not_put_in_place(opset: int, is_inlined: bool) -> None:
    net = Builder(dtype=np.float32, opsets={"local": 1})
    x = net.input((2, 3, 4, 4))
    net.functions.append(
        helper.make_function(
            "local",
            "Norm",
            ["a", "s", "b", "m", "v"],
            ["y"],
            [helper.make_node("BatchNormalization", ["a", "s", "b", "m", "v"], ["y"], "norm")],
            [helper.make_opsetid("", opset)],
        )
    )
    parameters = [net.constant(array) for array in net.statistics(3)]
    h = net.told(net.node("Norm", net.conv(x, 3, 3, (1, 1)), *parameters, domain="local"), (2, 3, 4, 4))
    model = net.model(net.node("Relu", h))
    after = run(model, *DEFAULT, tolerance=1e-5)
    assert count(after, "BatchNormalization") == (0 if is_inlined else 1)
    assert len(after.functions) == (0 if is_inlined else 1)
    if not is_inlined:
        with pytest.raises(OnnxNormError, match="'Norm' is of another opset"):
            optimize(model, opset=13, verify=False)


# --- clean ------------------------------------------------------------------------------------------------------------


def test_dead_nodes_identities_and_unread_constants_go() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 3))
    net.node("Exp", x)
    net.constant(net.normal(5))
    y = net.node("Identity", net.node("Relu", net.node("Identity", x)))
    after = run(net.model(y), "clean")
    assert [node.op_type for node in after.graph.node] == ["Relu"]
    assert not after.graph.initializer
    assert [output.name for output in after.graph.output] == [y]


def test_an_identity_between_input_and_output_stays() -> None:
    net = Builder(dtype=np.float32)
    net.input((2, 3))
    net.node("Identity", "x", out="y")
    after = run(net.model("y"), "clean")
    assert [node.op_type for node in after.graph.node] == ["Identity"]


def test_two_outputs_of_one_value_stay_two() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 3))
    y = net.node("Relu", x, out="a")
    net.node("Identity", y, out="b")
    net.node("Identity", y, out="c")
    after = run(net.model("c", "a", "b"), "clean")
    assert [output.name for output in after.graph.output] == ["c", "a", "b"]
    same_in_onnxruntime(net.model(), after)


def test_an_output_declares_what_it_declared_when_its_identity_goes() -> None:
    """Shape inference knows nothing of what the custom operator makes; the declaration of the output does."""
    net = Builder(dtype=np.float32, opsets={"custom": 1})
    x = net.input(("batch", 3))
    y = net.node("Mystery", x, domain="custom")
    net.node("Identity", y, out="y")
    net.output("y", shape=("batch", 7))
    after = run(net.model(), *DEFAULT, evaluate=False)
    (output,) = after.graph.output
    assert output.name == "y"
    assert output.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim] == ["batch", 7]


def test_the_names_of_open_axes_of_an_output_are_kept() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("batch", 3, None))
    net.node("Identity", net.node("Relu", x), out="y")
    net.output("y", shape=("batch", 3, "width"))
    after = run(net.model(), *DEFAULT)
    (output,) = after.graph.output
    assert [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim] == ["batch", 3, "width"]


def test_a_custom_operator_called_identity_stays() -> None:
    net = Builder(dtype=np.float32, opsets={"custom": 1})
    x = net.input((2, 3))
    y = net.node("Identity", x, domain="custom")
    net.output(net.node("Relu", y, out="y"), shape=(2, 3))
    after = run(net.model(), *DEFAULT, evaluate=False)
    assert [(node.domain, node.op_type) for node in after.graph.node] == [("custom", "Identity"), ("", "Relu")]


# --- account ----------------------------------------------------------------------------------------------------------


def _left(model: onnx.ModelProto, **options: Any) -> dict[str, str]:
    result = optimize(model, **options, verify=False)
    return {decline.node: decline.reason for decline in result.declined}


def test_every_normalization_that_is_left_has_its_reason() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 4, 5, 5))
    y = net.node("Unsqueeze", x, net.ints(2))
    y = net.node("Squeeze", net.node("LRN", y, size=3, name="lrn"), net.ints(2))
    y = net.node("InstanceNormalization", y, net.constant(np.ones(4)), net.constant(np.zeros(4)), name="instance")
    y = net.node("LpNormalization", y, name="lp")
    y = net.batch_norm(y, 4, name="bn")
    reasons = _left(net.model(net.node("Sigmoid", y)))
    assert set(reasons) == {"lrn", "instance", "lp", "bn"}
    assert all(reasons.values())
    assert "LpNormalization 'lp'" in reasons["bn"] or "Sigmoid" in reasons["bn"]


def test_without_a_folding_pass_that_is_the_reason() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 4, 5))
    reasons = _left(net.model(net.batch_norm(net.conv(x, 4, 4), 4, name="bn")), passes=("account",))
    assert reasons == {"bn": "no pass that folds was asked for"}


def test_two_norms_of_one_name_have_a_reason_each() -> None:
    """Names of nodes need not be unique in ONNX; most of all not between a graph and its subgraphs."""
    net = Builder(dtype=np.float32)
    x = net.input((2, 4, 5))
    y = net.node("Sigmoid", net.batch_norm(net.node("Sigmoid", x), 4, name="bn"))
    y = net.node("Sigmoid", net.batch_norm(net.node("Sigmoid", y), 4, name="bn"))
    result = optimize(net.model(y), verify=False)
    assert [decline.op_type for decline in result.declined] == ["BatchNormalization"] * 2


def test_a_norm_that_went_is_not_among_the_declined() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 4, 5))
    y = net.batch_norm(net.conv(x, 4, 4), 4, name="gone")
    y = net.batch_norm(net.node("Sigmoid", y), 4, name="left")
    result = optimize(net.model(net.node("Sigmoid", y)), verify=False)
    assert [decline.node for decline in result.declined] == ["left"]
    assert "gone" in {rewrite.node for rewrite in result.rewrites}


# --- the table of passes ----------------------------------------------------------------------------------------------


def test_the_pipelines_name_passes_that_exist() -> None:
    assert set(FOLDING) <= set(PASSES)
    assert set(DEFAULT) <= set(PASSES)
    # By default it depends on the target which functions stay.
    assert set(FOLDING) - {"inline_functions"} <= set(DEFAULT)


@pytest.mark.parametrize("name", sorted(PASSES))
def test_each_pass_alone_keeps_what_the_model_computes(name: str) -> None:
    net = Builder(seed=3)
    x = net.input((2, 4, 6, 6))
    y = net.batch_norm(net.conv(x, 4, 6, (3, 3), pads=[1, 1, 1, 1]), 6)
    y = net.node("Identity", net.node("Relu", y))
    y = net.node("Add", y, net.node("Exp", net.constant(net.normal(6, 1, 1))))
    run(net.model(y), name)
