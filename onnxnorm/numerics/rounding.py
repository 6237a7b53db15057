"""Rounds numbers that were computed in float64 once, to the type of their tensor, and tells what they lose by that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxnorm.numerics.arrays import any_of, finite

__all__ = ["Rounded", "all_axes_but", "loses", "rounded", "smallest_normal"]


@dataclass(frozen=True, eq=False)
class Rounded:
    """A rounded tensor, with what has to be known about it before it may be used.

    Attributes:
        array: the tensor in its type; None where it was put elsewhere.
        finite: whether every element of it is finite.
        underflows: whether a slice along the channel axis (all of it, where there is none) that is not all zero has
            nothing in it of the magnitude that was wanted, before rounding and NaN aside.
        vast: whether an element, NaN aside, is so large that products with it may overflow before they are summed up;
            looked for where a magnitude is wanted.
    """

    array: npt.NDArray[np.generic] | None
    finite: bool
    underflows: bool
    vast: bool = False


def rounded(
    exact: npt.NDArray[np.float64], dtype: npt.DTypeLike, channel_axis: int | None = None, smallest: float = 0.0
) -> Rounded:
    """Round `exact` to the type `dtype`.

    `smallest` is the magnitude that is wanted in each slice along the channel axis.
    """
    with np.errstate(all="ignore"):
        array = exact.astype(dtype)
        if smallest <= 0.0:
            return Rounded(array, finite(array), underflows=False)
        axes = None if channel_axis is None else all_axes_but(channel_axis, exact.ndim)
        largest = np.fmax.reduce(np.abs(exact), axis=axes, initial=0.0)
        return Rounded(array, finite(array), *loses(np.asarray(largest), dtype, smallest))


def loses(largest: npt.NDArray[np.float64], dtype: npt.DTypeLike, smallest: float) -> tuple[bool, bool]:
    """Tell `underflows` and `vast` of a tensor of that type, by the largest magnitude in each of its slices."""
    limit = _VAST.get(np.dtype(dtype).name, np.inf)
    return any_of((largest > 0.0) & (largest < smallest)), any_of(largest > limit)


def all_axes_but(axis: int, ndim: int) -> tuple[int, ...]:
    """Return all axes of an array of `ndim` axes but one."""
    return (*range(axis), *range(axis + 1, ndim))


# The square root of what the type holds. Products of float16 are summed up in float32.
_VAST = {"bfloat16": 2.0**64, "float32": 2.0**64}
_SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126}


def smallest_normal(dtype: npt.DTypeLike) -> float:
    """Return the smallest magnitude with all its digits; 0 for types whose range is out of question."""
    return _SMALLEST_NORMAL.get(np.dtype(dtype).name, 0.0)
