"""What the formulas of a region are made of.

| atom | stands for |
|---|---|
| `Input` | X itself |
| `Mean`, `Total` | the mean, or the sum where the extent is not known, of a monomial over axes of X |
| `Window` | the sum of a monomial over a window along axes of X, zero outside; from `EVER` on it is cumulated |
| `Base` | a polynomial that stands under a power |
| `Magnitude`, `Floor` | the absolute value of a polynomial; its maximum with a number |
| `Stack` | polynomials side by side along a new dimension, of which nothing but their sum or mean is known |
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from onnxnorm.recognize.polynomial import Poly

__all__ = [
    "EVER",
    "Atom",
    "Base",
    "Floor",
    "Input",
    "Magnitude",
    "Mean",
    "Monomial",
    "Stack",
    "Total",
    "Window",
]

EVER = -(2**31)
"""The first position of a window that begins where the axis does."""


@dataclass(frozen=True)
class Input:
    """X."""


@dataclass(frozen=True)
class Mean:
    axes: frozenset[int]
    of: Monomial


@dataclass(frozen=True)
class Total:
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
    poly: Poly


@dataclass(frozen=True)
class Magnitude:
    poly: Poly


@dataclass(frozen=True)
class Floor:
    poly: Poly
    least: float


@dataclass(frozen=True)
class Stack:
    polys: tuple[Poly, ...]

    @property
    def poly(self) -> Poly:
        """Their sum, which varies as they do."""
        return reduce(operator.add, self.polys)


Atom: TypeAlias = "Input | Mean | Total | Window | Base | Magnitude | Floor | Stack"
Monomial: TypeAlias = "frozenset[tuple[Atom, float]]"
