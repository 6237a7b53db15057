"""Tells in what the outputs of a model differ from those of the module beyond rounding, in numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ROUNDINGS", "are_equal", "difference_between", "distances", "half_slack", "half_unit"]

ROUNDINGS = 32
"""The roundings of the largest value by which two programs that are right may differ."""
_Array = npt.NDArray[Any]


def difference_between(
    got: Sequence[_Array], want: Sequence[_Array], slack: Sequence[float] | None = None
) -> str | None:
    """Tell what differs by more than a few roundings of the largest value and `slack`; None where nothing does.

    An element that is finite on one side alone differs too.
    """
    if len(got) != len(want):
        return f"{len(got)} outputs instead of {len(want)}"
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        if a.shape != b.shape:
            return f"output {i} has shape {a.shape} instead of {b.shape}"
        x, y = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(y)
        unequal = ~finite & ~((x == y) | (np.isnan(x) & np.isnan(y)))
        if unequal.any():
            at = tuple(int(k) for k in np.argwhere(unequal)[0])
            return f"output {i} is {x[at]:g} instead of {y[at]:g} at {at}"
        if not finite.any():
            continue
        unit = max(half_unit(a), half_unit(b), float(np.finfo(np.float32).eps))
        error = np.where(finite, np.abs(x - np.where(finite, y, 0)), 0)
        error = np.where(np.isnan(error), np.inf, error)
        allowed = ROUNDINGS * unit * float(np.abs(y[finite]).max()) + (slack[i] if slack else 0.0)
        if error.max() > allowed:
            at = tuple(int(k) for k in np.unravel_index(int(error.argmax()), error.shape))
            return f"output {i} is {x[at]:.7g} instead of {y[at]:.7g} at {at}"
    return None


def half_slack(own: Sequence[_Array], exact: Sequence[_Array]) -> list[float] | None:
    """Measure how far the module's results in a half type are from its results in double; 0 for wider types."""
    if len(own) != len(exact) or any(a.shape != b.shape for a, b in zip(own, exact, strict=True)):
        return None
    return [each if half_unit(a) else 0.0 for a, each in zip(own, distances(own, exact), strict=True)]


def distances(rounded: Sequence[_Array], exact: Sequence[_Array]) -> list[float]:
    """Return the largest difference of finite values, for each output."""
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(rounded, exact, strict=True)]
    with np.errstate(invalid="ignore"):
        return [float(np.abs(np.where(np.isfinite(a) & np.isfinite(b), a - b, 0)).max(initial=0.0)) for a, b in pairs]


def half_unit(values: _Array) -> float:
    """Return the distance of 1 to the next larger number of a half type; 0 for wider types."""
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(values.dtype.name, 0.0)


def are_equal(first: Sequence[_Array], second: Sequence[_Array]) -> bool:
    """Whether two runs gave the same to the last bit, NaN for NaN."""
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, second, strict=True))
