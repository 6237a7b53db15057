"""Tests of rules for operators of others, as a package outside would write and test them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxnorm
from onnxnorm import rules
from onnxnorm.testing import RuleCheck, check_rule
from testing.builder import Builder, affines, count

# A made-up operator: every channel is turned around in time, and bent at zero as Relu bends.
DOMAIN, OPERATOR = "com.acme", "ReversedRelu"


def reversed_relu(site: rules.Site) -> rules.Answer:
    """The rule: a scale that is not negative, and the same for all times, passes."""

    def through(gauge: rules.Gauge) -> rules.Gauge | rules.Declined:
        if gauge.shifts:
            return rules.Declined("bends at zero, so no shift passes it", rules.Cause.SHIFT)
        if not gauge.non_negative:
            return rules.Declined("bends at zero, so no negative scale passes it", rules.Cause.NEGATIVE)
        if gauge.any.rank - 1 in gauge.axes:
            return rules.Declined("turns the axis around on which the affine varies")
        return gauge

    return rules.cross(site, through, through)


def compute(x: np.ndarray) -> np.ndarray:
    return np.maximum(x[..., ::-1], 0)


def _passes_everything(site: rules.Site) -> rules.Answer:
    return rules.cross(site, lambda gauge: gauge, lambda gauge: gauge)


def weighted(site: rules.Site) -> rules.Answer:
    """The rule of x * weight + bias, with constants along the channels: it absorbs an affine at its input."""
    gauge, weight, bias = site.gauge_in(0), site.constant64(1), site.constant64(2)
    if gauge is None or gauge.to_old is None or weight is None or bias is None:
        return rules.Declined("takes up affines of its input alone")
    before = gauge.to_old.along_axis(1, weight.size)
    if before is None:
        return rules.Declined("has constants along the channels alone")
    scale, shift = before
    edit = rules.Edit(
        (
            0,
            rules.Constant("weight", lambda: weight * scale, site.dtype(1), 0, site.input(1)),
            rules.Constant("bias", lambda: weight * shift + bias, site.dtype(2), 0, site.input(2)),
        ),
        what="absorbs",
    )
    return rules.Settled(edit)


def compute_weighted(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    shape = (-1, *(1,) * (x.ndim - 2))
    return x * weight.reshape(shape) + bias.reshape(shape)


WEIGHTS = (np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, -1.0]))


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    yield
    for operator in (OPERATOR, "Weighted"):
        rules.unregister(DOMAIN, operator)


def test_a_right_rule_is_found_exact() -> None:
    found = check_rule(reversed_relu, compute, [(2, 3, 5)])
    assert isinstance(found, RuleCheck)
    assert found.passed > 20
    assert len(found.declined) == 3
    found = check_rule(weighted, compute_weighted, [(2, 3, 4), *WEIGHTS])
    assert found.passed > 20


@pytest.mark.parametrize(
    ("rule", "compute", "operands"),
    [
        (_passes_everything, compute, [(2, 3, 5)]),
        (_passes_everything, np.abs, [(2, 3, 5)]),
        (_passes_everything, lambda x: np.cumsum(x, axis=1), [(2, 3)]),
        (weighted, lambda x, w, b: compute_weighted(x, w, b) + x, [(2, 3, 4), *WEIGHTS]),
        (weighted, lambda x, w, b: compute_weighted(x, w, 2 * b), [(2, 3, 4), *WEIGHTS]),
    ],
)
def test_a_wrong_rule_is_found_wrong(rule: rules.Rule, compute: Callable[..., Any], operands: list[Any]) -> None:
    with pytest.raises(AssertionError, match="not exact"):
        check_rule(rule, compute, operands)


def test_attributes_and_several_results_are_given_on() -> None:
    def halves(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = np.split(x, 2, axis)
        return first, second

    def rule(site: rules.Site) -> rules.Answer:
        gauge = site.gauge_in(0)
        if gauge is None or site.integer("axis", 0) in gauge.axes:
            return rules.Declined("is asked about a half, or cut where the affine varies")
        return rules.Settled(None, (*site.demand(site.output(0), gauge), *site.demand(site.output(1), gauge)))

    assert check_rule(rule, halves, [(2, 3, 4)], {"axis": 2}).passed
    with pytest.raises(AssertionError, match="result_1"):
        check_rule(
            lambda site: (
                rules.Settled(None, site.demand(site.output(0), site.gauge_in(0)))
                if site.gauge_in(0) is not None
                else rules.Declined("no")
            ),
            halves,
            [(2, 3, 4)],
            {"axis": 2},
        )


def _network(scale: list[float], shift: list[float] | None, operator: str, *more: Any, told: bool) -> onnx.ModelProto:
    """An affine, the operator and a convolution, which takes up what comes through, with or without a told shape."""
    b = Builder(dtype=np.float32, opsets={DOMAIN: 1})
    x = b.affine(b.input((2, 3, 5)), scale, shift)
    y = b.node(operator, x, *map(b.constant, more), domain=DOMAIN)
    if told:
        b.told(y, (2, 3, 5))
    model = b.model(b.conv(y, 3, 4, (1,)))
    model.functions.append(_body(operator))
    return model


def _body(operator: str) -> onnx.FunctionProto:
    """The operator in ONNX's terms, so that any runtime computes it."""
    if operator == OPERATOR:
        nodes = [
            helper.make_node("Constant", [], ["start"], value_ints=[-1]),
            helper.make_node("Constant", [], ["end"], value_ints=[-(2**31)]),
            helper.make_node("Constant", [], ["axis"], value_ints=[2]),
            helper.make_node("Slice", ["x", "start", "end", "axis", "start"], ["turned"]),
            helper.make_node("Relu", ["turned"], ["y"]),
        ]
        return helper.make_function(DOMAIN, operator, ["x"], ["y"], nodes, [helper.make_opsetid("", 18)])
    nodes = [
        helper.make_node("Constant", [], ["axes"], value_ints=[1]),
        helper.make_node("Unsqueeze", ["w", "axes"], ["ww"]),
        helper.make_node("Unsqueeze", ["b", "axes"], ["bb"]),
        helper.make_node("Mul", ["x", "ww"], ["p"]),
        helper.make_node("Add", ["p", "bb"], ["y"]),
    ]
    return helper.make_function(DOMAIN, operator, ["x", "w", "b"], ["y"], nodes, [helper.make_opsetid("", 18)])


@pytest.mark.parametrize("told", [True, False], ids=["with its shape", "without"])
def test_a_registered_rule_lets_an_affine_pass_and_the_result_is_verified(told: bool) -> None:
    """Only this target keeps functions; for others the affine passes what stands in the body."""
    model = _network([1.0, 2.0, 0.5], None, OPERATOR, told=told)

    def left() -> int:
        return affines(onnxnorm.optimize(model, target="onnxruntime").model)

    assert left() == 1
    rules.register(DOMAIN, OPERATOR, reversed_relu)
    assert left() == 0
    rules.unregister(DOMAIN, OPERATOR)
    assert left() == 1
    assert affines(onnxnorm.optimize(model).model) == 0


@pytest.mark.parametrize(("scale", "left"), [([1.0, 2.0, 0.5], 0), ([1.0, -2.0, 0.5], 1)])
def test_an_affine_behind_the_operator_passes_it_or_is_told_the_reason(scale: list[float], left: int) -> None:
    b = Builder(dtype=np.float32, opsets={DOMAIN: 1})
    y = b.told(b.node(OPERATOR, b.conv(b.input((2, 3, 5)), 3, 3, (1,)), domain=DOMAIN), (2, 3, 5))
    model = b.model(b.node("Tanh", b.affine(y, scale)))
    model.functions.append(_body(OPERATOR))
    rules.register(DOMAIN, OPERATOR, reversed_relu)
    result = onnxnorm.optimize(model)
    assert len(result.declined) == left
    assert all("no negative scale passes it" in decline.reason for decline in result.declined)


def test_a_registered_rule_absorbs_an_affine() -> None:
    rules.register(DOMAIN, "Weighted", weighted)
    weights = [array.astype(np.float32) for array in WEIGHTS]
    result = onnxnorm.optimize(_network([1.0, -2.0, 0.5], [1.0, 0.0, 3.0], "Weighted", *weights, told=True))
    assert count(result.model, "BatchNormalization") == 0


def test_rules_of_operators_that_have_one_cannot_be_replaced() -> None:
    for domain in ("", "ai.onnx", "onnxnorm"):
        with pytest.raises(onnxnorm.OnnxNormError, match="a domain of your own"):
            rules.register(domain, "Relu", reversed_relu)
    with pytest.raises(onnxnorm.OnnxNormError, match="a rule is a function"):
        rules.register(DOMAIN, OPERATOR, None)  # type: ignore[arg-type]
