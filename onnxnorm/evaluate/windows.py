"""Computes convolutions and pools in float64 NumPy, as sums or maxima over the taps of the window.

The geometry (padding, rounding of the output size, the divisor of an average) follows the operator specifications
Conv-22, ConvTranspose-22, MaxPool-22, AveragePool-22 and LpPool-22, and is checked against onnxruntime and PyTorch.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["average_pool", "conv", "conv_transpose", "lp_pool", "max_pool"]

Array = npt.NDArray[np.float64]
Ints = Sequence[int]

_BLOCK = 1 << 22
"""Elements of the gathered columns that are multiplied at a time: 32 MiB, so that memory stays bounded."""


_ALL: tuple[Any, ...] = (slice(None), slice(None))


@dataclass(frozen=True)
class _Windows:
    """The places of one operator's windows: all sequences have one entry for each spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    out: tuple[int, ...]

    def pad(self, x: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        """Return `x` with its padding, cut or lengthened so that exactly the last window fits."""
        widths, cuts = self._reach(x.shape[2:])
        if widths is not None:
            x = np.pad(x, widths, constant_values=x.dtype.type(fill))
        return x[cuts]

    @functools.lru_cache(maxsize=256)  # noqa: B019
    def _reach(self, size: tuple[int, ...]) -> tuple[list[tuple[int, int]] | None, tuple[slice, ...]]:
        """Return what is added to each axis, None where that is nothing, and what is kept of it then."""
        widths, cuts = [(0, 0), (0, 0)], [slice(None), slice(None)]
        for extent, k, s, d, before, out in zip(
            size, self.kernel, self.strides, self.dilations, self.before, self.out, strict=True
        ):
            length = max((out - 1) * s + (k - 1) * d + 1, 0)
            widths.append((max(before, 0), max(length - before - extent, 0)))
            cuts.append(slice(max(-before, 0), max(-before, 0) + length))
        return (widths if any(width != (0, 0) for width in widths) else None), tuple(cuts)

    def taps(self, padded: npt.NDArray[Any]) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
        """Yield each position in the kernel with the view (N, C, *out) of the elements that it meets."""
        for tap in itertools.product(*map(range, self.kernel)):
            cut = [slice(None), slice(None)]
            for t, s, d, out in zip(tap, self.strides, self.dilations, self.out, strict=True):
                cut.append(slice(t * d, t * d + max((out - 1) * s + 1, 0), s))
            yield tap, padded[tuple(cut)]


def _windows(
    size: Ints,
    kernel: Ints,
    strides: Ints | None,
    dilations: Ints | None,
    pads: Ints | None,
    auto_pad: str,
    *,
    pool: bool,
    ceil: bool = False,
) -> _Windows:
    given = (None if values is None else tuple(values) for values in (strides, dilations, pads))
    return _placed(tuple(size), tuple(kernel), *given, auto_pad, pool=pool, ceil=ceil)


@functools.lru_cache(maxsize=256)
def _placed(
    size: Ints,
    kernel: Ints,
    strides: Ints | None,
    dilations: Ints | None,
    pads: Ints | None,
    auto_pad: str,
    *,
    pool: bool,
    ceil: bool,
) -> _Windows:
    rank = len(size)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pads = pads if pads and auto_pad == "NOTSET" else [0] * (2 * rank)
    before, after, out = [], [], []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        step, head, tail = strides[axis], pads[axis], pads[rank + axis]
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-size[axis] // step)
            # Where the stride exceeds the kernel, a pool leaves out elements on both sides, a convolution at the end.
            total = max((count - 1) * step + reach - size[axis], -math.inf if pool else 0)
            head = int((total if auto_pad == "SAME_UPPER" else total + 1) / 2)
            tail = int(total - head)
        else:
            room = size[axis] + head + tail - reach
            count = (-(-room // step) if ceil else room // step) + 1
            # A window that the rounding added counts only if it starts inside the input or the padding before it.
            if ceil and (count - 1) * step >= size[axis] + head:
                count -= 1
        if count < 0:
            raise ValueError(f"a window of {reach} does not fit in {size[axis]} + {head} + {tail} elements")
        before.append(head)
        after.append(tail)
        out.append(count)
    return _Windows(tuple(kernel), tuple(strides), tuple(dilations), tuple(before), tuple(after), tuple(out))


def conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    group: int = 1,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    auto_pad: str = "NOTSET",
) -> Array:
    """Convolve: y[n,m] = b[m] + the sum of w[m,c] over the window of x[n,c], over the channels c of the group of m.

    x: (N, C, D1, ...); w: (M, C / group, K1, ...); b: (M,).
    """
    if x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"weights of shape {w.shape} and {group} groups do not fit an input of shape {x.shape}")
    windows = _windows(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad, pool=False)
    padded = windows.pad(x, 0.0)
    y = (_depthwise if w.shape[1] == 1 else _grouped)(padded, w, group, windows)
    if b is not None:
        y += b.reshape(-1, *(1,) * (x.ndim - 2))
    return y


def _depthwise(padded: npt.NDArray[Any], w: Array, group: int, windows: _Windows) -> Array:
    multiplier = w.shape[0] // group
    weights = w.reshape(group, multiplier, *w.shape[2:])
    y = np.zeros((padded.shape[0], group, multiplier, *windows.out))
    ones = (1,) * len(windows.out)
    for tap, seen in windows.taps(padded):
        y += seen[:, :, None] * weights[_ALL + tap].reshape(1, group, multiplier, *ones)
    return y.reshape(padded.shape[0], w.shape[0], *windows.out)


def _grouped(padded: npt.NDArray[Any], w: Array, group: int, windows: _Windows) -> Array:
    """Gather the columns of a block of output rows, then multiply: every group is one matrix product."""
    samples, channels = padded.shape[:2]
    taps = math.prod(windows.kernel)
    weights = w.reshape(group, w.shape[0] // group, w.shape[1] * taps)
    if taps == 1:
        ((_, seen),) = windows.taps(padded)
        columns = np.ascontiguousarray(seen).reshape(samples, group, w.shape[1], math.prod(windows.out))
        return np.asarray((weights @ columns).reshape(samples, w.shape[0], *windows.out))
    y = np.empty((samples, w.shape[0], *windows.out))
    rest = math.prod(windows.out[1:])
    rows = max(1, _BLOCK // max(1, channels * taps * rest))
    for n, start in itertools.product(range(samples), range(0, windows.out[0], rows)):
        stop = min(start + rows, windows.out[0])
        columns = np.empty((channels, taps, stop - start, *windows.out[1:]))
        for position, (_, seen) in enumerate(windows.taps(padded[n : n + 1])):
            columns[:, position] = seen[0, :, start:stop]
        product = weights @ columns.reshape(group, w.shape[1] * taps, (stop - start) * rest)
        y[n, :, start:stop] = product.reshape(w.shape[0], stop - start, *windows.out[1:])
    return y


def conv_transpose(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    group: int = 1,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    auto_pad: str = "NOTSET",
) -> Array:
    """Apply the transpose of `conv` as a linear map: every input element spreads w over a window of the output.

    x: (N, C, D1, ...); w: (C, M / group, K1, ...); b: (M,).
    """
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    extra = output_padding or [0] * rank
    kernel, size = w.shape[2:], x.shape[2:]
    if x.shape[1] != w.shape[0] or w.shape[0] % group:
        raise ValueError(f"weights of shape {w.shape} and {group} groups do not fit an input of shape {x.shape}")
    full = [(size[a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 + extra[a] for a in range(rank)]
    natural = [min(size[a] * strides[a], full[a]) for a in range(rank)]
    before, after = _cut_off(full, natural, pads, output_shape, auto_pad)
    outputs = w.shape[1] * group
    samples, positions = x.shape[0], math.prod(size)
    columns = x.reshape(samples, group, x.shape[1] // group, positions)
    weights = w.reshape(group, w.shape[0] // group, -1).transpose(0, 2, 1)
    spread = (weights @ columns).reshape(samples, outputs, *kernel, *size)
    y = np.zeros((samples, outputs, *full))
    for tap in itertools.product(*map(range, kernel)):
        place = tuple(
            slice(t * d, t * d + max((n - 1) * s + 1, 0), s)
            for t, d, n, s in zip(tap, dilations, size, strides, strict=True)
        )
        y[_ALL + place] += spread[_ALL + tap]
    if min(*before, *after) < 0:
        y = np.pad(y, [(0, 0), (0, 0), *((max(-h, 0), max(-t, 0)) for h, t in zip(before, after, strict=True))])
    keep = tuple(slice(max(h, 0), y.shape[2 + a] - max(after[a], 0)) for a, h in enumerate(before))
    y = y[(slice(None), slice(None), *keep)]
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


def _cut_off(
    full: Ints, natural: Ints, pads: Ints | None, output_shape: Ints | None, auto_pad: str
) -> tuple[list[int], list[int]]:
    """Return what the full output of a transposed convolution loses before and behind on each axis.

    A negative number is what is filled up there with zeros: an output larger than the input reaches, which has them at
    its end as in onnxruntime. `natural` are the extents that "SAME" padding asks for where no shape is given.
    """
    rank = len(full)
    if not output_shape and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        given = pads if pads and auto_pad == "NOTSET" else [0] * (2 * rank)
        return list(given[:rank]), list(given[rank:])
    wanted = output_shape[-rank:] if output_shape else natural
    totals = [max(have - want, 0) for have, want in zip(full, wanted, strict=True)]
    smaller = [total // 2 for total in totals]
    before = smaller if auto_pad == "SAME_UPPER" else [t - s for t, s in zip(totals, smaller, strict=True)]
    return before, [have - want - cut for have, want, cut in zip(full, wanted, before, strict=True)]


def max_pool(
    x: npt.NDArray[Any],
    *,
    kernel_shape: Ints,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    storage_order: int = 0,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the largest element of every window and its index in the flattened input.

    The index counts column-major if `storage_order` is set.
    """
    windows = _windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, pool=True, ceil=bool(ceil_mode))
    lowest = -math.inf if np.issubdtype(x.dtype, np.floating) else float(np.iinfo(x.dtype).min)
    size = x.shape[2:]
    order = np.arange(math.prod(size), dtype=np.int64).reshape(size, order="F" if storage_order else "C")
    planes = np.arange(x.shape[0] * x.shape[1], dtype=np.int64).reshape(*x.shape[:2], *(1,) * len(size))
    where = windows.pad(order[None, None], -1)
    best: npt.NDArray[Any] | None = None
    index: npt.NDArray[Any] | None = None
    for (_, seen), (_, at) in zip(windows.taps(windows.pad(x, lowest)), windows.taps(where), strict=True):
        if best is None or index is None:
            best, index = seen.copy(), np.broadcast_to(at, seen.shape).copy()
        else:
            # A NaN wins and stays; padding never wins over an element.
            wins = ((seen > best) | (seen != seen) | (index < 0)) & (best == best) & (at >= 0)
            best = np.where(wins, seen, best)
            index = np.where(wins, at, index)
    assert best is not None and index is not None
    return best, np.asarray(index + planes * math.prod(size), dtype=np.int64)


def average_pool(
    x: Array,
    *,
    kernel_shape: Ints,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Array:
    """Return the mean of every window over the elements inside the input, or inside its padding too if that counts.

    What a window reaches beyond the padding, where the output size is rounded up, never counts.
    """
    windows = _windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, pool=True, ceil=bool(ceil_mode))
    counted = np.ones((1, 1, *x.shape[2:]))
    if count_include_pad:
        sides = [(0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in zip(windows.before, windows.after, strict=True))]
        counted = np.pad(counted, sides, constant_values=1.0)
        inside = replace(windows, before=tuple(min(b, 0) for b in windows.before))
        divisor = _sum(inside, inside.pad(counted, 0.0))
    else:
        divisor = _sum(windows, windows.pad(counted, 0.0))
    return _sum(windows, windows.pad(x, 0.0)) / divisor


def lp_pool(
    x: Array,
    *,
    kernel_shape: Ints,
    strides: Ints | None = None,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    p: float = 2,
) -> Array:
    """Return (sum of |x|**p over the window) ** (1/p) for every window."""
    windows = _windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, pool=True, ceil=bool(ceil_mode))
    total = _sum(windows, windows.pad(np.abs(x) ** p, 0.0))
    return np.asarray(total ** (1.0 / p), dtype=np.float64)


def _sum(windows: _Windows, padded: npt.NDArray[Any]) -> Array:
    total = np.zeros((*padded.shape[:2], *windows.out))
    for _, seen in windows.taps(padded):
        total += seen.astype(np.float64, copy=False)
    return total
