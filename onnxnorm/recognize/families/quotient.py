"""Finds the shape that all families share: y = scale * (X - mean) * (statistic + epsilon) ** -exponent + shift.

`quotient_of` finds these parts in a polynomial, `statistic_of` those of the statistic; what a family makes of them, and
what it finds wrong with them, is its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from onnxnorm.recognize.coefficients import Array
from onnxnorm.recognize.monomials import SQUARE, Atom, Base, Floor, Input, Magnitude, Mean, Monomial, Total, X
from onnxnorm.recognize.polynomial import Poly

__all__ = ["Quotient", "Statistic", "quotient_of", "statistic_of"]

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Quotient:
    """The parts of y = scale * X * root - centre_scale * mean * root + shift.

    Attributes:
        root: what is multiplied with, an atom and its negative exponent.
        scale, shift: float64, with the axes of X.
        mean_axes: the axes of the mean that is subtracted; None where there is none.
        whole: whether the mean is subtracted in full.
        others: terms that belong to no such formula.
    """

    root: tuple[Atom, float]
    scale: Array
    shift: Array
    mean_axes: frozenset[int] | None
    whole: bool
    others: int


@dataclass(frozen=True)
class Statistic:
    """A statistic: (mean of X**2 or (X - mean)**2 over `axes`, plus `epsilon`) ** -`exponent`, or a variation.

    Attributes:
        centred: the axes of the mean in it; None where it is a mean of plain squares.
        outside: epsilon is added to the root, not under it.
        total: a sum, where the extent of an axis is not known.
        magnitudes: of absolute values, not of squares.
        least: the value below which mean ** `exponent` is not let fall, wherever it is held; None where it is not.
        factor: what is held is so many times the statistic.
    """

    axes: frozenset[int]
    centred: frozenset[int] | None
    epsilon: float
    exponent: float
    outside: bool = False
    total: bool = False
    magnitudes: bool = False
    least: float | None = None
    factor: float = 1.0


def quotient_of(poly: Poly) -> Quotient | None:
    """Take a polynomial apart as a quotient, if X is multiplied with just one negative power; else None."""
    linear = [(m, c) for m, c in poly.terms.items() if (Input(), 1.0) in m and len(m) == 2]
    if len(linear) != 1:
        return None
    monomial, scale = linear[0]
    ((root, exponent),) = monomial - X
    if exponent >= 0:
        return None
    shift, mean_axes, whole, others = np.zeros((1,) * poly.rank), None, True, 0
    for other, coefficient in poly.terms.items():
        if other == monomial:
            continue
        if not other:
            shift = coefficient
            continue
        rest = other - {(root, exponent)}
        if len(rest) == 1 and len(other) == 2:
            ((atom, power),) = rest
            if isinstance(atom, Mean) and atom.of == X and power == 1 and mean_axes is None:
                mean_axes = atom.axes
                whole = bool(np.allclose(coefficient, -scale, rtol=_TOLERANCE, atol=0))
                continue
        others += 1
    return Quotient((root, exponent), scale, shift, mean_axes, whole, others)


def statistic_of(root: tuple[Atom, float]) -> Statistic | None:
    """Return the statistic under the negative power, if it is the spread of X over axes."""
    atom, exponent = root
    if isinstance(atom, Floor):
        inner = _single(atom.poly)
        if inner is None:
            found = _under(atom.poly, -exponent)
            return None if found is None else replace(found, least=_raised(atom.least, -exponent))
        found = statistic_of((inner[0], inner[1] * exponent))
        least = _raised(atom.least / inner[2], -exponent)
        return None if found is None else replace(found, least=least, factor=inner[2] ** exponent)
    if isinstance(atom, (Mean, Total)):
        return _plain(atom, -exponent, 0.0)
    if not isinstance(atom, Base):
        return None
    return _under(atom.poly, -exponent)


def _raised(least: float, exponent: float) -> float:
    return least**exponent if least > 0 else 0.0


def _under(poly: Poly, exponent: float) -> Statistic | None:
    terms = dict(poly.terms)
    constant = terms.pop(frozenset(), None)
    if constant is not None and constant.size != 1:
        return None
    epsilon = 0.0 if constant is None else float(constant.reshape(()))
    spreads = [(m, c) for m, c in terms.items() if _is_spread(m)]
    if len(spreads) == 1 and np.allclose(spreads[0][1], 1, rtol=1e-9):
        ((monomial, _),) = spreads
        ((atom, power),) = monomial
        assert isinstance(atom, (Mean, Total))
        del terms[monomial]
        if power == 1:
            found = _plain(atom, exponent, epsilon)
            return found if found is None or not terms else _centred(found, terms)
        if not terms and power == 0.5:
            found = _plain(atom, 0.5 * exponent, epsilon)
            return None if found is None else replace(found, outside=epsilon != 0)
    if len(terms) == 1 and not spreads:
        ((monomial, coefficient),) = terms.items()
        if len(monomial) == 1 and np.allclose(coefficient, 1, rtol=1e-9):
            ((atom, power),) = monomial
            if isinstance(atom, Base) and power == 0.5:
                inner = _under(atom.poly, 0.5 * exponent)
                if inner is not None and not inner.outside and inner.epsilon == 0:
                    return replace(inner, epsilon=epsilon, outside=epsilon != 0)
    return None


def _is_spread(monomial: Monomial) -> bool:
    if len(monomial) != 1:
        return False
    ((atom, _),) = monomial
    return isinstance(atom, (Mean, Total)) and _of_squares(atom.of) is not None


def _of_squares(monomial: Monomial) -> bool | None:
    """Return True for squares of X, False for its absolute value, None for all else."""
    if monomial == SQUARE:
        return True
    if len(monomial) == 1:
        ((atom, power),) = monomial
        if isinstance(atom, Magnitude) and atom.poly == Poly.input(atom.poly.rank):
            return True if power == 2 else False if power == 1 else None
    return None


def _plain(atom: Mean | Total, exponent: float, epsilon: float) -> Statistic | None:
    squares = _of_squares(atom.of)
    if squares is None:
        return None
    return Statistic(atom.axes, None, epsilon, exponent, total=isinstance(atom, Total), magnitudes=not squares)


def _centred(found: Statistic, terms: dict[Monomial, Array]) -> Statistic | None:
    """Return the statistic as one about the mean, if minus the square of the mean is the one term left."""
    if len(terms) != 1 or found.magnitudes or found.total:
        return None
    ((monomial, coefficient),) = terms.items()
    if len(monomial) != 1 or not np.allclose(coefficient, -1, rtol=_TOLERANCE):
        return None
    ((atom, power),) = monomial
    if not isinstance(atom, Mean) or atom.of != X or power != 2:
        return None
    return replace(found, centred=atom.axes)


def _single(poly: Poly) -> tuple[Atom, float, float] | None:
    """Return the atom, its exponent and its positive factor, where the polynomial is just that."""
    if len(poly.terms) != 1:
        return None
    ((monomial, coefficient),) = poly.terms.items()
    if len(monomial) != 1 or coefficient.size != 1 or coefficient.item() <= 0:
        return None
    ((atom, power),) = monomial
    return atom, power, float(coefficient.reshape(()))
