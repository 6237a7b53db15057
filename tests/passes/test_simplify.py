"""Cleaning of random networks changes no bit, adds no node and finds nothing the second time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

import onnxnorm
from onnxnorm.passes.targets import TARGETS
from testing.builder import QUICK, Builder, session
from testing.cleaning import cleaned, special_feeds, total
from testing.cleaning_networks import untidy_network


def runs(model: onnx.ModelProto, size: int) -> bool:
    """Whether onnxruntime runs the model: an If whose operand is an output too is now and then too much for it."""
    try:
        session(model).run(None, special_feeds(model, {"n": size}, seed=size))
    except Fail:
        return False
    return True


@QUICK
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(3, 24))
def test_no_bit_changes(seed: int, nodes: int) -> None:
    model = untidy_network(seed, nodes)
    assume(all(runs(model, size) for size in (3, 2, 1)))
    cleaned(model, sizes=(3, 2, 1))


@QUICK
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(3, 24))
def test_a_second_run_of_everything_changes_nothing(seed: int, nodes: int) -> None:
    cleaned(untidy_network(seed, nodes), whole=True)


def test_most_random_networks_become_smaller() -> None:
    models = [untidy_network(seed, 16) for seed in range(40)]
    for model in models:
        session(model)
    assert sum(total(cleaned(model, runs=False)) < total(model) for model in models) > 30


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_cleaned(target: str) -> None:
    model = untidy_network(7, 24)
    result = onnxnorm.optimize(model, target=target, verify=False)
    assert total(result.model) < total(model)
    assert any(rewrite.pass_name.startswith("simplify") for rewrite in result.rewrites)


def test_shapes_that_are_known_only_afterwards_are_used_in_the_same_run() -> None:
    net = Builder(dtype=np.float32, opset=9)
    x = net.node("Neg", net.input(("n", 1, 4, 4)))
    parts = [net.node("Slice", net.node("Shape", x), starts=[axis], ends=[axis + 1]) for axis in range(3)]
    parts.append(net.node("Gather", net.node("Shape", x), net.ints(2)))
    same = net.node("Reshape", x, net.node("Concat", *parts, axis=0))
    other = net.node("Reshape", x, net.input((2,), "shape", TensorProto.INT64))
    net.output(net.node("Abs", same), net.node("Sign", other))
    after = onnxnorm.optimize(net.model(), verify=False).model
    assert sorted(node.op_type for node in after.graph.node) == ["Abs", "Neg", "Reshape", "Sign"]
    assert onnxnorm.optimize(after, verify=False).model.graph.node == after.graph.node


@pytest.mark.parametrize(("asked", "left"), [((3, 4), ["Reshape"]), ((2, 6), ["Identity"])])
def test_a_shape_that_is_out_of_date_makes_no_reshape_idle(asked: tuple[int, ...], left: list[str]) -> None:
    net = Builder(dtype=np.float32)
    # ONNX does not follow the numbers of a shape through Max.
    shape = net.node("Max", net.ints(*asked), net.ints(1, 1))
    net.output(net.node("Reshape", net.input((2, 6)), shape), shape=(2, 6))
    after = cleaned(net.model())
    assert [node.op_type for node in after.graph.node] == left


@pytest.mark.parametrize("dead", [True, False])
def test_a_reader_that_nobody_reads_is_none(dead: bool) -> None:
    net = Builder(dtype=np.float32)
    flat = net.node("Reshape", net.input((2, 3, 4)), net.ints(2, 12))
    reader = net.node("Neg", flat)
    net.output(net.node("Reshape", flat, net.ints(6, 4)), *([] if dead else [reader]))
    after = cleaned(net.model())
    assert [node.op_type for node in after.graph.node] == ["Reshape"] + ([] if dead else ["Neg", "Reshape"])
