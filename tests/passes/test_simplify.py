"""Cleaning of random networks changes no bit, adds no node and finds nothing the second time."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

import onnxnorm
from onnxnorm.passes.targets import TARGETS
from testing.builder import QUICK, session
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
    result = onnxnorm.optimize(model, target=target)
    assert total(result.model) < total(model)
    assert any(rewrite.pass_name.startswith("simplify") for rewrite in result.rewrites)
