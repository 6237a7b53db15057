"""Whole random networks: whatever is folded, nothing is ever wrong. `fuzz.networks` runs many more."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto

from fuzz.networks import in_precision, nodes_for, precision_for, try_network
from testing.builder import affines as arithmetic
from testing.networks import random_network


@pytest.mark.parametrize("first", range(0, 300, 10))
def test_folding_random_networks_changes_no_result(first: int) -> None:
    seeds = range(first, first + 10)
    outcomes = [try_network(seed, precision=precision_for(seed), count=arithmetic) for seed in seeds]
    assert not [outcome for outcome in outcomes if outcome.wrong or outcome.coarser]
    assert sum(outcome.affines_after for outcome in outcomes) < sum(outcome.affines_before for outcome in outcomes)


def test_a_seed_is_one_network() -> None:
    assert random_network(3, 50) == random_network(3, 50) != random_network(4, 50)
    assert {precision_for(seed) for seed in range(20)} == {"float64", "float32", "float16"}
    assert all(30 <= nodes_for(seed) <= 300 for seed in range(300))


@pytest.mark.parametrize("seed", [7, 27, 47])
def test_a_network_in_half_precision_is_valid_and_has_no_double_left(seed: int) -> None:
    model = in_precision(random_network(seed, 120, quantized=True), "float16")
    onnx.checker.check_model(model, full_check=True)
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    elements = {value.type.tensor_type.elem_type for value in (*typed.value_info, *typed.input, *typed.output)}
    assert TensorProto.FLOAT16 in elements
    assert TensorProto.DOUBLE not in elements
    assert all(tensor.data_type != TensorProto.DOUBLE for tensor in model.graph.initializer)
