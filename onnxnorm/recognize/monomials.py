"""Monomials in one tensor X and its statistics: products of atoms (`Atom`) with real exponents."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from onnxnorm.recognize.polynomial import Poly

__all__ = [
    "EVER",
    "ONE",
    "SQUARE",
    "Atom",
    "Base",
    "Floor",
    "Input",
    "Magnitude",
    "Mean",
    "Monomial",
    "Stack",
    "Total",
    "Unreadable",
    "Window",
    "X",
    "is_even",
    "mean",
    "mean_of_squares",
    "never_negative",
    "product",
    "varying_axes",
]


class Unreadable(Exception):  # noqa: N818 - no error: it ends the reading of one branch
    """Raised at a node that computes something that is no such polynomial.

    Attributes:
        reason: what it computes, to continue "... , but".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


EVER = -(2**31)
"""The first position of a window that begins where the axis does."""


@dataclass(frozen=True)
class Input:
    """The atom that stands for the tensor X itself."""


@dataclass(frozen=True)
class Mean:
    """The mean of a monomial over axes."""

    axes: frozenset[int]
    of: Monomial


@dataclass(frozen=True)
class Total:
    """The sum of a monomial over axes, where an extent is not known."""

    axes: frozenset[int]
    of: Monomial


@dataclass(frozen=True)
class Window:
    """The sum of `of` over the positions `first` to `last` (relative, inclusive) along each axis of `reach`."""

    reach: tuple[tuple[int, int, int], ...]
    of: Monomial

    @property
    def is_cumulated(self) -> bool:
        return any(first == EVER for _, first, _ in self.reach)


@dataclass(frozen=True)
class Base:
    """The base of a power: a polynomial of several terms, taken as one factor."""

    poly: Poly


@dataclass(frozen=True)
class Magnitude:
    """The absolute value of a polynomial."""

    poly: Poly


@dataclass(frozen=True)
class Floor:
    """A polynomial that is held at `least` from below."""

    poly: Poly
    least: float


@dataclass(frozen=True)
class Stack:
    """The parts that a Concat puts side by side along a new dimension."""

    polys: tuple[Poly, ...]

    @property
    def poly(self) -> Poly:
        """The sum of the parts, which varies as they do."""
        return reduce(operator.add, self.polys)


Atom: TypeAlias = "Input | Mean | Total | Window | Base | Magnitude | Floor | Stack"

Monomial: TypeAlias = "frozenset[tuple[Atom, float]]"
"""A product of powers of different atoms."""

ONE: Monomial = frozenset()
X: Monomial = frozenset({(Input(), 1.0)})
SQUARE: Monomial = frozenset({(Input(), 2.0)})


def product(first: Monomial, second: Monomial) -> Monomial:
    """Return the product of two monomials.

    Raises:
        Unreadable: one divides by what the other multiplies with.
    """
    exponents = dict(first)
    for atom, exponent in second:
        known = exponents.get(atom, 0.0)
        if known * exponent < 0:
            # x / x is not 1 where x is zero.
            raise Unreadable("a quotient of equal parts")
        exponents[atom] = known + exponent
    return frozenset(exponents.items())


def mean(axes: frozenset[int], monomial: Monomial) -> Monomial:
    """Return the mean of a monomial over axes as a monomial."""
    if len(monomial) == 1:
        ((atom, exponent),) = monomial
        if isinstance(atom, Mean) and exponent == 1 and not atom.axes & axes:
            return frozenset({(Mean(atom.axes | axes, atom.of), 1.0)})
    return frozenset({(Mean(axes, monomial), 1.0)})


def varying_axes(monomial: Monomial, rank: int) -> frozenset[int]:
    """Return the axes along which the value of a monomial may vary, for an X of that rank."""
    found: frozenset[int] = frozenset()
    every = frozenset(range(rank))
    for atom, _ in monomial:
        if isinstance(atom, Input):
            return every
        if isinstance(atom, (Mean, Total)):
            found |= varying_axes(atom.of, rank) - atom.axes
        elif isinstance(atom, Window):
            found |= varying_axes(atom.of, rank)
        else:
            found |= atom.poly.varies
    return found


def is_even(monomial: Monomial) -> bool:
    """Whether the monomial is never negative, whatever X is."""
    return bool(monomial) and all(never_negative(atom, exponent) for atom, exponent in monomial)


def mean_of_squares(monomial: Monomial) -> Monomial | None:
    """Return the mean of the squares of what this monomial is the squared mean of; None where it is none."""
    ((atom, power),) = monomial if len(monomial) == 1 else ((None, 0.0),)
    if not isinstance(atom, Mean) or power != 2:
        return None
    return frozenset({(Mean(atom.axes, frozenset((inner, 2 * each) for inner, each in atom.of)), 1.0)})


def never_negative(atom: Atom, exponent: float) -> bool:
    """Whether the power of an atom is never negative, whatever X is."""
    if isinstance(exponent, float) and exponent % 2 == 0:
        return True
    if isinstance(atom, (Mean, Total, Window)):
        return is_even(atom.of)
    # A fractional power is not negative: it is no number where its base is.
    return isinstance(atom, Magnitude) or exponent % 1 != 0 or (isinstance(atom, Floor) and atom.least >= 0)
