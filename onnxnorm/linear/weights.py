"""Computes the weights of sums and compositions of convolutions, in float64, some rows at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from onnxnorm.linear.channels import FloatArray, Integers, Reach, group_of, realigned, starts_of

if TYPE_CHECKING:
    from onnxnorm.linear.convolution import Axes, Convolution

__all__ = ["Aligned", "Composition", "laid_out", "times"]

Aligned: TypeAlias = "tuple[FloatArray, Integers]"
"""Rows of a weight, and where each starts (see channels.py)."""


def laid_out(parts: Sequence[tuple[Convolution, int, float]], reach: Reach, axes: Axes, rows: Integers) -> Aligned:
    """Lay out rows of one weight with the taps of `axes`.

    Each of the parts goes from its first row on and is multiplied by its factor.
    """
    inputs = parts[0][0].inputs
    group = group_of(reach, inputs)
    starts = starts_of(inputs, len(reach), group)[rows]
    total = np.zeros((len(rows), inputs // group, *(axis.kernel for axis in axes)))
    for part, first, factor in parts:
        (here,) = np.nonzero((rows >= first) & (rows < first + part.outputs))
        if not here.size:
            continue
        theirs = rows[here] - first
        own = realigned(part.taken(theirs), part.starts[theirs], starts[here], total.shape[1])
        place = slice(None) if len(here) == len(rows) else here
        total[(place, *part.places(axes)[1:])] += factor * own
    return total, starts


def times(outer: Convolution, values: FloatArray) -> FloatArray:
    """Apply `outer` without its bias to an input that has the same value in every place of a channel."""
    columns = values.reshape(outer.group, -1)
    group = outer.starts // columns.shape[1]
    return np.concatenate(
        [
            (weight.reshape(len(rows), columns.shape[1], -1).sum(axis=2) * columns[group[rows]]).sum(axis=1)
            for rows, weight in outer.blocks()
        ]
    )


@dataclass(frozen=True, eq=False)
class Composition:
    """The weight of outer(inner(x)), where the windows have the taps of `axes`."""

    outer: Convolution
    inner: Convolution
    axes: Axes

    def rows(self, rows: Integers) -> Aligned:
        outer, inner, group = self.outer, self.inner, self._group
        factors = outer.taken(rows)
        starts = starts_of(inner.inputs, outer.outputs, group)[rows]
        own = starts // (inner.inputs // group)
        diagonal = None
        if self._outer_is_diagonal:
            diagonal = inner.taken(rows)
        elif self._inner_is_diagonal:
            diagonal = self._inner_diagonals[own]
        else:
            wanted = starts_of(outer.inputs, outer.outputs, group)[rows]
            factors = realigned(factors, outer.starts[rows], wanted, outer.inputs // group)
        factors = factors.reshape(*factors.shape[:2], -1)
        total = np.zeros((len(rows), inner.inputs // group, *(axis.kernel for axis in self.axes)))
        for tap, places in enumerate(self._places()):
            factor = factors[:, :, tap]
            if diagonal is not None:
                total[places] += factor.reshape(factor.shape + (1,) * len(self.axes)) * diagonal
            else:
                total[places] += self._product(factor, own)
        return total, starts

    @cached_property
    def _group(self) -> int:
        if self._outer_is_diagonal:
            return self.inner.group
        return self.outer.group if self._inner_is_diagonal else math.gcd(self.inner.group, self.outer.group)

    @property
    def _outer_is_diagonal(self) -> bool:
        return self.outer.group == self.outer.inputs == self.outer.outputs

    @property
    def _inner_is_diagonal(self) -> bool:
        return self.inner.group == self.inner.inputs == self.inner.outputs

    @cached_property
    def _inner_diagonals(self) -> FloatArray:
        """The inner weight, which is diagonal, by the groups of the outer one: (groups, inputs of each, taps...)."""
        inner = self.inner
        return inner.taken(np.arange(inner.outputs)).reshape(self._group, -1, *inner.taps)

    @cached_property
    def _inner_matrices(self) -> FloatArray:
        """The inner weight by common groups: (groups, outputs of each, inputs of each, taps...)."""
        inner, group = self.inner, self._group
        width = inner.inputs // group
        wanted = starts_of(inner.inputs, inner.outputs, group)
        weight = np.empty((inner.outputs, width, *inner.taps))
        for rows, block in inner.blocks():
            weight[rows] = realigned(block, inner.starts[rows], wanted[rows], width)
        return weight.reshape(group, inner.outputs // group, width, *inner.taps)

    def _places(self) -> Iterator[tuple[slice, ...]]:
        """Yield where the taps of the inner weight come to stand, for each tap of the outer one."""
        inner, outer = self.inner, self.outer
        spans = [own.places(axis) for own, axis in zip(inner.axes, self.axes, strict=True)]
        paces = [
            other.places(axis, own.stride).step or 1
            for own, other, axis in zip(inner.axes, outer.axes, self.axes, strict=True)
        ]  # fmt: skip
        for tap in itertools.product(*(range(axis.kernel) for axis in outer.axes)):
            own = (
                slice(index * pace, index * pace + span.stop, span.step)
                for index, pace, span in zip(tap, paces, spans, strict=True)
            )
            yield slice(None), slice(None), *own

    def _product(self, factor: FloatArray, own: Integers) -> FloatArray:
        """Multiply the rows of `factor`, of the groups `own`, by the matrix of their group."""
        matrices = self._inner_matrices
        total = np.empty((len(own), *matrices.shape[2:]))
        for group in np.unique(own):
            here = own == group
            total[here] = np.tensordot(factor[here], matrices[group], 1)
        return total
