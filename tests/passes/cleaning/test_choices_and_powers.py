"""Tests that a Where with a constant condition, and a power of one, hand on what they are given."""

from __future__ import annotations

import numpy as np
import pytest

import onnxnorm
from testing.builder import Builder, count, same_in_onnxruntime


@pytest.mark.parametrize("other", [(), (3, 1), (2, 2, 3, 4)])
@pytest.mark.parametrize("condition", [[True], [False], [True, True, True, True], [True, False, True, True]])
def test_a_choice_that_is_made_beforehand(condition: list[bool], other: tuple[int, ...]) -> None:
    b = Builder(opset=17, dtype=np.float32)
    x = b.node("Tanh", b.input((2, 3, 4)))
    y = b.node("Where", b.constant(np.array(condition), dtype=np.bool_), x, b.node("Exp", b.input(other, "other")))
    model = b.model(b.node("Neg", y))
    result = onnxnorm.optimize(model, verify=False).model
    # What the other operand makes larger stays so.
    kept = (2, 3, 4) if condition[0] else other
    gone = len(set(condition)) == 1 and np.broadcast_shapes((2, 3, 4), other, (len(condition),)) == kept
    assert count(result, "Where") == (0 if gone else 1)
    same_in_onnxruntime(model, result)


@pytest.mark.parametrize(("exponent", "gone"), [(1.0, True), ([[1.0]], True), (2.0, False), ([[[[1.0]]]], False)])
def test_a_power_of_one(exponent: object, gone: bool) -> None:
    b = Builder(opset=17, dtype=np.float32)
    x = b.node("Tanh", b.input((2, 3, 4)))
    model = b.model(b.node("Neg", b.node("Pow", x, b.constant(np.array(exponent)))))
    result = onnxnorm.optimize(model, verify=False).model
    assert count(result, "Pow") == (0 if gone else 1)
    same_in_onnxruntime(model, result)
