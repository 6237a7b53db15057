"""Arithmetic on large weights, a block at a time: in float64, yet without the whole tensor ever being there in float64.

A block fits into the processor's cache together with its copy in float64, so this is also several times faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Scaled", "scaled"]

_BLOCK = 2**16


@dataclass(frozen=True, eq=False)
class Scaled:
    """A scaled and rounded tensor, with what has to be known about it before it may be used.

    Attributes:
        array: the tensor in its type.
        finite: whether every element of `array` is finite.
        largest: the largest magnitude before rounding, in each slice along the channel axis (of all, where there is
            none), NaN aside.
    """

    array: npt.NDArray[np.generic]
    finite: bool
    largest: npt.NDArray[np.float64]


def scaled(
    old: npt.NDArray[np.generic],
    factors: Sequence[npt.NDArray[np.float64]],
    dtype: npt.DTypeLike,
    channel_axis: int | None = None,
) -> Scaled:
    """The product of `old` with all `factors`, computed in float64 and rounded once.

    Args:
        old: the tensor.
        factors: arrays of the rank of `old`, with extent 1 or that of `old` along each axis.
        dtype: the type to round to.
        channel_axis: the axis whose slices are judged one by one.
    """
    if old.ndim == 0:
        result = scaled(old.reshape(1), [factor.reshape(1) for factor in factors], dtype)
        return Scaled(result.array.reshape(()), result.finite, result.largest)
    array = np.empty(old.shape, dtype)
    largest = np.zeros(() if channel_axis is None else old.shape[channel_axis])
    finite = True
    with np.errstate(all="ignore"):
        for block in _blocks(old.shape):
            wide = old[block].astype(np.float64)
            for factor in factors:
                wide *= factor[_within(block, factor.shape)]
            part = array[block]
            part[...] = wide
            finite = finite and bool(np.isfinite(part).all())
            np.abs(wide, out=wide)
            if channel_axis is None:
                largest = np.fmax(largest, np.fmax.reduce(wide, axis=None, initial=0.0))
            else:
                others = tuple(axis for axis in range(wide.ndim) if axis != channel_axis)
                place = block[channel_axis] if channel_axis < len(block) else slice(None)
                largest[place] = np.fmax(largest[place], np.fmax.reduce(wide, axis=others, initial=0.0))
    return Scaled(array, finite, largest)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Slices along the leading axes, each of about `_BLOCK` elements."""
    below = int(np.prod(shape[1:], dtype=np.int64))
    if below > _BLOCK and len(shape) > 1:
        for index in range(shape[0]):
            for rest in _blocks(shape[1:]):
                yield (slice(index, index + 1), *rest)
        return
    rows = max(1, _BLOCK // max(below, 1))
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])),)


def _within(block: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(None) if extent == 1 else part for part, extent in zip(block, shape, strict=False))
