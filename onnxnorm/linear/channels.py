"""Channel structure of a linear map: which inputs an output can depend on, and weights cut accordingly.

A weight has the shape (outputs, width, taps...): row m holds what output m takes from the inputs starts[m] to
starts[m] + width - 1. In a weight of g groups the width is inputs / g and the rows of group j start at j * width.
A reach is the range of inputs, for each output, that its weights can differ from zero for: an integer array
(outputs, 2) of first inputs and of inputs past the last.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "Integers", "Reach", "composed", "group_of", "reach_of_groups", "realigned", "starts_of"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Reach: TypeAlias = npt.NDArray[np.int64]


def starts_of(inputs: int, outputs: int, group: int) -> Integers:
    """Return the first input of each row of a weight of `group` groups."""
    groups: Integers = np.arange(outputs, dtype=np.int64) // (outputs // group)
    return groups * (inputs // group)


def reach_of_groups(inputs: int, outputs: int, group: int) -> Reach:
    """Return the reach of a weight of `group` groups."""
    starts = starts_of(inputs, outputs, group)
    return np.stack([starts, starts + inputs // group], axis=1)


def composed(outer: Reach, inner: Reach) -> Reach:
    """Return the reach of outer(inner(x))."""
    first, past = outer[:, 0], outer[:, 1]
    if np.all(past - first == 1):
        return inner[first]
    ranges, index = np.unique(outer, axis=0, return_inverse=True)
    hulls = np.array([(inner[a:b, 0].min(), inner[a:b, 1].max()) for a, b in ranges], np.int64)
    hull: Reach = hulls[index.reshape(-1)]
    return hull


def group_of(reach: Reach, inputs: int) -> int:
    """Return the largest number of groups that the map falls apart into."""
    outputs = len(reach)
    common = math.gcd(inputs, outputs)
    for group in sorted((g for g in range(1, common + 1) if common % g == 0), reverse=True):
        own = np.arange(outputs) // (outputs // group)
        width = inputs // group
        if np.all(reach[:, 0] // width == own) and np.all((reach[:, 1] - 1) // width == own):
            return group
    return 1


def realigned(weight: FloatArray, starts: Integers, wanted: Integers, width: int) -> FloatArray:
    """Return the weight with rows that start at `wanted` and are `width` wide.

    What does not lie in them must be zero.
    """
    if weight.shape[1] == width and np.array_equal(starts, wanted):
        return weight
    columns = np.arange(width) + (wanted - starts)[:, None]
    inside = (columns >= 0) & (columns < weight.shape[1])
    taps = (1,) * (weight.ndim - 2)
    places = np.where(inside, columns, 0).reshape(*columns.shape, *taps)
    taken = np.take_along_axis(weight, places, axis=1)
    return np.where(inside.reshape(*columns.shape, *taps), taken, 0.0)
