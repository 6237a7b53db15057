"""For every operator a small graph whose affines must all go, and a twin whose affines must stay.

A case is a function that builds a graph and names its outputs. The cases stand in `pairs_*.py`, by kind of operator;
`test_pairs.py` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from testing.builder import Builder

__all__ = ["MIXED", "POSITIVE", "SHIFT", "Pair", "cases", "folds", "linear", "scalar", "stays"]

POSITIVE = (0.5, 2.0, 1.5, 0.25)
MIXED = (0.5, -2.0, 1.5, -0.25)
SHIFT = (0.3, -0.7, 1.1, 0.0)
"""Of four channels."""

Build = Callable[[Builder], "str | Sequence[str]"]


@dataclass(frozen=True)
class Pair:
    """One graph of a pair.

    Attributes:
        operator: the operator that the graph is about, followed by what is special about it.
        build: puts the graph together and returns the names of its outputs.
        folds: whether all affines must go, or all must stay.
        left: how many nodes of Add, Mul and the like stay where all affines go (gates, sums of branches).
        options: of the builder.
        check: whether the checker of the package onnx takes the graph.
        tolerance: of the comparison in float64.
    """

    operator: str
    build: Build
    folds: bool
    left: int
    options: dict[str, Any]
    check: bool = True
    tolerance: float = 1e-9


_CASES: list[Pair] = []


def cases() -> list[Pair]:
    """All of them, from the modules `pairs_*`."""
    from tests.affine import pairs_elementwise, pairs_layout, pairs_linear, pairs_scopes  # noqa: F401

    return list(_CASES)


def folds(
    operator: str, *, left: int = 0, check: bool = True, tolerance: float = 1e-9, **options: Any
) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        _CASES.append(Pair(operator, build, True, left, options, check, tolerance))
        return build

    return register


def stays(operator: str, *, check: bool = True, tolerance: float = 1e-9, **options: Any) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        _CASES.append(Pair(operator, build, False, 0, options, check, tolerance))
        return build

    return register


def linear(b: Builder, x: str, channels: int, rank: int) -> str:
    """What takes any affine along axis 1: a 1x1 convolution, or a product for rank 2. It ends in a Sigmoid."""
    if rank == 2:
        y = b.node("Gemm", x, b.constant(b.normal(channels, 3)), b.constant(b.normal(3)))
    else:
        y = b.conv(x, channels, 3, [1] * (rank - 2))
    return b.node("Sigmoid", y)


def scalar(b: Builder, value: float) -> str:
    return b.constant(np.array(value))
