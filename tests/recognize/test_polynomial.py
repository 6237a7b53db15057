"""Polynomials in a tensor X mean what numpy computes at random X, and refuse what is no identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from onnxnorm.recognize.monomials import EVER, Base, Floor, Input, Magnitude, Mean, Total, Unreadable, Window
from onnxnorm.recognize.polynomial import Poly

SHAPE = (2, 3, 4)
RANK = len(SHAPE)
X = Poly.input(RANK)
EXTENTS = dict(enumerate(SHAPE))


def constant(*values: float, axis: int = 1) -> Poly:
    shape = [1] * RANK
    shape[axis] = len(values)
    return Poly.constant(np.reshape(np.array(values), shape), RANK)


ONE, SCALE = constant(1.0), constant(0.5, -2.0, 3.0)


def value(poly: Poly, x: np.ndarray) -> Any:
    """Evaluate the polynomial by its definition: coefficients times powers of atoms, summed."""
    return sum((coefficient * product(monomial, x) for monomial, coefficient in poly.terms.items()), np.zeros(()))


def product(monomial: Any, x: np.ndarray) -> Any:
    return math.prod((atom_value(atom, x) ** exponent for atom, exponent in monomial), start=np.ones_like(x))


def atom_value(atom: Any, x: np.ndarray) -> Any:
    if isinstance(atom, Input):
        return x
    if isinstance(atom, (Mean, Total)):
        reduce = np.mean if isinstance(atom, Mean) else np.sum
        return reduce(product(atom.of, x), axis=tuple(atom.axes), keepdims=True)
    if isinstance(atom, Window):
        inner = product(atom.of, x)
        for axis, first, last in atom.reach:
            inner = window(inner, axis, first, last)
        return inner
    if isinstance(atom, Floor):
        return np.maximum(value(atom.poly, x), atom.least)
    return np.abs(value(atom.poly, x)) if isinstance(atom, Magnitude) else value(atom.poly, x)


def window(x: np.ndarray, axis: int, first: int, last: int) -> np.ndarray:
    moved = np.moveaxis(x, axis, 0)
    count = len(moved)
    sums = [moved[max(0, place + first) : max(0, place + last + 1)].sum(axis=0) for place in range(count)]
    return np.moveaxis(np.stack(sums), 0, axis)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE)


def mean(x: np.ndarray, *axes: int) -> Any:
    return x.mean(axis=axes, keepdims=True)


CASES: dict[str, tuple[Poly, Any]] = {
    "sum": (X + SCALE * X + ONE, lambda x: x + s() * x + 1),
    "difference": (SCALE * X - ONE - X, lambda x: s() * x - 1 - x),
    "product": ((X + ONE) * (SCALE * X - ONE), lambda x: (x + 1) * (s() * x - 1)),
    "square": ((X - X.reduced(frozenset({1, 2}), None)).power(2), lambda x: (x - mean(x, 1, 2)) ** 2),
    "mean of a mean": (
        X.reduced(frozenset({1}), None).reduced(frozenset({2}), None),
        lambda x: mean(x, 1, 2),
    ),
    "mean of squares with constants": (
        (SCALE * X * X + ONE).reduced(frozenset({2}), None),
        lambda x: s() * mean(x * x, 2) + 1,
    ),
    "sum over axes": ((X + ONE).reduced(frozenset({1, 2}), EXTENTS), lambda x: (x + 1).sum(axis=(1, 2), keepdims=True)),
    "sum over an unknown extent": ((X * X).reduced(frozenset({2}), {}), lambda x: (x * x).sum(2, keepdims=True)),
    "reciprocal root of a variance": (
        ((X - X.reduced(frozenset({2}), None)).power(2).reduced(frozenset({2}), None) + ONE.scaled(1e-3)).power(-0.5),
        lambda x: 1 / np.sqrt(x.var(axis=2, keepdims=True) + 1e-3),
    ),
    "powers of one term": ((X * X).scaled(4.0).power(0.5), lambda x: 2 * np.abs(x)),
    "magnitude": ((X - ONE).magnitude(), lambda x: np.abs(x - 1)),
    "floor": ((X * X).floor(0.7), lambda x: np.maximum(x * x, 0.7)),
    "ceiling of a reciprocal": (
        (X * X).reduced(frozenset({2}), None).power(-0.5).scaled(3.0).ceiling(2.5),
        lambda x: np.minimum(3 / np.sqrt(mean(x * x, 2)), 2.5),
    ),
    "window": ((X * X).windowed(((1, -1, 1),)), lambda x: window(x * x, 1, -1, 1)),
    "window as a difference of cumulated sums": (
        (X * X).cumulated(2, 0).shifted(2, 1) - (X * X).cumulated(2, -2),
        lambda x: window(x * x, 2, -1, 1),
    ),
    "shift": ((X * X).shifted(1, 1), lambda x: window(x * x, 1, 1, 1)),
}


def s() -> np.ndarray:
    return np.array([0.5, -2.0, 3.0]).reshape(1, 3, 1)


@pytest.mark.parametrize("name", CASES)
def test_a_polynomial_means_what_numpy_computes(name: str) -> None:
    poly, formula = CASES[name]
    for seed in range(3):
        x = drawn(seed)
        np.testing.assert_allclose(np.broadcast_to(value(poly, x), SHAPE), np.broadcast_to(formula(x), SHAPE), 1e-11)


def test_two_spellings_are_one_polynomial() -> None:
    average = X.reduced(frozenset({2}), None)
    variance = (X - average).power(2).reduced(frozenset({2}), None)
    assert variance == (X * X).reduced(frozenset({2}), None) - average * average
    assert hash(variance) == hash((average - X).power(2).reduced(frozenset({2}), None))
    assert X.reduced(frozenset({2}), EXTENTS) == average.scaled(4.0)
    assert X + average - average == X and (X - X).terms == {}
    assert X.scaled(1 / 3).scaled(3.0) == X
    assert X.scaled(1 + 1e-9) != X and average != X and Poly.input(2) != X


def test_numbers_constants_and_the_axes_that_vary() -> None:
    average = X.reduced(frozenset({1}), None)
    assert (ONE.number, Poly.constant(np.zeros((1, 1, 1)), RANK).number) == (1.0, 0.0)
    assert SCALE.number is None and X.number is None
    assert SCALE.is_constant and not (SCALE + X).is_constant
    assert X.varies == {0, 1, 2} and SCALE.varies == {1} and average.varies == {0, 2}
    assert (average * SCALE).varies == {0, 1, 2}


VARIANCE = (X * X).reduced(frozenset({2}), None) - X.reduced(frozenset({2}), None).power(2)


@pytest.mark.parametrize(
    ("poly", "least"),
    [
        (ONE, 1.0),
        (SCALE, -2.0),
        (X * X + ONE, 1.0),
        ((X * X).reduced(frozenset({1}), None).scaled(0.5) - ONE, -1.0),
        (VARIANCE + ONE.scaled(0.25), 0.25),
        ((X + ONE).magnitude(), 0.0),
        (X.floor(0.5), 0.0),
        (X, -math.inf),
        (SCALE * X * X, -math.inf),
        (VARIANCE - X.reduced(frozenset({2}), None).power(2).scaled(0.01), -math.inf),
    ],
)
def test_no_value_falls_below_the_least(poly: Poly, least: float) -> None:
    assert poly.least == least
    for seed in range(3):
        assert np.min(value(poly, 3 * drawn(seed))) >= least


def test_a_bound_that_always_holds_is_none() -> None:
    square, inverse = X * X, (X * X).power(-1)
    assert square.magnitude() is square and (square + ONE).floor(1.0).terms == (square + ONE).terms
    assert inverse.ceiling(1e30) is inverse
    assert X.floor(0.0) != X and square.floor(1e-9) != square


@pytest.mark.parametrize(
    ("reads", "reason"),
    [
        (lambda: X * X.power(-1), "a quotient of equal parts"),
        (lambda: Poly({}, RANK).power(-1), "a power of zero"),
        (lambda: X.power(0.5), "a root of the input"),
        (lambda: X.reduced(frozenset({1}), None).power(0.5), "a root of something that may be negative"),
        (lambda: (X * X).scaled(-1.0).power(0.5), "a root of a negative constant"),
        (lambda: constant(1.0, 0.0, 2.0).power(-1), "a division by a constant with zeros"),
        (lambda: (SCALE * X).reduced(frozenset({1}), None), "weights along the axes over which it averages"),
        (lambda: (X + ONE).reduced(frozenset({1}), {}), "a sum over an axis of unknown extent"),
        (lambda: X.ceiling(1.0), "a bound from above"),
        (lambda: X.power(-1).ceiling(1.0), "a bound from above"),
        (lambda: (X * X).power(-1).scaled(-1.0).ceiling(1.0), "a bound from above"),
        (lambda: (X * X).power(-1).ceiling(0.0), "a bound from above"),
        (lambda: (X * X + ONE).windowed(((1, 0, 1),)), "a window over something else than squares of the input"),
        (lambda: (SCALE * X).windowed(((1, 0, 1),)), "a window over something else than squares of the input"),
        (lambda: X.windowed(((1, EVER, 0),)).windowed(((2, 0, 1),)), "a window over something else"),
        (lambda: (X + ONE).power(2).power(2).power(2).power(2), "arithmetic beyond that of a normalization"),
    ],
)
def test_what_holds_for_some_values_alone_is_unreadable(reads: Any, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        reads()


def test_a_base_keeps_its_parts_together() -> None:
    ((monomial, coefficient),) = (X * X + ONE.scaled(4.0)).power(-0.5).terms.items()
    ((atom, exponent),) = monomial
    assert isinstance(atom, Base) and exponent == -0.5
    np.testing.assert_allclose(value(Poly({monomial: coefficient}, RANK), drawn(0)), (drawn(0) ** 2 + 4) ** -0.5)
