"""Pairs for subgraphs: affines inside, around, and between them and what they capture."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from testing.builder import Builder
from tests.affine.pairs import MIXED, POSITIVE, SHIFT, folds, linear, stays


def choice(b: Builder, then: Builder, otherwise: Builder) -> str:
    asked = b.input((), name="asked", element=TensorProto.BOOL)
    return b.node("If", asked, then_branch=then.graph("then"), else_branch=otherwise.graph("else"))


@folds("If that captures the value")
def if_that_captures_the_value_folds(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    bodies = []
    for prefix in ("t_", "e_"):
        body = Builder(seed=len(bodies), prefix=prefix)
        y = body.conv(x, 4, 3)
        body.output(y, shape=(2, 3, 5))
        bodies.append(body)
    return b.node("Sigmoid", choice(b, *bodies))


@stays("If that captures the value for a bend")
def if_that_captures_the_value_for_a_bend_stays(b: Builder) -> str:
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    bodies = []
    for prefix, op_type in (("t_", "Conv"), ("e_", "Sigmoid")):
        body = Builder(seed=len(bodies), prefix=prefix)
        y = body.conv(x, 4, 4) if op_type == "Conv" else body.node(op_type, x)
        body.output(y, shape=(2, 4, 5))
        bodies.append(body)
    return b.node("Sigmoid", choice(b, *bodies))


@folds("If whose branches are normalized behind it")
def if_whose_branches_are_normalized_behind_it_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    bodies = []
    for prefix in ("t_", "e_"):
        body = Builder(seed=len(bodies), prefix=prefix)
        body.output(body.conv(x, 4, 4), shape=(2, 4, 5))
        bodies.append(body)
    return b.node("Sigmoid", b.affine(choice(b, *bodies), MIXED, SHIFT))


@folds("If with norms inside")
def if_with_norms_inside_folds(b: Builder) -> str:
    x = b.input((2, 4, 5))
    bodies = []
    for prefix in ("t_", "e_"):
        body = Builder(seed=len(bodies), prefix=prefix)
        body.output(body.node("Relu", body.affine(body.conv(x, 4, 4), MIXED, SHIFT)), shape=(2, 4, 5))
        bodies.append(body)
    return b.node("Sigmoid", choice(b, *bodies))


def _loop(b: Builder, x: str, carried_affine: bool, scanned_affine: bool) -> list[str]:
    """y is carried: y = tanh(conv(y)); tanh(y) is scanned as well."""
    body = Builder(seed=3, prefix="l_")
    for name, element in (("l_i", TensorProto.INT64), ("l_go", TensorProto.BOOL)):
        body.input((), name=name, element=element)
    y = body.input((2, 4, 5), name="l_y")
    go = body.node("Identity", "l_go")
    inner = body.conv(y, 4, 4)
    if carried_affine:
        inner = body.affine(inner, MIXED, SHIFT)
    inner = body.node("Tanh", inner)
    scanned = body.affine(body.conv(inner, 4, 4), MIXED, SHIFT) if scanned_affine else body.node("Neg", inner)
    body.output(go, shape=(), element=TensorProto.BOOL)
    body.output(inner, scanned, shape=(2, 4, 5))
    trips, proceed = b.constant(np.array(3, np.int64)), b.constant(np.array(True))
    last, scanned = b.nodes_out("Loop", trips, proceed, x, outputs=2, body=body.graph("body"))
    return [b.told(b.node("Sigmoid", last), (2, 4, 5)), b.told(b.node("Sigmoid", scanned), (3, 2, 4, 5))]


@folds("Loop with norms inside")
def loop_with_norms_inside_folds(b: Builder) -> list[str]:
    return _loop(b, b.conv(b.input((2, 4, 5)), 4, 4), True, True)


@stays("Loop whose carried value would change")
def loop_whose_carried_value_would_change_stays(b: Builder) -> list[str]:
    return _loop(b, b.affine(b.input((2, 4, 5)), MIXED, SHIFT), False, False)


def _scan(b: Builder, x: str, op_type: str) -> str:
    body = Builder(seed=5, prefix="s_")
    state, element = body.input((2, 4), name="s_state"), body.input((2, 4), name="s_element")
    y = body.affine(body.node("Gemm", element, body.constant(body.normal(4, 4))), MIXED, SHIFT)
    total = body.node("Add", state, y)
    body.output(total, body.node(op_type, total), shape=(2, 4))
    zero = b.constant(np.zeros((2, 4)))
    _, scanned = b.nodes_out("Scan", zero, x, outputs=2, body=body.graph("body"), num_scan_inputs=1)
    return scanned


@folds("Scan with norms inside", left=1)
def scan_with_norms_inside_folds(b: Builder) -> str:
    return b.node("Sigmoid", _scan(b, b.input((3, 2, 4)), "Tanh"))


@stays("Scan of an affine")
def scan_of_an_affine_stays(b: Builder) -> str:
    x = b.node("Mul", b.input((3, 2, 4)), b.constant(np.array(POSITIVE).reshape(1, 1, 4)))
    return b.node("Sigmoid", _stateless_scan(b, x))


def _stateless_scan(b: Builder, x: str) -> str:
    body = Builder(seed=5, prefix="s_")
    body.output(body.node("Sigmoid", body.input((2, 4), name="s_element")), shape=(2, 4))
    return b.node("Scan", x, body=body.graph("body"), num_scan_inputs=1)


@folds("Scan of an affine")
def scan_of_an_affine_folds(b: Builder) -> str:
    x = b.node("Mul", b.input((3, 2, 4)), b.constant(np.array(POSITIVE).reshape(1, 1, 4)))
    body = Builder(seed=5, prefix="s_")
    element = body.input((2, 4), name="s_element")
    body.output(linear(body, element, 4, 2), shape=(2, 3))
    return b.node("Scan", x, body=body.graph("body"), num_scan_inputs=1)
