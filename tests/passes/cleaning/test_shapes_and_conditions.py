"""Shapes that are the same at every inference become constants, and with them conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnorm.optimizer.optimize import optimize
from testing.builder import Builder, session
from testing.cleaning import cleaned, nodes_of, same_bits, special_feeds

T = TensorProto


def extent(net: Builder, x: str, axis: int, *, slices: bool = False) -> str:
    shape = net.node("Shape", x)
    if slices:
        return net.node("Slice", shape, net.ints(axis), net.ints(axis + 1))
    return net.node("Unsqueeze", net.node("Gather", shape, net.constant(np.int64(axis))), net.ints(0))


@pytest.mark.parametrize("slices", [False, True])
def test_a_fixed_extent_of_a_value_with_a_free_one_is_a_constant(slices: bool) -> None:
    net = Builder(dtype=np.float32)
    x = net.node("Neg", net.input(("n", 6, 4)))
    double = net.node("Mul", extent(net, x, 1, slices=slices), net.ints(2))
    shape = net.node("Concat", net.ints(-1), double, net.ints(2), axis=0)
    assert nodes_of(cleaned(net.model(net.node("Abs", net.node("Reshape", x, shape))))) == ["Neg", "Reshape", "Abs"]


def test_free_extents_in_their_places_are_copied() -> None:
    net = Builder(dtype=np.float32)
    x = net.node("Neg", net.input(("n", "m", 6)))
    parts = [extent(net, x, 0), extent(net, x, 1), net.ints(2), net.ints(3)]
    y = net.node("Reshape", x, net.node("Concat", *parts, axis=0))
    assert nodes_of(cleaned(net.model(net.node("Abs", y)), sizes=(3, 1, 0))) == ["Neg", "Reshape", "Abs"]


def test_a_free_extent_in_another_place_is_asked_for_once() -> None:
    def left(*places: int) -> int:
        net = Builder(dtype=np.float32)
        x = net.node("Neg", net.input(("n", 6, "m")))
        parts = [extent(net, x, place) if place >= 0 else net.ints(3) for place in places]
        model = net.model(net.node("Abs", net.node("Reshape", x, net.node("Concat", *parts, net.ints(2), axis=0))))
        return len(nodes_of(cleaned(model, sizes=(3, 1, 0))))

    # Empty values would not do with -1 beside another free extent.
    assert left(2, -1, 0) > 3
    net = Builder(dtype=np.float32)
    x = net.node("Neg", net.input((6, 4, "m")))
    shape = net.node("Concat", net.ints(24), extent(net, x, 2), axis=0)
    model = net.model(net.node("Abs", net.node("Reshape", x, shape)))
    assert nodes_of(cleaned(model)) == ["Neg", "Reshape", "Abs"]


def test_extents_come_from_one_place_through_operators_that_keep_them() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 4, 6, 6))
    y = net.node("Relu", net.conv(x, 4, 8, (3, 3), pads=[1] * 4))
    y = net.node("GlobalAveragePool", net.node("Transpose", y, perm=[0, 1, 3, 2]))
    flat = net.node("Reshape", y, net.node("Concat", extent(net, x, 0), net.ints(8), axis=0))
    after = cleaned(net.model(net.node("Abs", flat)), sizes=(2,))
    assert "Shape" not in nodes_of(after) and nodes_of(after)[-2:] == ["Reshape", "Abs"]


@pytest.mark.parametrize("same", [True, False])
def test_an_extent_of_another_input_is_none_of_this_one(same: bool) -> None:
    """Both inputs call their first extent "n", which no runtime holds a caller to."""
    net = Builder(dtype=np.float32)
    x, z = net.node("Neg", net.input(("n", "m", 6))), net.input(("n", "m", 6), "z")
    shape = net.node("Concat", *(extent(net, x if same else z, axis) for axis in (0, 1)), net.ints(6), axis=0)
    model = net.model(net.node("Abs", net.node("Reshape", x, shape)), net.node("Ceil", z))
    assert ("Shape" in nodes_of(cleaned(model))) == (not same)


def branches(condition: str, net: Builder, x: str) -> str:
    """If: either branch reads x, which is not theirs, and a weight of their own by one name."""
    bodies = {}
    for name, op_type in (("then_branch", "Relu"), ("else_branch", "Floor")):
        inner = Builder(dtype=np.float32, prefix="same_")
        weight = inner.constant(np.float32([len(op_type)]), name="weight")
        y = inner.node("Mul", inner.node(op_type, x), weight)
        inner.output(y, shape=("n", 6))
        bodies[name] = inner.graph(name)
    return net.node("If", condition, **bodies)


@pytest.mark.parametrize("kind", ["constant", "extent", "rank"])
@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_that_is_always_taken_is_all_that_is_left(kind: str, taken: bool) -> None:
    net = Builder(dtype=np.float32)
    x = net.node("Neg", net.input(("n", 6)))
    if kind == "constant":
        condition = net.constant(np.array(taken))
    elif kind == "extent":
        condition = net.node("Equal", extent(net, x, 1), net.ints(6 if taken else 5))
    else:
        rank = net.node("Size", net.node("Shape", x))
        condition = net.node("Not", net.node("Equal", rank, net.constant(np.int64(3 if taken else 2))))
    outer = net.node("Ceil", branches(condition, net, x))
    # A second one has the same names in it.
    model = net.model(net.node("Add", outer, branches(condition, net, x)))
    assert set(nodes_of(cleaned(model))) == {"Neg", "Relu" if taken else "Floor", "Mul", "Ceil", "Add"}


def test_an_if_whose_condition_varies_stays() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 6))
    condition = net.node("Equal", extent(net, x, 0), net.ints(3))
    model = net.model(branches(condition, net, x))
    assert "If" in nodes_of(cleaned(model))


def test_a_branch_that_gives_what_is_outside_keeps_the_names_of_outputs() -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 3))
    graphs = {}
    for name in ("then_branch", "else_branch"):
        node = helper.make_node("Identity", [x], [f"{name}_y"])
        value = helper.make_tensor_value_info(f"{name}_y", T.FLOAT, [2, 3])
        graphs[name] = helper.make_graph([node], name, [], [value])
    y = net.node("If", net.constant(np.array(False)), out="y", **graphs)
    assert nodes_of(cleaned(net.model(y))) == ["Identity"]


def test_what_nobody_reads_goes_with_the_graphs_in_it() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 6))
    dead = branches(net.node("Equal", extent(net, x, 0), net.ints(3)), net, net.node("Exp", x))
    net.node("Ceil", dead)
    assert nodes_of(cleaned(net.model(net.node("Abs", x)))) == ["Abs"]


def twins(make: Any, *, count: int = 2) -> onnx.ModelProto:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 4))
    return net.model(*(net.node("Abs", make(net, x, index)) for index in range(count)))


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda net, x, index: net.node("Exp", x), 1),
        (lambda net, x, index: net.node("Mul", x, net.constant(np.float32(2))), 1),
        (lambda net, x, index: net.node("Elu", x, alpha=0.5), 1),
        (lambda net, x, index: net.node("Mul", x, net.constant(np.float32([0.0, -0.0][index]))), 2),
        (lambda net, x, index: net.node("Elu", x, alpha=[0.0, -0.0][index]), 2),
        (lambda net, x, index: net.node("RandomNormalLike", x), 2),
        (lambda net, x, index: net.node("Bernoulli", net.node("Abs", x)), 2),
        (lambda net, x, index: net.node("LeakyRelu", x, alpha=0.5 + index), 2),
        (lambda net, x, index: net.node("Mul", x, net.constant(np.float32(2) + index)), 2),
    ],
)
def test_nodes_that_compute_the_same_become_one(make: Any, left: int) -> None:
    model = twins(make)
    op_type = model.graph.node[0 if model.graph.node[0].op_type != "Abs" else 1].op_type
    is_random = op_type in ("RandomNormalLike", "Bernoulli")
    after = cleaned(model, runs=not is_random)
    assert nodes_of(after).count(op_type) == left


def test_two_outputs_that_are_one_value_stay_two() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 4))
    after = cleaned(net.model(net.node("Exp", x, out="a"), net.node("Exp", x, out="b")))
    assert sorted(nodes_of(after)) == ["Exp", "Identity"]


def test_large_initializers_that_are_the_same_are_stored_once() -> None:
    def model(other: float) -> onnx.ModelProto:
        net = Builder(dtype=np.float32)
        x = net.input(("n", 32))
        weight = net.normal(32, 32)
        twin = weight.copy()
        twin[0, 0] = weight[0, 0] if other else np.float32(0)
        first = net.node("MatMul", net.node("Relu", x), net.constant(weight))
        return net.model(net.node("Add", first, net.node("MatMul", x, net.constant(twin))))

    assert len(cleaned(model(1.0)).graph.initializer) == 1
    assert len(cleaned(model(0.0)).graph.initializer) == 2


def test_an_overridable_weight_is_never_merged() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 32))
    weight = net.normal(32, 32)
    names = [net.constant(weight, name=name) for name in ("a", "b")]
    net.input((32, 32), "a")
    y = net.node("Add", net.node("MatMul", x, names[0]), net.node("MatMul", x, names[1]))
    assert len(cleaned(net.model(y), runs=False).graph.initializer) == 2


def test_old_models_keep_their_constant_nodes() -> None:
    net = Builder(dtype=np.float32, ir_version=3, opset=8)
    two = net.node("Constant", value=helper.make_tensor("t", T.FLOAT, [], [2.0]))
    model = net.model(net.node("Abs", net.node("Mul", net.input((2, 3)), two)))
    after = optimize(model, passes=("share_constants", "clean"), verify=False).model
    assert nodes_of(after) == ["Constant", "Mul", "Abs"]
    feeds = special_feeds(model, {})
    assert same_bits(session(model).run(None, feeds)[0], session(after).run(None, feeds)[0])
