"""Arithmetic on large weights, a block at a time: in float64, yet without the whole tensor ever being there in float64.

A block fits into the processor's cache together with its copy in float64, so this is also several times faster.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Scaled", "scaled"]

_BLOCK = 2**16
_SMALL = 2**12
_THREADS = min(4, os.cpu_count() or 1)
# Threads are for weights beside which starting them is nothing.
_LEAST_PER_THREAD = 2**20


@dataclass(frozen=True, eq=False)
class Scaled:
    """A scaled and rounded tensor, with what has to be known about it before it may be used.

    Attributes:
        array: the tensor in its type.
        finite: whether every element of `array` is finite.
        underflows: whether a slice along the channel axis (all of it, where there is none) that is not all zero has
            nothing in it of the magnitude `smallest`, before rounding and NaN aside.
    """

    array: npt.NDArray[np.generic]
    finite: bool
    underflows: bool


def scaled(
    old: npt.NDArray[np.generic],
    factors: npt.NDArray[np.float64],
    dtype: npt.DTypeLike,
    channel_axis: int | None = None,
    smallest: float = 0.0,
) -> Scaled:
    """The product of `old` with `factors`, computed in float64 and rounded once.

    Args:
        old: the tensor.
        factors: of the rank of `old`, with extent 1 or that of `old` along each axis.
        dtype: the type to round to.
        channel_axis: the axis whose slices are judged one by one.
        smallest: the magnitude that is wanted in each slice.
    """
    if old.ndim == 0:
        result = scaled(old.reshape(1), factors.reshape(1), dtype, None, smallest)
        return Scaled(result.array.reshape(()), result.finite, result.underflows)
    if old.size and not any(old.strides) and old.shape != factors.shape:
        # One number all over, as ConstantOfShape gives it: the product varies as the factors do.
        one = np.broadcast_to(old[(0,) * old.ndim], factors.shape)
        result = scaled(one, factors, dtype, channel_axis, smallest)
        return Scaled(np.broadcast_to(result.array, old.shape), result.finite, result.underflows)
    if old.size <= _SMALL:
        return _at_once(old, factors, np.dtype(dtype), channel_axis, smallest)
    array = np.empty(old.shape, dtype)
    if array.dtype == np.float32 == old.dtype and smallest <= _CERTAIN and old.size < 2**31:
        sums = _multiplied(old, factors, array, channel_axis)
        if np.count_nonzero(np.isfinite(sums) & (sums > 0.0)) == sums.size:
            return Scaled(array, finite=True, underflows=False)
    return _examined(old, factors, array, channel_axis, smallest)


# A sum of fewer than 2**31 squares in float32 that is not zero has a square of at least 2**-149 in it.
_CERTAIN = 2.0**-75


def _at_once(
    old: npt.NDArray[np.generic],
    factors: npt.NDArray[np.float64],
    dtype: np.dtype[np.generic],
    channel_axis: int | None,
    smallest: float,
) -> Scaled:
    """What `_examined` finds, without blocks."""
    with np.errstate(all="ignore"):
        wide = np.multiply(old, factors, dtype=np.float64)
        array = wide.astype(dtype)
        finite = np.count_nonzero(np.isfinite(array)) == array.size
        axes = None if channel_axis is None else _but(channel_axis, wide.ndim)
        largest = np.fmax.reduce(np.abs(wide), axis=axes, initial=0.0)
        return Scaled(array, finite, bool(np.any((largest > 0.0) & (largest < smallest))))


def _multiplied(
    old: npt.NDArray[np.generic],
    factors: npt.NDArray[np.float64],
    array: npt.NDArray[np.generic],
    channel_axis: int | None,
) -> npt.NDArray[np.float32]:
    """Fills `array`; returns the sum of squares of each slice, which tells of large values, infinities and NaN."""

    def work(blocks: list[tuple[slice, ...]]) -> npt.NDArray[np.float32]:
        sums = np.zeros(1 if channel_axis is None else old.shape[channel_axis], np.float32)
        with np.errstate(all="ignore"):
            for block in blocks:
                part = array[block]
                np.multiply(
                    old[block], factors[_within(block, factors.shape)], part, dtype=np.float64, casting="unsafe"
                )
                if channel_axis is None:
                    flat = part.reshape(1, 1, -1)
                else:
                    below = math.prod(part.shape[channel_axis + 1 :])
                    flat = part.reshape(-1, part.shape[channel_axis], below)
                place = block[channel_axis] if channel_axis is not None and channel_axis < len(block) else slice(None)
                sums[place] += np.einsum("acb,acb->c", flat, flat)  # type: ignore[arg-type]
        return sums

    blocks = list(_blocks(old.shape))
    threads = max(1, min(_THREADS, old.size // _LEAST_PER_THREAD))
    if threads == 1:
        return work(blocks)
    # Few models need it, and all would wait for the import.
    from concurrent.futures import ThreadPoolExecutor

    share = -(-len(blocks) // threads)
    with ThreadPoolExecutor(threads) as pool:
        shares = [blocks[start : start + share] for start in range(0, len(blocks), share)]
        total: npt.NDArray[np.float32] = np.sum(list(pool.map(work, shares)), axis=0)
    return total


def _examined(
    old: npt.NDArray[np.generic],
    factors: npt.NDArray[np.float64],
    array: npt.NDArray[np.generic],
    channel_axis: int | None,
    smallest: float,
) -> Scaled:
    """Fills `array` and looks at every element before it is rounded."""
    largest = np.zeros(() if channel_axis is None else old.shape[channel_axis])
    finite = True
    with np.errstate(all="ignore"):
        for block in _blocks(old.shape):
            wide = np.multiply(old[block], factors[_within(block, factors.shape)], dtype=np.float64)
            part = array[block]
            part[...] = wide
            finite = finite and int(np.count_nonzero(np.isfinite(part))) == part.size
            np.abs(wide, out=wide)
            if channel_axis is None:
                largest = np.fmax(largest, np.fmax.reduce(wide, axis=None, initial=0.0))
            else:
                others = _but(channel_axis, wide.ndim)
                place = block[channel_axis] if channel_axis < len(block) else slice(None)
                largest[place] = np.fmax(largest[place], np.fmax.reduce(wide, axis=others, initial=0.0))
    return Scaled(array, finite, bool(np.any((largest > 0.0) & (largest < smallest))))


def _but(axis: int, ndim: int) -> tuple[int, ...]:
    """All axes but one."""
    return (*range(axis), *range(axis + 1, ndim))


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
