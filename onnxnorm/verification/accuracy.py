"""Judges whether a result is as accurate as the original was: the criterion of `verify`, for one output of one run.

The errors of both are taken against a yardstick, a float64 run of the original. The original's own errors, and those
of copies whose weights are moved by one rounding, are samples of what float arithmetic does to this model: its noise.
A result that rounds elsewhere makes errors of the same size, while a mistake makes errors where the noise has none. So
errors are held against the noise place by place:

- by slice: for each index along each axis (a channel, a row, a border) the root mean square of the result's errors
  stays below `SLICE_MARGIN` times the noise of that slice;
- by element: each error stays below `ELEMENT_MARGIN` times the noise at its place, which is the largest of the noise
  seen at the element itself, the quietest of the slices through it, and the model's relative noise times its value;
- the root mean square of all errors stays below `SLICE_MARGIN` times the noise of the whole, in this sample of inputs
  or in the others: an output of few elements shows little of its noise in one.

The noise of a slice is the largest root mean square over the samples of noise, and never less than the slice's own size
times the relative noise of the typical (median) slice, nor than one unit roundoff of its size. The first keeps a slice
that was lucky from judging too harshly; the second is the error that rounding the output once may have.

The margins do not depend on the model. A correct rewrite may round more often than the original did, and both sides of
the comparison are estimates. At worst the error of a whole slice is one rounding, shared by all of its elements: of
four samples of noise the largest then falls below 1/8 of the deviation with a chance of 0.1**4 = 1e-4, and even then
the relative noise of the other slices bounds it from below. Hence 8 for slices. The largest of N normal errors reaches
6 deviations once in 5e8 elements; an element may be off by 3 times as much as a slice, since the noise at an element
already is the largest of several. A mistake misses these margins by orders of magnitude: rounding a weight to float16
moves it by up to 2**13 roundings of float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ELEMENT_MARGIN",
    "SLICE_MARGIN",
    "Measurement",
    "measure",
    "noise_and_size",
    "relative_noise",
    "unit_roundoff",
]

Array = npt.NDArray[np.float64]

SLICE_MARGIN = 8.0
ELEMENT_MARGIN = 24.0

_SLICE_ELEMENTS = 32
"""The least number of elements of a slice that is judged alone; smaller ones tell too little of their noise.

Zeros that have no noise, as an activation makes them of all that is negative, are not counted where others are left.
"""

_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
_SMALLEST = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3895314e38, "float32": 3.4028234663852886e38, "float64": math.inf}


def unit_roundoff(dtype: np.dtype[Any]) -> float:
    """Return the largest relative error of one rounding to `dtype`: half its epsilon."""
    return _ROUNDOFF[dtype.name]


@dataclass(frozen=True)
class Measurement:
    """A measurement of how far one output of one run is off, and how far it may be.

    `excess` is the largest ratio of an error to what is allowed at its place: up to 1 the result is as accurate as the
    original was. `index` is the element where that is.
    """

    excess: float
    index: tuple[int, ...] | None
    error_original: float
    error_result: float
    least_absolute: float
    least_relative: float
    reason: str | None


def noise_and_size(yardstick: Array, noise: Sequence[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the largest root mean square of the noise, and the root mean square of the output itself."""
    finite = np.isfinite(yardstick)
    exact = np.where(finite, yardstick, 0.0)
    if not exact.any():
        return 0.0, 0.0
    scale = _scale(exact)
    with np.errstate(all="ignore"):
        wide = [seen.astype(np.float64) for seen in noise]
        loudest = max(float(_rms(scale * _errors(seen, exact, finite), None)) for seen in wide)
        return loudest / scale, float(_rms(scale * exact, None)) / scale


def relative_noise(yardstick: Array, noise: Sequence[npt.NDArray[Any]]) -> float:
    """Return the noise in proportion to the output."""
    loudest, size = noise_and_size(yardstick, noise)
    return loudest / size if size else 0.0


def measure(
    yardstick: Array,
    original: npt.NDArray[Any],
    result: npt.NDArray[Any],
    noise: Sequence[npt.NDArray[Any]],
    *,
    elsewhere: float = 0.0,
    kernels: float = 0.0,
) -> Measurement:
    """Compare one real output with the yardstick.

    Args:
        yardstick: the output that exact arithmetic would give, float64.
        original: the original's output under the conditions of `result`, of the same shape and type.
        result: the output to judge.
        noise: the original's outputs that sample its noise, `original` among them or not.
        elsewhere: the noise to expect by other samples; an output of few elements shows little of its own.
        kernels: how far two right results may be apart whatever the size of a value, by the kernel that makes it.
    """
    if not result.size:
        return Measurement(0.0, None, 0.0, 0.0, 0.0, 0.0, None)
    dtype = result.dtype.name
    seen, got, *samples = (values.astype(np.float64) for values in (original, result, *noise))
    with np.errstate(all="ignore"):
        wrong = _wrong_kind(yardstick, [seen, *samples[:1]], got, _LARGEST[dtype])
        if wrong is not None:
            said = f"{got[wrong]} where the original has {seen[wrong]} (exactly {yardstick[wrong]})"
            return Measurement(math.inf, wrong, 0.0, math.inf, math.inf, math.inf, said)
        finite = np.isfinite(yardstick) & np.isfinite(got)
        exact = np.where(finite, yardstick, 0.0)
        errors, before = _errors(got, exact, finite), _errors(seen, exact, finite)
        scale = _scale(exact)
        spread = [scale * e for e in (before, *(_errors(s, exact, finite) for s in samples))]
        floor = _SMALLEST[dtype] + kernels
        allowed = _allowed(scale * exact, spread, scale * elsewhere, _ROUNDOFF[dtype], scale * floor)
        excess, index = _worst(scale * errors, allowed)
        quotients = np.where(errors > 0, errors / np.abs(exact), 0.0)
    reason = None
    if excess > 1:
        reason = (
            f"off by {errors[index]:.3g} where the original was off by {before[index]:.3g}; "
            f"{excess:.3g} times what is allowed for rounding"
        )
    largest = float(np.max(errors))
    return Measurement(excess, index, float(np.max(before)), largest, largest, float(np.max(quotients)), reason)


def _worst(errors: Array, allowed: _Allowed) -> tuple[float, tuple[int, ...]]:
    """Return the largest ratio of an error to its limit, and the element behind it: for a slice, its largest error."""
    ratios = errors / allowed.elements
    found = [(float(np.max(ratios)), _argmax(ratios)), (float(_rms(errors, None)) / allowed.whole, _argmax(errors))]
    for axis, limit in allowed.slices.items():
        ratio = _rms(errors, axis) / limit
        place = int(np.argmax(ratio))
        inside = _argmax(np.take(errors, place, axis=axis))
        found.append((float(ratio[place]), (*inside[:axis], place, *inside[axis:])))
    return max(found, key=lambda candidate: candidate[0])


@dataclass(frozen=True)
class _Allowed:
    """The limits of errors: one a slice along each axis, one an element, one for the root mean square of all."""

    slices: dict[int, Array]
    elements: Array
    whole: float


def _allowed(exact: Array, noise: Sequence[Array], elsewhere: float, unit: float, floor: float) -> _Allowed:
    size = float(_rms(exact, None))
    total = max(*(float(_rms(errors, None)) for errors in noise), elsewhere, unit * size)
    quietest: Array = np.full((1,) * exact.ndim, total)
    relative = total / size if size > 0 else 0.0
    heard = np.logical_or.reduce([exact != 0, *(errors != 0 for errors in noise)])
    slices = {}
    for axis, count in enumerate(exact.shape):
        if count < 2 or exact.size // count < _SLICE_ELEMENTS:
            continue
        sizes = _rms(exact, axis)
        seen = np.maximum.reduce([_rms(errors, axis) for errors in noise])
        alive = sizes > 0
        typical = float(np.median(seen[alive] / sizes[alive])) if alive.any() else 0.0
        relative = min(relative, typical)
        level = np.maximum(seen, max(typical, unit) * sizes)
        others = tuple(a for a in range(exact.ndim) if a != axis)
        telling = np.count_nonzero(heard, axis=others)
        tells = (telling == 0) | (telling >= _SLICE_ELEMENTS)
        slices[axis] = np.where(tells, SLICE_MARGIN * level + floor, np.inf)
        quietest = np.minimum(quietest, level.reshape([-1 if a == axis else 1 for a in range(exact.ndim)]))
    local = np.maximum.reduce([quietest * np.ones_like(exact), max(relative, unit) * np.abs(exact), *noise])
    return _Allowed(slices, ELEMENT_MARGIN * local + floor, SLICE_MARGIN * total + floor)


def _scale(exact: Array) -> float:
    """Return a power of two, which changes no digit, that brings values near 1: squares overflow beyond 1e154."""
    exponent = math.frexp(float(np.max(np.abs(exact))))[1]
    return math.ldexp(1.0, max(-1000, min(-exponent, 1000)))


def _rms(values: Array, axis: int | None) -> Array:
    others = None if axis is None else tuple(a for a in range(values.ndim) if a != axis)
    return np.asarray(np.sqrt(np.mean(values**2, axis=others)), dtype=np.float64)


def _errors(values: Array, exact: Array, finite: npt.NDArray[np.bool_]) -> Array:
    usable = finite & np.isfinite(values)
    return np.where(usable, np.abs(np.where(usable, values, 0.0) - exact), 0.0)


def _wrong_kind(exact: Array, originals: Sequence[Array], got: Array, largest: float) -> tuple[int, ...] | None:
    """Find the first element that is NaN, infinite or finite where neither yardstick nor original has it so."""
    # Exact values beyond the type's range are infinite in it.
    kinds = [_kind(np.where(np.abs(exact) > largest, np.copysign(np.inf, exact), exact)), *map(_kind, originals)]
    mine = _kind(got)
    wrong = np.logical_and.reduce([mine != kind for kind in kinds])
    return _argmax(wrong) if wrong.any() else None


def _kind(values: Array) -> npt.NDArray[np.int8]:
    return np.where(np.isnan(values), 2, np.where(np.isinf(values), np.sign(values), 0)).astype(np.int8)


def _argmax(values: npt.NDArray[Any]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))
