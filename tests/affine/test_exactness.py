"""Masks, fences and the ends of types: what an affine may not do although the algebra holds for real numbers.

Judged in arithmetic that rounds the result of every operator to the type of the model. The yardstick is the float64
value of the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from onnxnorm import fold, optimize, verify
from onnxnorm.evaluate.evaluator import evaluate_float64
from testing.builder import QUICK, Builder, affines, count

CHANNELS, PLACES = 4, 5
SHAPE = (2, CHANNELS, PLACES)
BIG = (-2.0, 8.0, -100.0, -1000.0, -1e4, -65504.0, 3e4, -1e9, 1e30, -1e12, "lowest", -np.inf)
# Where a mask says one, an exporter that rounds says something beside it.
SPECIAL = (0.0, 1.0, 1.0, 1.0000001, 2.0, -1.0, 0.5)


def _run(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return [np.asarray(each, np.float64) for each in ReferenceEvaluator(model).run(None, dict(feeds))]


def _assert_as_accurate(model: onnx.ModelProto, after: onnx.ModelProto, feeds: Mapping[str, Any], unit: float) -> None:
    """Finite where the original is, and no farther from the truth than some more roundings explain."""
    with np.errstate(all="ignore"):
        exact = evaluate_float64(model, feeds)
    for truth, old, new in zip(exact.values(), _run(model, feeds), _run(after, feeds), strict=True):
        truth = np.asarray(truth, np.float64)
        assert np.isfinite(new[np.isfinite(old)]).all(), "overflows where the original does not"
        usable = np.isfinite(truth) & np.isfinite(old) & np.isfinite(new)
        size = np.abs(truth[usable]).max(initial=0.0)
        before, behind = (np.abs(each - truth)[usable].max(initial=0.0) for each in (old, new))
        assert behind <= 8.0 * before + 16.0 * unit * size, f"off by {behind:.3g} instead of {before:.3g}"


class Masked(Builder):
    """Scores and a gate that come together, and an operator that forgets what real numbers let it forget."""

    def __init__(self, seed: int, dtype: Any) -> None:
        super().__init__(seed=seed, dtype=dtype, opset=17)
        self.feeds: dict[str, Any] = {}
        self.end_with = ""

    def pick(self, *options: Any) -> Any:
        return options[int(self.random.integers(len(options)))]

    def coin(self) -> bool:
        return bool(self.random.random() < 0.5)

    def given(self, name: str, array: np.ndarray, element: int | None = None) -> str:
        self.feeds[name] = array
        return self.input(array.shape, name, element)

    def number(self, value: Any) -> str:
        return self.constant(np.asarray(np.finfo(self.dtype).min if value == "lowest" else value, np.float64))

    def column(self, value: Any) -> str:
        array = np.full((CHANNELS, 1), np.finfo(self.dtype).min if value == "lowest" else value)
        return self.constant(array) if self.coin() else self.number(value)

    def scores(self) -> str:
        values = self.normal(*SHAPE) * self.pick(1.0, 1.0, 30.0, 1e-3)
        x = self.given("x", values.astype(self.dtype))
        return self.conv(x, CHANNELS, CHANNELS) if self.coin() else x

    def mask(self) -> str:
        kind = self.pick("integer", "bool", "float", "float", "sigmoid", "clip", "measured", "quotient")
        shape = self.pick(SHAPE, (2, 1, PLACES), (2, CHANNELS, 1))
        if kind == "integer":
            mask = self.given("m", self.random.integers(0, self.pick(2, 3), shape), TensorProto.INT64)
        elif kind == "bool":
            mask = self.given("m", self.random.random(shape) < 0.5, TensorProto.BOOL)
        else:
            special = SPECIAL if kind == "float" else (30.0, -30.0, 1.0)
            values = self.random.choice(special, shape)
            mask = self.given("m", values.astype(self.dtype))
        if kind in ("integer", "bool"):
            return self.node("Cast", mask, to=self.element)
        if kind == "sigmoid":
            return self.node("Sigmoid", mask)
        if kind == "clip":
            return self.node("Clip", mask, self.number(0.0), self.number(1.0))
        if kind == "quotient":
            return self.node("Div", mask, mask)
        if kind == "measured" and shape == SHAPE:
            return self.conv(mask, CHANNELS, CHANNELS)
        return mask

    def gate(self, mask: str) -> str:
        big = self.pick(*BIG)
        form = self.pick("(1-m)*b", "(m-1)*-b", "m*-b+b", "m*b", "m+b", "1-m", "(1-m)*10*b", "norm")
        minus = np.finfo(self.dtype).max if big == "lowest" else -big
        if form == "norm" and np.isfinite(minus):
            shift = [0.0] * CHANNELS if self.coin() else [-minus] * CHANNELS
            whole = self.node("Expand", mask, self.ints(*SHAPE))
            return self.affine(whole, [minus] * CHANNELS, shift)
        if form in ("m*-b+b", "norm"):
            return self.node("Add", self.node("Mul", mask, self.column(minus)), self.column(big))
        if form in ("m*b", "m+b"):
            return self.node("Mul" if form == "m*b" else "Add", mask, self.column(big))
        if form == "(m-1)*-b":
            return self.node("Mul", self.node("Sub", mask, self.number(1.0)), self.column(minus))
        inverted = self.node("Sub", self.number(1.0), mask)
        if form == "(1-m)*10*b":
            inverted = self.node("Mul", inverted, self.number(10.0))
        return inverted if form == "1-m" else self.node("Mul", inverted, self.column(big))

    def merged(self, scores: str, gate: str) -> str:
        how = self.pick("Add", "Add", "Sub", "Sum", "Mean", "Max", "Where", "gate alone")
        if how == "gate alone":
            return self.node("Expand", gate, self.ints(*SHAPE))
        if how == "Where":
            sides = [scores, self.node("Expand", gate, self.ints(*SHAPE))]
            sides = sides if self.coin() else sides[::-1]
            return self.node("Where", self.constant(self.random.random(SHAPE) < 0.5), *sides)
        # The evaluator of the package onnx adds onto the first operand of Sum and Mean.
        operands = [scores, gate] if how in ("Sum", "Mean") or self.coin() else [gate, scores]
        return self.node(how, *operands)

    def passed(self, x: str, *, whole: bool = False) -> str:
        how = self.pick(
            "", "", "Identity", "Transpose", "Relu", "Reshape", *(["Pad"] if whole else []), "Clip", "scale"
        )
        if how in ("Identity", "Relu"):
            return self.node(how, x)
        if how == "Transpose":
            return self.node("Transpose", self.node("Transpose", x, perm=[0, 2, 1]), perm=[0, 2, 1])
        if how == "Reshape":
            return self.node("Reshape", x, self.ints(0, 0, -1))
        if how == "Pad":
            x = self.node("Expand", x, self.ints(*SHAPE))
            return self.node("Pad", x, self.ints(0, 0, 1, 0, 0, 0), self.number(self.pick(0.0, 1.0)))
        if how == "Clip":
            return self.node("Clip", x, self.number(self.pick(0.0, -1.0)), self.number(6.0))
        return self.node("Mul", x, self.number(0.5)) if how == "scale" else x

    def end(self, x: str) -> str:
        how = self.end_with or self.pick(*ENDS)
        if how in ("Softmax", "LogSoftmax"):
            return self.node(how, x, axis=self.pick(1, 2))
        if how == "InstanceNormalization":
            ones = self.constant(np.ones(CHANNELS))
            return self.node(how, x, ones, self.constant(np.zeros(CHANNELS)))
        if how == "LayerNormalization":
            return self.node(how, self.node("Transpose", x, perm=[0, 2, 1]), self.constant(np.ones(CHANNELS)))
        if how == "less its mean":
            return self.node("Sub", x, self.node("ReduceMean", x, axes=[self.pick(1, 2)]))
        if how == "less its largest":
            return self.node("Exp", self.node("Sub", x, self.node("ReduceMax", x, axes=[self.pick(1, 2)])))
        if how == "itself over itself":
            return self.node("Div", x, self.node("ReduceL2", x, axes=[1]))
        if how == "LpNormalization":
            return self.node(how, x, axis=1)
        if how == "Conv":
            return self.conv(x, CHANNELS, 3)
        return self.node("Sigmoid", self.node("MatMul", self.constant(self.normal(3, CHANNELS)), x))


ENDS = (
    "Softmax", "LogSoftmax", "InstanceNormalization", "LayerNormalization", "less its mean", "less its largest",
    "itself over itself", "LpNormalization", "Conv", "MatMul",
)  # fmt: skip


UNITS = {np.float32: 2.0**-24, np.float64: 2.0**-53, np.float16: 2.0**-11}


def _check(seed: int, dtype: type) -> None:
    b = Masked(seed, dtype)
    scores, gate = b.scores(), b.gate(b.mask())
    x = b.merged(scores, b.passed(gate) if b.coin() else gate)
    model = b.model(b.end(b.passed(x, whole=True)))
    for change in (fold, optimize):
        _assert_as_accurate(model, change(model, verify=False).model, b.feeds, UNITS[dtype])


@pytest.mark.parametrize("dtype", UNITS)
@QUICK
@given(seed=st.integers(0, 2**32))
def test_masks_before_what_forgets_a_shift(dtype: type, seed: int) -> None:
    _check(seed, dtype)


# What must be left alone, and what must not.

FORMS = {
    "(1-m)*b": lambda b, m, big: b.node("Mul", b.node("Sub", b.number(1.0), m), b.number(big)),
    "(m-1)*-b": lambda b, m, big: b.node("Mul", b.node("Sub", m, b.number(1.0)), b.number(-big)),
    "m*-b+b": lambda b, m, big: b.node("Add", b.node("Mul", m, b.number(-big)), b.number(big)),
    "(1-m)*3*b/3": lambda b, m, big: b.node(
        "Mul", b.node("Mul", b.node("Sub", b.number(1.0), m), b.number(3.0)), b.number(big / 3.0)
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "big"), [(np.float32, -100.0), (np.float32, -1e9), (np.float32, -3.4028e38),
                                            (np.float16, -100.0), (np.float16, -1e4), (np.float64, -1e12)])  # fmt: skip
def test_a_mask_stays_as_it_is(dtype: type, big: float, form: str, end: str) -> None:
    """The mask says 0, 1, what lies beside 1, and 2."""
    b = Masked(3, dtype)
    b.end_with = end
    x = b.given("x", b.normal(*SHAPE).astype(dtype))
    m = b.given("m", np.asarray([0.0, 1.0, 1.0 + 2.0 * UNITS[dtype], 2.0, 1.0] * 2).reshape(2, 1, 5).astype(dtype))
    gate = FORMS[form](b, m, big)
    model = b.model(b.end(b.node("Add", x, gate)))
    after = fold(model, verify=False).model
    _assert_as_accurate(model, after, b.feeds, UNITS[dtype])
    assert count(after, "BatchNormalization") == 0
    # Two scales in a row may be one; the shift stays.
    assert count(after, "Add", "Sub") == count(model, "Add", "Sub")


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "InstanceNormalization", "less its mean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", ["norm", "shift"])
def test_what_was_rounded_before_it_is_forgotten(kind: str, dtype: type, end: str) -> None:
    """The twin: behind a convolution a shift costs no digit, however large it is."""
    b = Masked(5, dtype)
    b.end_with = end
    x = b.conv(b.given("x", b.normal(*SHAPE).astype(dtype)), CHANNELS, CHANNELS)
    fifty = b.constant(np.asarray(50.0))
    x = b.batch_norm(x, CHANNELS) if kind == "norm" else b.node("Add", b.node("Relu", x), fifty)
    model = b.model(b.end(x))
    after = fold(model, verify=False).model
    assert count(after, "BatchNormalization", "Add") == 0
    _assert_as_accurate(model, after, b.feeds, UNITS[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mean_of_an_image_goes_into_the_first_convolution(dtype: type) -> None:
    b = Builder(dtype=dtype)
    columns = [b.constant(np.reshape(each, (3, 1, 1))) for each in ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))]
    x = b.node("Div", b.node("Sub", b.input((2, 3, 6, 6)), columns[0]), columns[1])
    assert affines(fold(b.model(b.node("Sigmoid", b.conv(x, 3, 4, (3, 3)))), verify=False).model) == 0


@pytest.mark.parametrize(("scale", "folds"), [(2.0, True), (1e-20, False)])
def test_a_scale_that_keeps_squares_in_range(scale: float, folds: bool) -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Mul", b.input(SHAPE), b.constant(np.asarray(scale)))
    model = b.model(b.node("LpNormalization", x, axis=1))
    after = fold(model, verify=False).model
    assert affines(after) == (0 if folds else 1)
    feeds = {"x": np.full(SHAPE, 1e25 if not folds else 1.0, np.float32)}
    _assert_as_accurate(model, after, feeds, UNITS[np.float32])


@pytest.mark.parametrize("big", [np.inf, -np.inf, np.nan])
def test_infinite_constants_stay(big: float) -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input(SHAPE), CHANNELS, CHANNELS)
    x = b.node("Mul", b.node("Add", x, b.constant(np.asarray(big))), b.constant(np.asarray(0.5)))
    model = b.model(b.node("Softmax", x))
    assert affines(fold(model, verify=False).model) == 2


@pytest.mark.parametrize("ratio", [-3.5, 2.0, 3.5])
@pytest.mark.parametrize("rounded", [False, True])
def test_a_shift_larger_than_an_exact_value_stays_off_it(rounded: bool, ratio: float) -> None:
    """A convolution that only puts channels elsewhere gives exact values, whose other reader takes them near zero."""
    b = Builder(seed=3, dtype=np.float32, opset=17)
    weight = np.eye(CHANNELS)[[2, 0, 3, 1]].reshape(CHANNELS, CHANNELS, 1, 1) * (0.7 if rounded else 1.0)
    value = b.node("Conv", b.input((2, CHANNELS, 5, 5)), b.constant(weight))
    normed = b.affine(value, [0.3] * CHANNELS, [0.3 * ratio] * CHANNELS)
    other = b.node("Mul", b.node("Sub", value, b.constant(np.ones((CHANNELS, 1, 1)))), b.constant(np.float32(2.5)))
    model = b.model(normed, other)
    after = optimize(model, verify=False).model
    (made_by_convolution,) = (node.output[0] for node in after.graph.node if node.op_type == "Conv")
    # The shift of the other reader is as large as the value, not larger.
    assert made_by_convolution == (normed if rounded else other)
    near = b.random.normal(1.0, 0.01, (2, CHANNELS, 5, 5)) / (0.7 if rounded else 1.0)
    feeds = {"x": near.astype(np.float32)}
    assert verify(model, after, feeds).passed
    if not rounded:
        for truth, old, new in zip(
            evaluate_float64(model, feeds).values(), _run(model, feeds), _run(after, feeds), strict=True
        ):
            before, behind = (np.sqrt(np.mean((each - truth) ** 2)) for each in (old, new))
            assert behind <= 3.0 * max(before, 2.0**-25)
