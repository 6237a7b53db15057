"""Coefficients of polynomials: arrays that are compared after rounding, and their axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "axes_of", "element_count", "rounded", "trimmed"]


Array: TypeAlias = npt.NDArray[np.float64]


_DIGITS = 11


def rounded(array: Array) -> Array:
    """Round each element to the digits to which coefficients are compared."""
    with np.errstate(all="ignore"):
        digits = _DIGITS - 1 - np.floor(np.log10(np.where(array == 0, 1, np.abs(array))))
        factor = 10.0 ** np.clip(digits, -300, 300)
        return np.asarray(np.round(array * factor) / factor + 0.0)


def trimmed(array: Array) -> Array:
    """Return the array with extent 1 along axes on which nothing varies."""
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            first = array.take([0], axis)
            if np.array_equal(np.broadcast_to(first, array.shape), array):
                array = first
    return array


def axes_of(coefficient: Array) -> frozenset[int]:
    """Return the axes along which the coefficient varies."""
    return frozenset(axis for axis, extent in enumerate(coefficient.shape) if extent > 1)


def element_count(axes: Iterable[int], extents: Mapping[int, int]) -> int | None:
    """Count the elements along the axes; None where an extent is not known."""
    known = [extents.get(axis) for axis in axes]
    return None if None in known else math.prod(extent for extent in known if extent is not None)
