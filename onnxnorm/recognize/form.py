"""Describes one value while a region is read: its formula in X, and how its dimensions lie to the axes of X."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnxnorm.recognize.monomials import Stack, Unreadable
from onnxnorm.recognize.polynomial import Poly

__all__ = ["Form", "Layout", "combine", "constant_like"]

Layout: TypeAlias = "tuple[tuple[int, ...], ...]"


@dataclass(frozen=True)
class Form:
    """The form of a value that is computed from X.

    Attributes:
        poly: the formula, an element for each position of X.
        layout: for each dimension the axes of X that it runs over, in order: none where its extent is 1, several where
            they were merged by a Reshape.
        padding: zeros before and after, for each dimension; all 0 but between a Pad and the window that reads it.
    """

    poly: Poly
    layout: Layout
    padding: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, poly: Poly, layout: Layout) -> Form:
        return cls(poly, layout, ((0, 0),) * len(layout))

    @property
    def is_padded(self) -> bool:
        return any(pads != (0, 0) for pads in self.padding)

    @property
    def is_stacked(self) -> bool:
        """Whether a new dimension holds parts side by side."""
        return any(isinstance(atom, Stack) for monomial in self.poly.terms for atom, _ in monomial)

    @property
    def is_plain(self) -> bool:
        """Whether it lies as X does."""
        return not self.is_padded and self.layout == tuple((axis,) for axis in range(self.poly.rank))

    def map(self, change: Callable[[Poly], Poly]) -> Form:
        if self.is_padded:
            raise Unreadable("arithmetic on a padded value")
        return replace(self, poly=change(self.poly))


def combine(first: Form, second: Form, operation: Callable[[Poly, Poly], Poly]) -> Form:
    """Apply an elementwise operation, broadcast as ONNX does; only dimensions that lie alike meet."""
    if first.is_padded or second.is_padded:
        if first.layout != second.layout or first.padding != second.padding:
            raise Unreadable("arithmetic on a padded value")
        return replace(first, poly=operation(first.poly, second.poly))
    rank = max(len(first.layout), len(second.layout))
    layouts = [((),) * (rank - len(form.layout)) + form.layout for form in (first, second)]
    merged = []
    for one, other in zip(*layouts, strict=True):
        if one and other and one != other:
            raise Unreadable("axes of the input that meet other axes of it")
        merged.append(one or other)
    axes = [axis for entry in merged for axis in entry]
    if len(axes) != len(set(axes)):
        raise Unreadable("axes of the input that meet other axes of it")
    return Form.of(operation(first.poly, second.poly), tuple(merged))


def constant_like(array: npt.NDArray[np.generic], form: Form, extents: Mapping[int, int]) -> Form:
    """Return a constant that is broadcast with `form`, on the axes of X that its dimensions fall on."""
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise Unreadable("a constant that is no number")
    values = np.asarray(array, np.float64)
    if not np.all(np.isfinite(values)):
        raise Unreadable("a constant that is not finite")
    rank = max(values.ndim, len(form.layout))
    layout = ((),) * (rank - len(form.layout)) + form.layout
    values = values.reshape((1,) * (rank - values.ndim) + values.shape)
    shape, order = [1] * form.poly.rank, []
    own: list[tuple[int, ...]] = []
    for dimension, (entry, extent) in enumerate(zip(layout, values.shape, strict=True)):
        if extent == 1:
            own.append(())
            continue
        if not entry:
            # A statistic that is scaled before it meets X: the constant lies as X does there.
            entry = (form.poly.rank - rank + dimension,)
        if len(entry) != 1 or extents.get(entry[0]) != extent or entry[0] in order:
            unknown = len(entry) == 1 and 0 <= entry[0] < form.poly.rank and entry[0] not in extents
            raise Unreadable(
                f"a constant of extent {extent} along an axis whose extent is not known"
                if unknown
                else "a constant that enlarges the result"
            )
        shape[entry[0]] = extent
        order.append(entry[0])
        own.append(entry)
    kept = [axis for axis, extent in enumerate(values.shape) if extent > 1]
    flat = values.reshape([values.shape[axis] for axis in kept])
    ordered = np.transpose(flat, np.argsort(order)) if order else flat
    poly = Poly.constant(ordered.reshape(shape), form.poly.rank)
    # The rank of the constant counts in a broadcast, its unit dimensions do not.
    return Form.of(poly, tuple(own))
