"""Formulas in one tensor X as polynomials: two spellings of one formula become the same polynomial.

A polynomial is a sum of coefficients times monomials (`monomials.py`).
Coefficients are float64 arrays with the axes of X, of extent 1 where they do not vary. Everything is an identity of
real numbers; where an identity holds for some signs alone, the operation is refused (`Unreadable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from onnxnorm.recognize.coefficients import Array, axes_of, element_count, rounded, trimmed
from onnxnorm.recognize.monomials import (
    EVER,
    ONE,
    Atom,
    Base,
    Floor,
    Input,
    Magnitude,
    Monomial,
    Total,
    Unreadable,
    Window,
    X,
    is_even,
    mean,
    mean_of_squares,
    never_negative,
    product,
    varying_axes,
)

__all__ = ["Poly"]

_MOST_TERMS = 12
_NO_BOUND = 1e30


@dataclass(frozen=True, eq=False)
class Poly:
    """A polynomial: coefficient by monomial, and the rank of X.

    Two are equal where coefficients agree to eleven digits.
    """

    terms: Mapping[Monomial, Array]
    rank: int

    @classmethod
    def input(cls, rank: int) -> Poly:
        return cls({X: np.ones((1,) * rank)}, rank)

    @classmethod
    def constant(cls, array: Array, rank: int) -> Poly:
        return cls({ONE: array} if np.any(array) else {}, rank)

    @cached_property
    def key(self) -> frozenset[tuple[Monomial, tuple[int, ...], bytes]]:
        return frozenset((m, c.shape, rounded(c).tobytes()) for m, c in self.terms.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.rank == other.rank and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __add__(self, other: Poly) -> Poly:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms.items():
            known = terms.get(monomial)
            total = coefficient if known is None else known + coefficient
            # What cancels but for rounding is gone: a mean that is subtracted and added again leaves no trace.
            if known is not None and np.all(np.abs(total) <= 1e-13 * (np.abs(known) + np.abs(coefficient))):
                del terms[monomial]
            else:
                terms[monomial] = total
        return _checked(terms, self.rank)

    def __neg__(self) -> Poly:
        return Poly({m: -c for m, c in self.terms.items()}, self.rank)

    def __sub__(self, other: Poly) -> Poly:
        return self + -other

    def __mul__(self, other: Poly) -> Poly:
        result = Poly({}, self.rank)
        for m1, c1 in self.terms.items():
            for m2, c2 in other.terms.items():
                result = result + Poly({product(m1, m2): trimmed(c1 * c2)}, self.rank)
        return result

    def scaled(self, factor: float | Array) -> Poly:
        return Poly({m: c * factor for m, c in self.terms.items()}, self.rank)

    @property
    def number(self) -> float | None:
        """The value where the polynomial is one number."""
        if not self.terms:
            return 0.0
        coefficient = self.terms.get(ONE)
        if len(self.terms) > 1 or coefficient is None or coefficient.size != 1:
            return None
        return float(coefficient.reshape(()))

    @property
    def varies(self) -> frozenset[int]:
        """The axes along which the value may vary."""
        found: set[int] = set()
        for monomial, coefficient in self.terms.items():
            found |= varying_axes(monomial, self.rank) | axes_of(coefficient)
        return frozenset(found)

    @property
    def affine(self) -> tuple[Array, Array] | None:
        """Scale and shift, where the polynomial is scale * X + shift."""
        rest = dict(self.terms)
        scale, shift = rest.pop(X, None), rest.pop(ONE, np.zeros((1,) * self.rank))
        return None if rest or scale is None else (scale, shift)

    @property
    def is_constant(self) -> bool:
        return set(self.terms) <= {ONE}

    def power(self, exponent: float) -> Poly:
        if exponent == 1:
            return self
        if exponent == 2:
            return self * self
        if not self.terms:
            raise Unreadable("a power of zero")
        if len(self.terms) == 1:
            ((monomial, coefficient),) = self.terms.items()
            return Poly(_power_of_term(monomial, coefficient, exponent, self.rank), self.rank)
        base, factor = self._leading_one()
        monomial = frozenset({(Base(base), float(exponent))})
        return Poly({monomial: np.full((1,) * self.rank, factor**exponent)}, self.rank)

    @cached_property
    def least(self) -> float:
        """A number that the value never falls below, whatever X is; minus infinity where none is found."""
        bound, negative = 0.0, dict[Monomial, Array]()
        for monomial, coefficient in self.terms.items():
            if not monomial:
                bound = float(coefficient.min())
            elif np.any(coefficient < 0):
                negative[monomial] = coefficient
            elif not is_even(monomial):
                return -np.inf
        for monomial, coefficient in negative.items():
            # The square of a mean is at most the mean of the squares.
            square = mean_of_squares(monomial)
            above = None if square is None else self.terms.get(square)
            if above is None or np.any(above * (1 + 1e-6) + coefficient < 0):
                return -np.inf
        return bound

    def magnitude(self) -> Poly:
        return self if self.least >= 0 else self._wrapped(Magnitude(self))

    def floor(self, least: float) -> Poly:
        return self if self.least >= least else self._wrapped(Floor(self, least))

    def ceiling(self, most: float) -> Poly:
        """Return min(c * a ** -e, most), for positive c and e and a base that is never negative: a is held from below.

        A bound at the end of the range of float32 or beyond is none.
        """
        if most >= _NO_BOUND:
            return self
        if len(self.terms) == 1 and most > 0:
            ((monomial, coefficient),) = self.terms.items()
            if len(monomial) == 1 and coefficient.size == 1 and coefficient.item() > 0:
                ((atom, exponent),) = monomial
                base = Poly({frozenset({(atom, 1.0)}): np.ones((1,) * self.rank)}, self.rank)
                if exponent < 0 and never_negative(atom, 1.0):
                    least = float((most / coefficient.item()) ** (1 / exponent))
                    return base.floor(least).power(exponent).scaled(coefficient)
        raise Unreadable("a bound from above")

    def _wrapped(self, atom: Atom) -> Poly:
        return Poly({frozenset({(atom, 1.0)}): np.ones((1,) * self.rank)}, self.rank)

    def reduced(self, axes: frozenset[int], extents: Mapping[int, int] | None) -> Poly:
        """Return the mean over `axes`.

        Where `extents` are given the sum, and these the extents as far as they are known.
        """
        result = Poly({}, self.rank)
        for monomial, coefficient in self.terms.items():
            if axes_of(coefficient) & axes:
                raise Unreadable("weights along the axes over which it averages")
            constant = frozenset(f for f in monomial if not varying_axes(frozenset({f}), self.rank) & axes)
            varying = monomial - constant
            count = None if extents is None else element_count(axes, extents)
            if extents is not None and count is None:
                if not varying:
                    raise Unreadable("a sum over an axis of unknown extent")
                inner: Monomial = frozenset({(Total(axes, varying), 1.0)})
            else:
                inner = mean(axes, varying) if varying else ONE
                coefficient = coefficient * (1 if count is None else count)
            result = result + Poly({product(constant, inner): coefficient}, self.rank)
        return result

    def windowed(self, reach: tuple[tuple[int, int, int], ...]) -> Poly:
        axes = frozenset(axis for axis, _, _ in reach)
        result = Poly({}, self.rank)
        for monomial, coefficient in self.terms.items():
            known = Poly({monomial: coefficient}, self.rank)
            if not monomial or axes_of(coefficient) & axes or known.is_cumulated:
                raise Unreadable("a window over something else than squares of the input")
            result = result + Poly({frozenset({(Window(reach, monomial), 1.0)}): coefficient}, self.rank)
        return result

    def cumulated(self, axis: int, last: int) -> Poly:
        """Return the sum from the beginning of the axis to `last` positions ahead, also beyond the ends of the axis."""
        return self.windowed(((axis, EVER, last),))

    def shifted(self, axis: int, offset: int) -> Poly:
        """Return the polynomial `offset` positions ahead: zero beyond the ends, or what has been cumulated there."""
        result = Poly({}, self.rank)
        for monomial, coefficient in self.terms.items():
            ((atom, power),) = monomial if len(monomial) == 1 else ((None, 0.0),)
            if isinstance(atom, Window) and atom.is_cumulated and power == 1 and atom.reach[0][0] == axis:
                moved = Window(((axis, EVER, atom.reach[0][2] + offset),), atom.of)
                result = result + Poly({frozenset({(moved, 1.0)}): coefficient}, self.rank)
            else:
                part = Poly({monomial: coefficient}, self.rank)
                result = result + part.windowed(((axis, offset, offset),))
        return result

    @property
    def is_cumulated(self) -> bool:
        """Whether the value goes on beyond the ends of an axis, where all else is zero."""
        return any(isinstance(atom, Window) and atom.is_cumulated for monomial in self.terms for atom, _ in monomial)

    def _leading_one(self) -> tuple[Poly, float]:
        """Return the polynomial divided by its leading coefficient, if that is one positive number, and that number."""
        candidates = [
            (repr(sorted(map(repr, monomial))), coefficient)
            for monomial, coefficient in self.terms.items()
            if coefficient.size == 1 and coefficient.item() > 0 and is_even(monomial)
        ]
        if not candidates:
            return self, 1.0
        factor = float(min(candidates, key=lambda pair: pair[0])[1].reshape(()))
        return self.scaled(1 / factor), factor


def _checked(terms: dict[Monomial, Array], rank: int) -> Poly:
    if len(terms) > _MOST_TERMS:
        raise Unreadable("arithmetic beyond that of a normalization")
    return Poly(terms, rank)


def _power_of_term(monomial: Monomial, coefficient: Array, exponent: float, rank: int) -> dict[Monomial, Array]:
    whole = exponent % 1 == 0
    if exponent < 0 and np.any(coefficient == 0):
        raise Unreadable("a division by a constant with zeros")
    if not whole and np.any(coefficient < 0):
        raise Unreadable("a root of a negative constant")
    result: dict[Atom, float] = {}
    for atom, inner in monomial:
        if not whole and isinstance(atom, Input):
            if inner % 2:
                raise Unreadable("a root of the input")
            atom = Magnitude(Poly.input(rank))
        elif not whole and not never_negative(atom, inner) and not (isinstance(atom, Base) and abs(inner) == 1):
            raise Unreadable("a root of something that may be negative")
        result[atom] = inner * exponent
    with np.errstate(all="ignore"):
        return {frozenset(result.items()): np.asarray(coefficient**exponent)}
