"""What was optimized once is left alone by a second run, node for node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm.passes.targets import TARGETS
from testing.builder import Builder, affines, same_in_onnxruntime
from testing.networks import random_network


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(8))
def test_a_second_run_changes_nothing(seed: int, target: str) -> None:
    once = onnxnorm.optimize(random_network(seed, 12), target=target, verify=False).model
    again = onnxnorm.optimize(once, target=target, verify=False)
    assert not again.rewrites
    assert list(again.model.graph.node) == list(once.graph.node)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_rank_that_cleaning_brings_to_light_is_known_in_the_same_run(hidden: bool) -> None:
    """ONNX infers no shape where the axes of an operator come out of an Identity."""
    b = Builder(dtype=np.float32)
    x = b.node("MatMul", b.input((2, 4, 5)), b.constant(b.normal(5, 5)))
    axes = b.ints(2)
    x = b.node("Unsqueeze", x, b.node("Identity", axes) if hidden else axes)
    x = b.node("Mul", b.node("Relu", x), b.constant(b.vector(5, "positive")))
    model = b.model(b.node("MatMul", x, b.constant(b.normal(5, 3))))
    once = onnxnorm.optimize(model).model
    assert affines(once) == 0
    assert not onnxnorm.optimize(once, verify=False).rewrites
    same_in_onnxruntime(model, once)


def test_a_body_that_says_other_extents_than_it_is_given_is_known_in_the_same_run() -> None:
    """ONNX infers nothing within a loop whose body says of its inputs what the node contradicts."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 4] x) => (float[N, 4] z) <float[4, 4] w, float[4] s, int64 three = {3}, bool yes = {1}>
        {
            z = Loop (three, yes, x) <body = b (int64 i, bool c, float[2, 4] a) => (bool d, float[2, 4] q)
                { d = Identity (c)  p = MatMul (a, w)  m = Mul (p, s)  q = Tanh (m) }>
        }"""
    )
    random = np.random.default_rng(0)
    kept = [each for each in model.graph.initializer if each.name in ("three", "yes")]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name, extents in (("w", (4, 4)), ("s", (4,))):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(random.uniform(0.5, 1, extents).astype(np.float32), name)
        )
    once = onnxnorm.optimize(model).model
    assert affines(once) == 0
    assert not onnxnorm.optimize(once, verify=False).rewrites
    same_in_onnxruntime(model, once)
