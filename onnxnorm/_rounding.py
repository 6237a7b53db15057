"""Numbers computed in float64, rounded once to the type of their tensor, and what they lose by that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxnorm._arrays import any_of, finite

__all__ = ["Rounded", "all_axes_but", "rounded", "smallest_normal"]


@dataclass(frozen=True, eq=False)
class Rounded:
    """A rounded tensor, with what has to be known about it before it may be used.

    Attributes:
        array: the tensor in its type; None where it was put elsewhere.
        finite: whether every element of it is finite.
        underflows: whether a slice along the channel axis (all of it, where there is none) that is not all zero has
            nothing in it of the magnitude that was wanted, before rounding and NaN aside.
    """

    array: npt.NDArray[np.generic] | None
    finite: bool
    underflows: bool


def rounded(
    exact: npt.NDArray[np.float64], dtype: npt.DTypeLike, channel_axis: int | None = None, smallest: float = 0.0
) -> Rounded:
    """`exact` in the type `dtype`; `smallest` is the magnitude that is wanted in each slice along the channel axis."""
    with np.errstate(all="ignore"):
        array = exact.astype(dtype)
        underflows = False
        if smallest > 0.0:
            axes = None if channel_axis is None else all_axes_but(channel_axis, exact.ndim)
            largest = np.fmax.reduce(np.abs(exact), axis=axes, initial=0.0)
            underflows = any_of((largest > 0.0) & (largest < smallest))
        return Rounded(array, finite(array), underflows)


def all_axes_but(axis: int, ndim: int) -> tuple[int, ...]:
    return (*range(axis), *range(axis + 1, ndim))


_SMALLEST_NORMAL = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126}


def smallest_normal(dtype: npt.DTypeLike) -> float:
    """The smallest magnitude with all its digits; 0 for types whose range is out of question."""
    return _SMALLEST_NORMAL.get(np.dtype(dtype).name, 0.0)
