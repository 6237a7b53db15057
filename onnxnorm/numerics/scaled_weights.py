"""Computes with large weights, a block at a time: in float64, yet without the whole tensor ever being there in float64.

A block fits into the processor's cache together with its copy in float64, so this is also several times faster. Where
the result is not to be kept in memory each block goes to its place at once, and the whole is never there at all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxnorm.numerics.arrays import all_of, finite
from onnxnorm.numerics.rounding import Rounded, all_axes_but, loses, rounded

__all__ = ["Put", "scaled"]

Put: TypeAlias = Callable[[int, npt.NDArray[np.generic]], None]
"""A taker of elements, from the given one on, in C order; called from several threads at once."""

_Block: TypeAlias = "tuple[slice, ...]"

_BLOCK = 2**16
# Where NumPy itself converts piece by piece a larger block costs less of what Python does around it.
_CONVERTED_AT_ONCE = 2**18
_SMALL = 2**12
_THREADS = min(4, os.cpu_count() or 1)
# Threads are for weights beside which starting them is nothing.
_LEAST_PER_THREAD = 2**20


def scaled(
    old: npt.NDArray[np.generic],
    factors: npt.NDArray[np.float64],
    dtype: npt.DTypeLike,
    channel_axis: int | None = None,
    smallest: float = 0.0,
    put: Put | None = None,
) -> Rounded:
    """Multiply `old` by `factors`, computed in float64 and rounded once.

    Args:
        old: the tensor.
        factors: of the rank of `old`, with extent 1 or that of `old` along each axis.
        dtype: the type to round to.
        channel_axis: the axis whose slices are judged one by one.
        smallest: the magnitude that is wanted in each slice.
        put: is given the result block by block, and may be given it twice; where None it is an array in memory.
    """
    if old.ndim == 0:
        one = scaled(old.reshape(1), factors.reshape(1), dtype, None, smallest, put)
        return Rounded(None if one.array is None else one.array.reshape(()), one.finite, one.underflows, one.vast)
    if put is None and old.size and not any(old.strides) and old.shape != factors.shape:
        # One number all over, as ConstantOfShape gives it: the product varies as the factors do.
        one = scaled(np.broadcast_to(old[(0,) * old.ndim], factors.shape), factors, dtype, channel_axis, smallest)
        assert one.array is not None
        return Rounded(np.broadcast_to(one.array, old.shape), one.finite, one.underflows, one.vast)
    if put is None and old.size <= _SMALL:
        with np.errstate(all="ignore"):
            product = np.multiply(old, factors, dtype=np.float64)
        return rounded(product, dtype, channel_axis, smallest)
    result = _Result(old.shape, np.dtype(dtype), put)
    if result.dtype == np.float32 == old.dtype and smallest <= _CERTAIN and old.size < 2**31:
        sums = _multiplied(old, factors, result, channel_axis)
        if all_of(np.isfinite(sums) & (sums > 0.0)):
            # Nor vast: the squares of such numbers are not finite.
            return Rounded(result.array, finite=True, underflows=False)
    return _examined(old, factors, result, channel_axis, smallest)


# A sum of fewer than 2**31 squares in float32 that is not zero has a square of at least 2**-149 in it.
_CERTAIN = 2.0**-75


@dataclass(frozen=True, eq=False)
class _Result:
    """The destination of the blocks: an array, or a buffer by way of which they are put elsewhere."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    put: Put | None
    array: npt.NDArray[np.generic] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", np.empty(self.shape, self.dtype) if self.put is None else None)

    def parts(self, blocks: Iterator[_Block]) -> Iterator[tuple[_Block, npt.NDArray[np.generic]]]:
        """Yield each block with the array to fill for it.

        The array has gone to its place when the next one is asked for.
        """
        buffer = np.empty(0, self.dtype)
        for block in blocks:
            if self.array is not None:
                yield block, self.array[block]
                continue
            extents = [len(range(extent)[part]) for part, extent in zip(block, self.shape, strict=False)]
            extents += self.shape[len(block) :]
            count = math.prod(extents)
            if buffer.size < count:
                buffer = np.empty(count, self.dtype)
            part = buffer[:count].reshape(extents)
            yield block, part
            assert self.put is not None
            first = sum(each.start * math.prod(self.shape[axis + 1 :]) for axis, each in enumerate(block))
            self.put(first, part)


def _multiplied(
    old: npt.NDArray[np.generic], factors: npt.NDArray[np.float64], result: _Result, channel_axis: int | None
) -> npt.NDArray[np.float32]:
    """Fill `result`; return the sum of squares of each slice, which tells of large values, infinities and NaN."""
    # Taken in turn by all threads, so that what is put into a file is put there nearly in order.
    blocks = iter(list(_blocks(old.shape, _CONVERTED_AT_ONCE)))

    def work() -> npt.NDArray[np.float32]:
        sums = np.zeros(1 if channel_axis is None else old.shape[channel_axis], np.float32)
        with np.errstate(all="ignore"):
            for block, part in result.parts(blocks):
                np.multiply(
                    old[block], factors[_within(block, factors.shape)], part, dtype=np.float64, casting="unsafe"
                )
                if channel_axis is None:
                    flat = part.reshape(1, 1, -1)
                else:
                    flat = part.reshape(-1, part.shape[channel_axis], math.prod(part.shape[channel_axis + 1 :]))
                place = block[channel_axis] if channel_axis is not None and channel_axis < len(block) else slice(None)
                sums[place] += np.einsum("acb,acb->c", flat, flat)  # type: ignore[arg-type]
        return sums

    threads = max(1, min(_THREADS, old.size // _LEAST_PER_THREAD))
    if threads == 1:
        return work()
    # Few models need it, and all would wait for the import.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        shares = [pool.submit(work) for _ in range(threads)]
        total: npt.NDArray[np.float32] = np.sum([share.result() for share in shares], axis=0)
    return total


def _examined(
    old: npt.NDArray[np.generic],
    factors: npt.NDArray[np.float64],
    result: _Result,
    channel_axis: int | None,
    smallest: float,
) -> Rounded:
    """Fill `result` and look at every element before it is rounded."""
    largest = np.zeros(() if channel_axis is None else old.shape[channel_axis])
    is_finite = True
    with np.errstate(all="ignore"):
        for block, part in result.parts(_blocks(old.shape, _BLOCK)):
            wide = np.multiply(old[block], factors[_within(block, factors.shape)], dtype=np.float64)
            part[...] = wide
            is_finite = is_finite and finite(part)
            np.abs(wide, out=wide)
            if channel_axis is None:
                largest = np.fmax(largest, np.fmax.reduce(wide, axis=None, initial=0.0))
            else:
                others = all_axes_but(channel_axis, wide.ndim)
                place = block[channel_axis] if channel_axis < len(block) else slice(None)
                largest[place] = np.fmax(largest[place], np.fmax.reduce(wide, axis=others, initial=0.0))
    return Rounded(result.array, is_finite, *loses(largest, result.dtype, smallest))


def _blocks(shape: tuple[int, ...], size: int) -> Iterator[_Block]:
    """Yield slices along the leading axes, each of about `size` elements."""
    below = math.prod(shape[1:])
    if below > size and len(shape) > 1:
        for index in range(shape[0]):
            for rest in _blocks(shape[1:], size):
                yield (slice(index, index + 1), *rest)
        return
    rows = max(1, size // max(below, 1))
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])),)


def _within(block: _Block, shape: tuple[int, ...]) -> _Block:
    return tuple(slice(None) if extent == 1 else part for part, extent in zip(block, shape, strict=False))
