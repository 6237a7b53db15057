"""The algebra of convolutions: what sums, compositions and parts of convolutions are, as one convolution.

With taps k at offsets k * d - p (see axis.py), zeros outside of x, and s the stride:
    y[m, o] = bias[m] + sum over c, k of weight[m, c, k] * x[c, o * s + k * d - p]
- Sum: the taps of both on the smallest common grid; weights and biases add.
- Composition B(A(x)): tap kB of B reads results of A that are s_A * d_B apart, so the taps stand at
  kA * d_A + kB * d_B * s_A, each the matrix product of the two; strides multiply; bias_B + sum over taps B_k bias_A.
  Exact where B reads no zeros around A's results, or those are what A itself gives outside (see `Axis.then`, and A has
  no bias).
- An average pool with a fixed divisor is a depthwise convolution by 1 / taps; a channel affine one with a single tap.
- A transposed convolution writes where a convolution reads; sums and compositions with single taps are the same.
Without spatial axes this is the algebra of matrices: y = x @ weight.T + bias.

Geometry is known at once; weights are computed in float64 when somebody asks for them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnxnorm._arrays import check_size
from onnxnorm.linear.axis import AnyAxis, Axis, TransposedAxis
from onnxnorm.linear.blocks import (
    FloatArray,
    Integers,
    Reach,
    composed,
    group_of,
    reach_of_groups,
    realigned,
    starts_of,
)

__all__ = ["Axes", "Convolution"]

Axes: TypeAlias = "tuple[AnyAxis, ...]"
Aligned: TypeAlias = "tuple[FloatArray, Integers]"


@dataclass(frozen=True, eq=False)
class Convolution:
    """A linear map from `inputs` to `len(reach)` channels, and a bias.

    Attributes:
        axes: the geometry of each spatial axis.
        reach: which inputs each output may depend on (see blocks.py).
        biased: whether the bias may differ from zero.
        make_weight: gives a float64 weight and where its rows start.
        make_bias: gives the float64 bias, shape (outputs,).
    """

    inputs: int
    axes: Axes
    reach: Reach
    biased: bool
    make_weight: Callable[[], Aligned]
    make_bias: Callable[[], FloatArray]

    @classmethod
    def of(cls, weight: npt.ArrayLike, bias: npt.ArrayLike | None, group: int, axes: Axes) -> Convolution:
        """From a weight of shape (outputs, inputs / group, taps...) and a bias (outputs,)."""
        kernel = np.asarray(weight)
        return cls.later(kernel.shape[:2], lambda: np.asarray(kernel, np.float64), bias, group, axes)

    @classmethod
    def later(
        cls,
        shape: tuple[int, ...],
        make_weight: Callable[[], FloatArray],
        bias: npt.ArrayLike | None,
        group: int,
        axes: Axes,
    ) -> Convolution:
        """`of`, from the first two extents of a weight that is made when somebody asks for it."""
        outputs, width = shape
        shift = np.zeros(outputs) if bias is None else np.asarray(bias, np.float64)
        return cls(
            width * group,
            axes,
            reach_of_groups(width * group, outputs, group),
            bool(np.any(shift != 0.0)),
            lambda: (make_weight(), starts_of(width * group, outputs, group)),
            lambda: shift,
        )

    @classmethod
    def affine(cls, scale: FloatArray, shift: FloatArray, spatial: int) -> Convolution:
        """scale * x + shift, both of shape (channels,)."""
        weight = scale.reshape((-1, 1) + (1,) * spatial)
        return cls.of(weight, shift, len(scale), (Axis(),) * spatial)

    @classmethod
    def identity(cls, channels: int, axes: Axes) -> Convolution:
        """x itself, or (with paddings or strides) part of x, with zeros around it."""
        return cls.of(np.ones((channels, 1) + (1,) * len(axes)), None, channels, axes)

    @classmethod
    def average(cls, channels: int, axes: Axes) -> Convolution:
        """The mean over every window, the zeros around the input counted."""
        taps = tuple(axis.kernel for axis in axes)
        check_size((channels, *taps))
        weight = np.broadcast_to(np.asarray(1.0 / math.prod(taps)), (channels, 1, *taps))
        return cls.of(weight, None, channels, axes)

    @property
    def outputs(self) -> int:
        return len(self.reach)

    @property
    def transposed(self) -> bool:
        return any(isinstance(axis, TransposedAxis) for axis in self.axes)

    @cached_property
    def group(self) -> int:
        return group_of(self.reach, self.inputs)

    @property
    def taps(self) -> tuple[int, ...]:
        return tuple(axis.kernel for axis in self.axes)

    @property
    def size(self) -> int:
        """How many entries the weight has."""
        return self.outputs * self.inputs // self.group * math.prod(self.taps)

    @property
    def work(self) -> float:
        """Multiply-adds for each element of the result."""
        return self.inputs / self.group * math.prod(axis.density() for axis in self.axes)

    @property
    def gathered(self) -> float:
        """Elements that are put together for each place of the result; single taps are read where they lie.

        A convolution gathers its inputs before it multiplies, a transposed one adds up its products.
        """
        if all(axis.pointwise for axis in self.axes):
            return 0.0
        channels = self.outputs if self.transposed else self.inputs
        return channels * math.prod(axis.density() for axis in self.axes)

    @cached_property
    def weight(self) -> FloatArray:
        """(outputs, inputs / group, taps...)."""
        weight, starts = self.make_weight()
        return realigned(weight, starts, self.starts, self.inputs // self.group)

    @property
    def starts(self) -> Integers:
        """Where the rows of `weight` start."""
        return starts_of(self.inputs, self.outputs, self.group)

    @cached_property
    def bias(self) -> FloatArray:
        return self.make_bias()

    def results(self, extents: Sequence[int]) -> tuple[int, ...]:
        """The spatial extents of the output."""
        return tuple(axis.results(extent) for axis, extent in zip(self.axes, extents, strict=True))

    def then(self, outer: Convolution, extents: Sequence[int | None]) -> Convolution | None:
        """`outer` of the result of this one; None where that is no single convolution.

        The spatial extents (None: not known) are those of the input of this one.
        """
        if outer.inputs != self.outputs or len(outer.axes) != len(self.axes):
            return None
        if self.biased and any(axis.pads for axis in outer.axes):
            return None
        axes = []
        for mine, other, extent in zip(self.axes, outer.axes, extents, strict=True):
            axis = mine.then(other, extent)
            if axis is None:
                return None
            axes.append(axis)
        return Convolution(
            self.inputs,
            tuple(axes),
            composed(outer.reach, self.reach),
            self.biased or outer.biased,
            lambda: _composed_weight(outer, self, tuple(axes)),
            lambda: outer.bias + _times(outer, self.bias) if self.biased else outer.bias,
        )

    def plus(self, other: Convolution, sign: float, extents: Sequence[int | None]) -> Convolution | None:
        """The sum with `sign` times another one of the same input, whose spatial extents (None: not known) are given.

        None where the two do not give values of one shape.
        """
        axes = self._joined_axes(other, extents)
        if axes is None or self.outputs != other.outputs:
            return None
        reach = np.stack(
            [np.minimum(self.reach[:, 0], other.reach[:, 0]), np.maximum(self.reach[:, 1], other.reach[:, 1])], axis=1
        )

        parts = ((self, slice(None), 1.0), (other, slice(None), sign))
        return Convolution(
            self.inputs,
            axes,
            reach,
            self.biased or other.biased,
            lambda: _laid_out(parts, reach, axes),
            lambda: self.bias + sign * other.bias,
        )

    def stacked(self, other: Convolution, extents: Sequence[int | None]) -> Convolution | None:
        """The outputs of this one followed by those of another one of the same input (see `plus`)."""
        axes = self._joined_axes(other, extents)
        if axes is None:
            return None
        reach = np.concatenate([self.reach, other.reach])

        parts = ((self, slice(0, self.outputs), 1.0), (other, slice(self.outputs, None), 1.0))
        return Convolution(
            self.inputs,
            axes,
            reach,
            self.biased or other.biased,
            lambda: _laid_out(parts, reach, axes),
            lambda: np.concatenate([self.bias, other.bias]),
        )

    def rows(self, index: Integers) -> Convolution:
        """The outputs number `index` of this one."""
        return Convolution(
            self.inputs,
            self.axes,
            self.reach[index],
            self.biased,
            lambda: (self.weight[index], self.starts[index]),
            lambda: self.bias[index],
        )

    def scaled(self, factor: float) -> Convolution:
        return Convolution(
            self.inputs,
            self.axes,
            self.reach,
            self.biased,
            lambda: (factor * self.weight, self.starts),
            lambda: factor * self.bias,
        )

    def _joined_axes(self, other: Convolution, extents: Sequence[int | None]) -> Axes | None:
        if self.inputs != other.inputs or len(self.axes) != len(other.axes):
            return None
        axes = []
        for mine, theirs, extent in zip(self.axes, other.axes, extents, strict=True):
            axis = mine.joined(theirs, extent)
            if axis is None:
                return None
            axes.append(axis)
        return tuple(axes)

    def _places(self, axes: Axes) -> tuple[slice, ...]:
        """Where the weight stands in one with the taps of `axes`."""
        own = (mine.embedded(axis) for mine, axis in zip(self.axes, axes, strict=True))
        return (slice(None), slice(None), *own)


def _laid_out(parts: Sequence[tuple[Convolution, slice, float]], reach: Reach, axes: Axes) -> Aligned:
    """One weight of all parts, each times its factor in its rows, where the windows have the taps of `axes`."""
    inputs = parts[0][0].inputs
    group = group_of(reach, inputs)
    starts = starts_of(inputs, len(reach), group)
    total = np.zeros((len(reach), inputs // group, *(axis.kernel for axis in axes)))
    for part, rows, factor in parts:
        own = realigned(part.weight, part.starts, starts[rows], total.shape[1])
        total[(rows, *part._places(axes)[1:])] += factor * own
    return total, starts


def _times(outer: Convolution, values: FloatArray) -> FloatArray:
    """`outer` without its bias, of an input that has the same value in every place of a channel."""
    matrix = outer.weight.reshape(outer.outputs, outer.inputs // outer.group, -1).sum(axis=2)
    columns = np.repeat(values.reshape(outer.group, -1), outer.outputs // outer.group, axis=0)
    total: FloatArray = (matrix * columns).sum(axis=1)
    return total


def _composed_weight(outer: Convolution, inner: Convolution, axes: Axes) -> Aligned:
    first, second, group = inner.weight, outer.weight, math.gcd(inner.group, outer.group)
    inner_is_diagonal = inner.group == inner.inputs == inner.outputs
    outer_is_diagonal = outer.group == outer.inputs == outer.outputs
    if outer_is_diagonal:
        group = inner.group
    elif inner_is_diagonal:
        group = outer.group
        per_group = first.reshape(group, 1, -1, *first.shape[2:])
        rows = np.broadcast_to(per_group, (group, outer.outputs // group, *per_group.shape[2:]))
        first = rows.reshape(outer.outputs, -1, *first.shape[2:])
    else:
        first = realigned(
            first, inner.starts, starts_of(inner.inputs, inner.outputs, group), inner.inputs // group
        ).reshape(group, inner.outputs // group, -1)
        second = realigned(second, outer.starts, starts_of(outer.inputs, outer.outputs, group), outer.inputs // group)
    width = inner.inputs // group
    total = np.zeros((outer.outputs, width, *(axis.kernel for axis in axes)))
    spans = [own.places(axis) for own, axis in zip(inner.axes, axes, strict=True)]
    paces = [
        other.places(axis, own.stride).step or 1
        for own, other, axis in zip(inner.axes, outer.axes, axes, strict=True)
    ]  # fmt: skip
    for place, tap in enumerate(itertools.product(*(range(axis.kernel) for axis in outer.axes))):
        places = tuple(
            slice(index * pace, index * pace + span.stop, span.step)
            for index, pace, span in zip(tap, paces, spans, strict=True)
        )
        factor = second.reshape(*second.shape[:2], -1)[:, :, place]
        if outer_is_diagonal or inner_is_diagonal:
            term = factor.reshape(factor.shape + (1,) * len(axes)) * first
        else:
            blocks = factor.reshape(group, outer.outputs // group, -1)
            term = np.matmul(blocks, first).reshape(outer.outputs, width, *inner.taps)
        total[(slice(None), slice(None), *places)] += term
    return total, starts_of(inner.inputs, outer.outputs, group)
