"""Weights that several nodes read are stored once, and no result outgrows its budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.io.load_and_save import load
from onnxnorm.model.walk import weight_bytes
from onnxnorm.optimizer.optimize import optimize
from testing.builder import count, folded
from testing.networks import random_network

ROWS, WIDTH = 32, 64
# What a model may always grow by, unless the caller wants no growth at all.
UNNOTICED = 2**14


def shared(scales: Sequence[float], *, behind: str = "", depth: bool = False) -> onnx.ModelProto:
    """x -> LeakyRelu -> Gemm (W, the same for all) -> BatchNormalization, for each scale; side by side or in a row.

    No two of the activations are the same, so that the products are not either.

    `behind`: W comes out of a node of that type, one for each reader.
    """
    random = np.random.default_rng(0)
    nodes, constants, outputs = [], [numpy_helper.from_array(random.normal(size=(WIDTH, WIDTH)) / 8, "w")], []
    constants += [numpy_helper.from_array(random.uniform(0.5, 1.5, WIDTH), name) for name in ("bias", "mean", "var")]
    profile = random.uniform(0.5, 1.5, WIDTH)
    source = "x"
    for index, scale in enumerate(scales):
        constants.append(numpy_helper.from_array(scale * profile, f"s{index}"))
        weight = "w"
        if behind:
            weight = f"w{index}"
            nodes.append(helper.make_node(behind, ["w"], [weight]))
        nodes += [
            helper.make_node("LeakyRelu", [source], [f"r{index}"], alpha=0.1 + index / 100),
            helper.make_node("Gemm", [f"r{index}", weight], [f"m{index}"]),
            helper.make_node("BatchNormalization", [f"m{index}", f"s{index}", "bias", "mean", "var"], [f"p{index}"]),
            helper.make_node("Tanh", [f"p{index}"], [f"y{index}"]),
        ]
        if depth:
            source = f"y{index}"
        else:
            outputs.append(f"y{index}")
    outputs = outputs or [source]
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [ROWS, WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [ROWS, WIDTH]) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def bytes_in(model: onnx.ModelProto) -> int:
    return weight_bytes(load(model))


@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize("behind", ["", "Identity", "Transpose"])
@pytest.mark.parametrize("readers", [2, 3])
def test_the_same_fold_by_all_readers_is_stored_once(readers: int, behind: str, depth: bool) -> None:
    model = shared([2.0] * readers, behind=behind, depth=depth)
    result = folded(model, whole=True).model
    assert count(result, "BatchNormalization") == 0
    assert bytes_in(result) < bytes_in(model)


@pytest.mark.parametrize("depth", [False, True])
@pytest.mark.parametrize("behind", ["", "Identity", "Transpose"])
@pytest.mark.parametrize("readers", [2, 3])
def test_a_different_fold_by_every_reader_is_declined(readers: int, behind: str, depth: bool) -> None:
    model = shared([1.0 + 0.25 * index for index in range(readers)], behind=behind, depth=depth)
    result = folded(model, whole=True).model
    assert count(result, "BatchNormalization") >= readers - 1
    assert bytes_in(result) <= bytes_in(model)


def test_copies_are_made_up_to_the_budget() -> None:
    model = shared([1.0, 1.5, 2.0, 2.5])
    left = {growth: count(folded(model, whole=True, max_growth=growth).model, "BatchNormalization") for growth in
            (0.0, 1.0, 2.0, 3.0)}  # fmt: skip
    assert left[0.0] == 4
    assert left[0.0] > left[1.0] > left[2.0] > left[3.0] == 0
    for growth in left:
        assert bytes_in(optimize(model, max_growth=growth, verify=False).model) <= (1 + growth) * bytes_in(model)


def test_a_batch_norm_that_stays_for_the_budget_says_so() -> None:
    random = np.random.default_rng(0)
    nodes, constants = [], [numpy_helper.from_array(random.normal(size=(32, 32, 3, 3)) / 8, "w")]
    for index in range(2):
        for name, low in (("scale", 0.5), ("bias", -1.0), ("mean", -1.0), ("var", 0.5)):
            constants.append(numpy_helper.from_array(random.uniform(low, 2, 32), f"{name}{index}"))
        nodes += [
            helper.make_node("Conv", [f"x{index}", "w"], [f"c{index}"], f"conv{index}", kernel_shape=[3, 3]),
            helper.make_node(
                "BatchNormalization", [f"c{index}", *(f"{name}{index}" for name in ("scale", "bias", "mean", "var"))],
                [f"n{index}"], f"norm{index}",
            ),
            helper.make_node("Relu", [f"n{index}"], [f"y{index}"]),
        ]  # fmt: skip
    values = [
        [helper.make_tensor_value_info(f"{name}{index}", TensorProto.DOUBLE, [1, 32, size, size]) for index in range(2)]
        for name, size in (("x", 40), ("y", 38))
    ]
    graph = helper.make_graph(nodes, "twice", *values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = folded(model)
    assert count(result.model, "BatchNormalization") == 2
    assert all("max_growth" in decline.reason for decline in result.declined)
    assert count(folded(model, whole=True, max_growth=1.0).model, "BatchNormalization") == 0


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_no_random_network_outgrows_its_budget(first: int) -> None:
    for seed in range(first, first + 10):
        model = random_network(seed, 60)
        before = bytes_in(model)
        assert bytes_in(optimize(model, verify=False).model) <= max(1.05 * before, before + UNNOTICED), seed


@pytest.mark.parametrize("growth", [-0.1, float("inf"), float("nan")])
def test_a_budget_is_a_part(growth: float) -> None:
    with pytest.raises(OnnxNormError, match="max_growth"):
        optimize(shared([1.0]), max_growth=growth, verify=False)


def _branches(towers: int, *, alike: bool) -> onnx.ModelProto:
    """Towers of a 3x3 convolution by one weight for all and a 1x1 convolution by their own, added up."""
    random = np.random.default_rng(1)
    constants = [numpy_helper.from_array(random.normal(size=(32, 32, 3, 3)) / 17, "w")]
    nodes, outputs = [], []
    for index in range(towers):
        if index == 0 or not alike:
            constants.append(numpy_helper.from_array(random.normal(size=(32, 32, 1, 1)), f"v{index}"))
        nodes += [
            helper.make_node("Tanh", [f"x{index}"], [f"t{index}"]),
            helper.make_node("Conv", [f"t{index}", "w"], [f"a{index}"], pads=[1] * 4),
            helper.make_node("Conv", [f"t{index}", "v0" if alike else f"v{index}"], [f"b{index}"]),
            helper.make_node("Add", [f"a{index}", f"b{index}"], [f"c{index}"]),
            helper.make_node("Tanh", [f"c{index}"], [f"y{index}"]),
        ]
        outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.DOUBLE, [1, 32, 8, 8]))
    inputs = [helper.make_tensor_value_info(f"x{index}", TensorProto.DOUBLE, [1, 32, 8, 8]) for index in range(towers)]
    graph = helper.make_graph(nodes, "towers", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("towers", "alike", "max_growth", "left"),
    [(1, False, 0.05, 1), (3, True, 0.05, 3), (3, False, 0.05, 6), (3, False, 3.0, 3)],
)
def test_merging_into_a_shared_weight_is_charged(towers: int, alike: bool, max_growth: float, left: int) -> None:
    model = _branches(towers, alike=alike)
    result = folded(model, tolerance=1e-9, whole=True, max_growth=max_growth).model
    assert count(result, "Conv") == left
    before = weight_bytes(load(model))
    assert weight_bytes(load(result)) <= before * (1 + max_growth) + UNNOTICED
    if alike:
        assert weight_bytes(load(result)) <= before
