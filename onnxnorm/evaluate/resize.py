"""Computes Resize in float64 NumPy, one axis after the other, by the formulas of Resize-19.

It is checked against onnxruntime.

The reference evaluator of onnx walks every output element in Python, which takes minutes for pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["resize"]

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def resize(
    x: npt.NDArray[Any],
    roi: npt.NDArray[Any] | None,
    scales: npt.NDArray[Any] | None,
    sizes: npt.NDArray[Any] | None,
    *,
    axes: Sequence[int] | None = None,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    keep_aspect_ratio_policy: str = "stretch",
) -> npt.NDArray[Any]:
    """Resize x; `scales` or `sizes` has an entry for each of `axes`, `roi` their starts and then their ends."""
    where = [axis % x.ndim for axis in (axes or range(x.ndim))]
    lengths = np.array([x.shape[axis] for axis in where])
    if sizes is not None:
        factors, out = _from_sizes(np.asarray(sizes, dtype=np.int64), lengths, keep_aspect_ratio_policy)
    else:
        factors = np.asarray(scales, dtype=np.float64)
        out = np.floor(factors * lengths).astype(np.int64)
    y: npt.NDArray[Any] = x
    for place, axis in enumerate(where):
        length, count, factor = int(lengths[place]), int(out[place]), float(factors[place])
        crop = (0.0, 1.0) if roi is None or not np.size(roi) else (float(roi[place]), float(roi[place + len(where)]))
        at = _coordinates(coordinate_transformation_mode, length, count, factor, crop)
        if coordinate_transformation_mode != "tf_crop_and_resize" and count == length and factor == 1.0:
            continue
        if mode == "nearest":
            y = np.take(y, np.clip(_nearest(at, nearest_mode), 0, length - 1), axis=axis)
        else:
            narrow = min(factor, 1.0) if antialias else 1.0
            weights = _weights(at, length, mode, narrow, cubic_coeff_a, bool(exclude_outside))
            y = np.moveaxis(np.tensordot(weights, y, axes=([1], [axis])), 0, axis)
        if coordinate_transformation_mode == "tf_crop_and_resize":
            outside = ((at < 0) | (at > length - 1)).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
            y = np.where(outside, y.dtype.type(extrapolation_value), y)
    return y


def _from_sizes(sizes: Indices, lengths: Indices, policy: str) -> tuple[Array, Indices]:
    factors = sizes / np.maximum(lengths, 1)
    if policy == "stretch":
        return factors, sizes
    one = float(factors.min() if policy == "not_larger" else factors.max())
    return np.full(len(sizes), one), np.floor(one * lengths + 0.5).astype(np.int64)


def _coordinates(mode: str, length: int, count: int, factor: float, crop: tuple[float, float]) -> Array:
    """Return the places in the input of the elements of the output."""
    i = np.arange(count, dtype=np.float64)
    if mode == "asymmetric":
        return i / factor
    if mode == "align_corners":
        return i * (length - 1) / (count - 1) if count > 1 else np.zeros(count)
    if mode == "tf_crop_and_resize":
        start, end = crop
        if count > 1:
            return start * (length - 1) + i * ((end - start) * (length - 1) / (count - 1))
        return np.full(count, 0.5 * (start + end) * (length - 1))
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros(1)
    at = (i + 0.5) / factor - 0.5
    if mode == "half_pixel_symmetric":
        at = at + length / 2 * (1.0 - count / (factor * length))
    return np.asarray(at, dtype=np.float64)


def _nearest(at: Array, mode: str) -> Indices:
    rounded = {
        "round_prefer_floor": lambda: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda: np.floor(at + 0.5),
        "floor": lambda: np.floor(at),
        "ceil": lambda: np.ceil(at),
    }[mode]()
    return np.asarray(rounded, dtype=np.int64)


def _weights(at: Array, length: int, mode: str, narrow: float, a: float, inside_only: bool) -> Array:
    """Return how much each element of the input (columns) counts for each of the output (rows)."""
    reach = int(np.ceil((2 if mode == "cubic" else 1) / narrow))
    base = np.floor(at).astype(np.int64)
    weights = np.zeros((len(at), length))
    rows = np.arange(len(at))
    for step in range(-reach, reach + 2):
        index = base + step
        away = np.abs(at - index) * narrow
        value = _cubic(away, a) if mode == "cubic" else np.maximum(1.0 - away, 0.0)
        if inside_only:
            value = np.where((index >= 0) & (index < length), value, 0.0)
        np.add.at(weights, (rows, np.clip(index, 0, length - 1)), value)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total != 0), dtype=np.float64)


def _cubic(away: Array, a: float) -> Array:
    near = (a + 2.0) * away**3 - (a + 3.0) * away**2 + 1.0
    far = a * (away**3 - 5.0 * away**2 + 8.0 * away - 4.0)
    return np.where(away <= 1.0, near, np.where(away < 2.0, far, 0.0))
