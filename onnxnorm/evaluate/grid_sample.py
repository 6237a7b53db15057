"""Computes GridSample in float64 NumPy, by the formulas of GridSample-22, as a sum over the taps of the interpolation.

It is checked against PyTorch in float64 and onnxruntime.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["grid_sample"]

Array = npt.NDArray[np.float64]
Tap = tuple[npt.NDArray[np.int64], Array]

_CUBIC = -0.75
"""The coefficient of Keys' kernel (1981) that ONNX and PyTorch use."""


def grid_sample(
    x: Array, grid: Array, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0, **_: Any
) -> Array:
    """Sample x: (N, C, D1..Dk) at grid: (N, O1..Ok, k), the last spatial axis first, -1 to 1. Return (N, C, O1..Ok)."""
    space = x.shape[2:]
    taps = []
    for axis, length in enumerate(space):
        place = (grid[..., len(space) - 1 - axis] + 1.0) / 2.0
        place = place * (length - 1) if align_corners else place * length - 0.5
        taps.append(list(_taps(place, mode)))
    batch = np.arange(x.shape[0]).reshape((-1,) + (1,) * len(space))
    y = np.zeros((x.shape[0], *grid.shape[1:-1], x.shape[1]))
    for chosen in itertools.product(*taps):
        weight = np.ones(grid.shape[:-1])
        indices = []
        for (index, factor), length in zip(chosen, space, strict=True):
            weight = weight * factor
            if padding_mode == "zeros":
                weight = np.where((index >= 0) & (index < length), weight, 0.0)
            elif padding_mode == "reflection":
                index = _reflected(index, length, bool(align_corners))
            indices.append(np.clip(index, 0, length - 1))
        seen = np.moveaxis(x, 1, -1)[(batch, *indices)]
        # A zero weight leaves out infinities and NaN too.
        y += np.where(weight[..., None] == 0.0, 0.0, weight[..., None] * seen)
    return np.moveaxis(y, -1, 1)


def _taps(place: Array, mode: str) -> Iterator[Tap]:
    """Yield where the interpolation looks along one axis, and how much each element counts."""
    if mode == "nearest":
        yield np.rint(place).astype(np.int64), np.ones_like(place)
        return
    low = np.floor(place)
    part, first = place - low, low.astype(np.int64)
    if mode in ("linear", "bilinear"):
        yield first, 1.0 - part
        yield first + 1, part
        return
    for step in (-1, 0, 1, 2):
        away = np.abs(part - step)
        near = (_CUBIC + 2.0) * away**3 - (_CUBIC + 3.0) * away**2 + 1.0
        far = _CUBIC * (away**3 - 5.0 * away**2 + 8.0 * away - 4.0)
        yield first + step, np.where(away <= 1.0, near, far)


def _reflected(index: npt.NDArray[np.int64], length: int, at_centres: bool) -> npt.NDArray[np.int64]:
    """Return indices mirrored at the centres of the outermost elements, or at their outer edges."""
    if at_centres:
        period = max(2 * (length - 1), 1)
        inside = np.abs(index) % period
        return np.minimum(inside, period - inside) if length > 1 else np.zeros_like(index)
    inside = index % (2 * length)
    return np.minimum(inside, 2 * length - 1 - inside)
