"""The algebra of channel affines.

A channel affine is y = scale * x + shift with constants that vary along some axes of x, most often along the channels
alone. Scale and shift are float64 arrays of the rank of x, with extent 1 along every axis on which they are constant:
whatever an operator does to the axes of x (transpose, reshape, concatenate, slice) it does to the two arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnxnorm.numerics.arrays import MAX_ELEMENTS, all_of, any_of, check_size, finite

__all__ = ["ChannelAffine", "FloatArray", "Gauge", "extents_agree", "leading_axes_dropped"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


# Some roundings of float64 in a row.
_ROUNDING = 1e-14


def _same(a: FloatArray, b: FloatArray | float) -> bool:
    # Two ways through a graph round differently in float64; far below what any model's type can tell apart.
    if a is b:
        return True
    # Most that differ do so from their first element on.
    if a.size and isinstance(b, float) and not abs(a.item(0) - b) <= 1e-13 * max(abs(a.item(0)), abs(b)):
        return False
    return all_of(np.abs(a - b) <= 1e-13 * np.maximum(np.abs(a), np.abs(b)))


def extents_agree(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether affines of these extents can be of one value; a model that contradicts itself demands others too."""
    return shape == other or (
        len(shape) == len(other) and all(a == b or a == 1 or b == 1 for a, b in zip(shape, other, strict=True))
    )


def _varies(array: FloatArray, axis: int) -> bool:
    if not array.size:
        return False
    first, second = (0,) * array.ndim, (*(0,) * axis, 1, *(0,) * (array.ndim - axis - 1))
    if array[first] != array[second]:
        return True
    return any_of(array != array[(slice(None),) * axis + (slice(0, 1),)])


def leading_axes_dropped(array: FloatArray) -> FloatArray:
    """Return the array without the leading axes of extent one that broadcasting adds by itself."""
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array.reshape(()) if array.size == 1 else array


@dataclass(frozen=True, eq=False)
class ChannelAffine:
    """An affine y = scale * x + shift.

    The arrays have the rank of x, and extent 1 along each axis on which both are constant.
    """

    scale: FloatArray
    shift: FloatArray
    only_shifts: bool = False
    """Tells whether the scale is known to be one, so that nobody needs to look through its elements."""

    @classmethod
    def of(cls, scale: npt.ArrayLike, shift: npt.ArrayLike, rank: int) -> ChannelAffine:
        """Make an affine from arrays that broadcast to rank `rank` as NumPy has it (trailing axes aligned)."""
        scale, shift = np.asarray(scale, np.float64), np.asarray(shift, np.float64)
        only_shifts = scale.ndim == 0 and scale == 1.0
        if scale.shape != shift.shape:
            if shift.ndim == 0:
                shift = np.full(scale.shape, shift)
            elif scale.ndim == 0:
                scale = np.full(shift.shape, scale)
            else:
                check_size(np.broadcast_shapes(scale.shape, shift.shape), max(scale.size, shift.size))
                scale, shift = np.broadcast_arrays(scale, shift)
        if scale.ndim > rank:
            raise ValueError(f"a constant of rank {scale.ndim} would raise the rank {rank} of the value")
        if scale.ndim < rank:
            missing = (1,) * (rank - scale.ndim)
            scale, shift = scale.reshape(missing + scale.shape), shift.reshape(missing + shift.shape)
        for axis in range(rank):
            if scale.shape[axis] > 1 and not _varies(scale, axis) and not _varies(shift, axis):
                head = (slice(None),) * axis + (slice(0, 1),)
                scale, shift = scale[head], shift[head]
        return cls(scale, shift, only_shifts)

    @classmethod
    def along(cls, axis: int, scale: npt.ArrayLike, shift: npt.ArrayLike, rank: int) -> ChannelAffine:
        """Make an affine from vectors along one axis of a value of rank `rank`."""
        shape = tuple(-1 if i == axis else 1 for i in range(rank))
        return cls.of(np.asarray(scale).reshape(shape), np.asarray(shift).reshape(shape), rank)

    @classmethod
    def identity(cls, rank: int) -> ChannelAffine:
        return _identity(rank)

    @property
    def rank(self) -> int:
        return self.scale.ndim

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The axes along which the affine varies."""
        return tuple(axis for axis, extent in enumerate(self.scale.shape) if extent > 1)

    @cached_property
    def scales(self) -> bool:
        return not self.only_shifts and not _same(self.scale, 1.0)

    @cached_property
    def shifts(self) -> bool:
        return any_of(self.shift)

    @property
    def is_identity(self) -> bool:
        return not self.scales and not self.shifts

    @cached_property
    def is_finite(self) -> bool:
        return finite(self.scale) and finite(self.shift)

    def then(self, outer: ChannelAffine) -> ChannelAffine:
        """Apply `outer` to the result of this affine; shifts that undo each other up to rounding are gone."""
        if self.scale.size * outer.scale.size > MAX_ELEMENTS:
            shape = np.broadcast_shapes(self.scale.shape, outer.scale.shape)
            check_size(shape, max(self.scale.size, outer.scale.size))
        inner = outer.scale * self.shift
        shift = inner + outer.shift
        shift = np.where(np.abs(shift) <= _ROUNDING * np.abs(outer.shift), 0.0, shift)
        return ChannelAffine.of(outer.scale * self.scale, shift, self.rank)

    def inverse(self) -> ChannelAffine | None:
        """Return the affine that undoes this one, of the same extents; None where a scale is zero."""
        return self._inverse

    @cached_property
    def _inverse(self) -> ChannelAffine | None:
        if not all_of(self.scale != 0.0):
            return None
        with np.errstate(over="ignore"):
            inverse = ChannelAffine(1.0 / self.scale, -self.shift / self.scale)
        return inverse if inverse.is_finite else None

    def widened(self, shape: tuple[int, ...]) -> ChannelAffine:
        """Return the same affine with other extents, to which its own broadcast."""
        return ChannelAffine(np.broadcast_to(self.scale, shape), np.broadcast_to(self.shift, shape))

    def same_as(self, other: ChannelAffine) -> bool:
        return self is other or (
            extents_agree(self.scale.shape, other.scale.shape)
            and _same(self.scale, other.scale)
            and _same(self.shift, other.shift)
        )

    def map(self, change: Callable[[FloatArray], FloatArray]) -> ChannelAffine:
        """Return the affine whose scale and shift are those of this one after `change`.

        `change` may give them another rank.
        """
        scale, shift = change(self.scale), change(self.shift)
        return ChannelAffine.of(scale, shift, scale.ndim)

    def scaling(self) -> ChannelAffine:
        """Return the affine with the scale of this one and no shift."""
        return self if not self.shifts else ChannelAffine.of(self.scale, 0.0, self.rank)

    def along_axis(self, axis: int, extent: int) -> tuple[FloatArray, FloatArray] | None:
        """Scale and shift as vectors of length `extent` along `axis`; None where they vary along another axis too.

        None as well where they have another length, as a malformed model can demand.
        """
        if any(other != axis for other in self.axes) or self.scale.size not in (1, extent):
            return None
        vectors = self.scale.reshape(-1), self.shift.reshape(-1)
        if self.scale.size == extent:
            return vectors
        check_size((extent,))
        return np.full(extent, vectors[0]), np.full(extent, vectors[1])

    def __str__(self) -> str:
        parts = [name for name, there in (("scale", self.scales), ("shift", self.shifts)) if there]
        return " and ".join(parts) or "identity"


@lru_cache(maxsize=64)
def _identity(rank: int) -> ChannelAffine:
    return ChannelAffine(np.ones((1,) * rank), np.zeros((1,) * rank))


def _along(array: FloatArray, axis: int, start: int, end: int) -> FloatArray:
    return array if array.shape[axis] == 1 else array[(slice(None),) * axis + (slice(start, end),)]


class Gauge:
    """The relation of a value of the original graph to the value that takes its place: an affine in both directions.

    new = to_new(old) and old = to_old(new). One of the two is missing where a scale is zero: then the value can be made
    from the old one or the old one from it, not both. Where one is given, the other is computed if somebody asks.
    Both directions have the same extents.

    Attributes:
        any: either direction, for what both have in common: rank, axes, signs, whether there is a shift.
    """

    def __init__(self, to_new: ChannelAffine | None, to_old: ChannelAffine | None) -> None:
        # Scales one rounding apart can have the same reciprocal: the axis on which they vary is kept for both.
        if to_new is not None and to_old is not None and to_new.scale.shape != to_old.scale.shape:
            shape = np.broadcast_shapes(to_new.scale.shape, to_old.scale.shape)
            to_new, to_old = to_new.widened(shape), to_old.widened(shape)
        given = to_new if to_new is not None else to_old
        assert given is not None
        self.any = given
        self.to_new, self.to_old = to_new, to_old

    @classmethod
    def new(cls, affine: ChannelAffine) -> Gauge:
        """Make the gauge by which the new value is `affine` of the old one."""
        gauge = cls.__new__(cls)
        gauge.any = gauge.to_new = affine
        return gauge

    @classmethod
    def old(cls, affine: ChannelAffine) -> Gauge:
        """Make the gauge by which the old value is `affine` of the new one."""
        gauge = cls.__new__(cls)
        gauge.any = gauge.to_old = affine
        return gauge

    @classmethod
    def identity(cls, rank: int) -> Gauge:
        same = ChannelAffine.identity(rank)
        return cls(same, same)

    @cached_property
    def to_new(self) -> ChannelAffine | None:
        return self.any.inverse()

    @cached_property
    def to_old(self) -> ChannelAffine | None:
        return self.any.inverse()

    @property
    def is_identity(self) -> bool:
        return self.any.is_identity

    @property
    def axes(self) -> tuple[int, ...]:
        return self.any.axes

    @property
    def shifts(self) -> bool:
        return self.any.shifts

    @property
    def scales(self) -> bool:
        return self.any.scales

    @property
    def non_negative(self) -> bool:
        return all_of(self.any.scale >= 0.0)

    @property
    def positive(self) -> bool:
        return all_of(self.any.scale > 0.0)

    def map(self, change: Callable[[FloatArray], FloatArray]) -> Gauge:
        """Return the gauge with both directions put through the same change of axes."""
        return Gauge(
            None if self.to_new is None else self.to_new.map(change),
            None if self.to_old is None else self.to_old.map(change),
        )

    def parts(self, axis: int, ends: tuple[int, ...]) -> list[Gauge]:
        """Cut the gauge along an axis on which it varies, as its value is cut at `ends`; computed once and kept."""
        key = (axis, ends)
        if key not in self._parts:
            self._parts[key] = [
                self.map(lambda array, start=start, end=end: _along(array, axis, start, end))  # type: ignore[misc]
                for start, end in zip((0, *ends), ends, strict=False)
            ]
        return self._parts[key]

    def keep_parts(self, axis: int, ends: tuple[int, ...], parts: list[Gauge]) -> None:
        """Keep the parts that the gauge was joined from, so that nobody cuts it."""
        self._parts[(axis, ends)] = parts

    @cached_property
    def _parts(self) -> dict[tuple[int, tuple[int, ...]], list[Gauge]]:
        return {}

    def same_as(self, other: Gauge) -> bool:
        if self is other:
            return True
        for mine, theirs in ((self.to_new, other.to_new), (self.to_old, other.to_old)):
            if (mine is None) != (theirs is None):
                return False
            if mine is not None and theirs is not None and not mine.same_as(theirs):
                return False
        return True
