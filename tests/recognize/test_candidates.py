"""Tests of where a written-out normalization may start: squares in all their forms."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm.evaluate.evaluator import evaluate_float64
from testing.builder import count, random_feeds
from tests.recognize.spellings import Net


@pytest.mark.parametrize("same", [True, False])
def test_a_difference_that_is_computed_twice_is_a_square(same: bool) -> None:
    """TensorFlow's moments subtract the mean twice; a difference from something else is no square."""
    net = Net(opset=17, dtype=np.float32)
    x = net.input((2, 3, 8))
    mean = net.mean(x, -1)
    other = mean if same else net.mean(x, -2)
    variance = net.mean(net.node("Mul", net.node("Sub", x, mean), net.node("Sub", x, other)), -1)
    root = net.node("Sqrt", net.node("Add", net.node("Abs", variance) if not same else variance, net.number(1e-3)))
    scale = net.node("Div", net.constant(net.normal(8)), root)
    y = net.node("Add", net.node("Mul", x, scale), net.node("Neg", net.node("Mul", mean, scale)))
    model = net.model(y)
    result = onnxnorm.optimize(model, verify=False).model
    assert count(result, "LayerNormalization") == int(same)
    feeds = random_feeds(model)
    for got, want in zip(
        evaluate_float64(result, feeds).values(), evaluate_float64(model, feeds).values(), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [9, 13, 17])
def test_an_lrn_that_was_written_out_is_one_node_again(opset: int) -> None:
    """The portable form pads before it squares."""
    net = Net(opset=opset, dtype=np.float32)
    model = net.model(net.node("LRN", net.input((2, 6, 4, 5)), size=3, alpha=0.2, beta=0.6, bias=1.5))
    plain = onnxnorm.optimize(model, verify=False).model
    assert count(plain, "LRN") == 0
    again = onnxnorm.optimize(plain, target="tensorrt", verify=False).model
    assert [node.op_type for node in again.graph.node] == ["LRN"]
    kept = {each.name: onnx.helper.get_attribute_value(each) for each in again.graph.node[0].attribute}
    assert kept == pytest.approx({"size": 3, "alpha": 0.2, "beta": 0.6, "bias": 1.5})
