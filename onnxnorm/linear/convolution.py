"""The algebra of convolutions: sums, compositions and parts of convolutions as one convolution.

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

Geometry is known at once; weights are computed in float64 when somebody asks for them, some outputs at a time where all
of them together would take more memory than there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnxnorm.linear.axis import AnyAxis, Axis, TransposedAxis
from onnxnorm.linear.channels import (
    FloatArray,
    Integers,
    Reach,
    composed,
    group_of,
    reach_of_groups,
    realigned,
    starts_of,
)
from onnxnorm.linear.weights import Aligned, Composition, laid_out, times
from onnxnorm.numerics.arrays import check_size

__all__ = ["Axes", "Convolution"]

Axes: TypeAlias = "tuple[AnyAxis, ...]"
# Elements: few enough for 16 MB in float64, and enough for a product of matrices to be as fast as it is for all rows.
_BLOCK = 2**21


@dataclass(frozen=True, eq=False)
class Convolution:
    """A linear map from `inputs` to `len(reach)` channels, and a bias.

    Attributes:
        axes: the geometry of each spatial axis.
        reach: which inputs each output may depend on (see channels.py).
        biased: whether the bias may differ from zero.
        make_weight: gives the rows of the given numbers of a float64 weight, and where they start.
        make_bias: gives the float64 bias, shape (outputs,).
    """

    inputs: int
    axes: Axes
    reach: Reach
    biased: bool
    make_weight: Callable[[Integers], Aligned]
    make_bias: Callable[[], FloatArray]

    @classmethod
    def of(cls, weight: npt.ArrayLike, bias: npt.ArrayLike | None, group: int, axes: Axes) -> Convolution:
        """Make a convolution from a weight of shape (outputs, inputs / group, taps...) and a bias (outputs,)."""
        kernel = np.asarray(weight)
        return cls.later(kernel.shape[:2], lambda rows: np.asarray(kernel[rows], np.float64), bias, group, axes)

    @classmethod
    def later(
        cls,
        shape: tuple[int, ...],
        make_rows: Callable[[Integers], FloatArray],
        bias: npt.ArrayLike | None,
        group: int,
        axes: Axes,
    ) -> Convolution:
        """Make a convolution as `of` does, from a weight's first two extents.

        Its rows are computed when they are needed.
        """
        outputs, width = shape
        shift = np.zeros(outputs) if bias is None else np.asarray(bias, np.float64)
        return cls(
            width * group,
            axes,
            reach_of_groups(width * group, outputs, group),
            bool(np.any(shift != 0.0)),
            lambda rows: (make_rows(rows), starts_of(width * group, outputs, group)[rows]),
            lambda: shift,
        )

    @classmethod
    def affine(cls, scale: FloatArray, shift: FloatArray, spatial: int) -> Convolution:
        """Make scale * x + shift, both of shape (channels,), as a convolution of single taps."""
        weight = scale.reshape((-1, 1) + (1,) * spatial)
        return cls.of(weight, shift, len(scale), (Axis(),) * spatial)

    @classmethod
    def identity(cls, channels: int, axes: Axes) -> Convolution:
        """Make the convolution that gives x itself, or (with paddings or strides) part of x, with zeros around it."""
        return cls.of(np.ones((channels, 1) + (1,) * len(axes)), None, channels, axes)

    @classmethod
    def average(cls, channels: int, axes: Axes) -> Convolution:
        """Make the convolution that gives the mean over every window, the zeros around the input counted."""
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
        """The number of entries of the weight."""
        return self.outputs * self.inputs // self.group * math.prod(self.taps)

    @property
    def work(self) -> float:
        """Multiply-adds for each element of the result."""
        return self.inputs / self.group * math.prod(axis.density() for axis in self.axes)

    @property
    def gathered(self) -> float:
        """The elements that are put together for each place of the result; single taps are read where they lie.

        A convolution gathers its inputs before it multiplies, a transposed one adds up its products.
        """
        if all(axis.pointwise for axis in self.axes):
            return 0.0
        channels = self.outputs if self.transposed else self.inputs
        return channels * math.prod(axis.density() for axis in self.axes)

    def taken(self, rows: Integers) -> FloatArray:
        """Compute the given rows of the weight (outputs, inputs / group, taps...), anew at each call."""
        weight, starts = self.make_weight(rows)
        return realigned(weight, starts, self.starts[rows], self.inputs // self.group)

    def blocks(self) -> Iterator[tuple[Integers, FloatArray]]:
        """Yield all rows of the weight, as many at a time as take little memory: their numbers and their elements."""
        count = max(1, _BLOCK * self.outputs // max(self.size, 1))
        for start in range(0, self.outputs, count):
            rows = np.arange(start, min(start + count, self.outputs))
            yield rows, self.taken(rows)

    @property
    def starts(self) -> Integers:
        """The first input of each row of the weight."""
        return starts_of(self.inputs, self.outputs, self.group)

    @cached_property
    def bias(self) -> FloatArray:
        return self.make_bias()

    def results(self, extents: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial extents of the output."""
        return tuple(axis.results(extent) for axis, extent in zip(self.axes, extents, strict=True))

    def then(self, outer: Convolution, extents: Sequence[int | None]) -> Convolution | None:
        """Return `outer` of the result of this convolution as one convolution; None where that is none.

        The spatial extents (None: not known) are those of the input of this one.
        """
        if outer.inputs != self.outputs or len(outer.axes) != len(self.axes):
            return None
        if self.biased and any(axis.pads for axis in outer.axes):
            return None
        pairs = zip(self.axes, outer.axes, extents, strict=True)
        axes = _all_or_none(mine.then(other, extent) for mine, other, extent in pairs)
        if axes is None:
            return None
        return Convolution(
            self.inputs,
            axes,
            composed(outer.reach, self.reach),
            self.biased or outer.biased,
            Composition(outer, self, axes).rows,
            lambda: outer.bias + times(outer, self.bias) if self.biased else outer.bias,
        )

    def plus(self, other: Convolution, sign: float, extents: Sequence[int | None]) -> Convolution | None:
        """Add `sign` times another convolution of the same input, whose spatial extents (None: not known) are given.

        None where the two do not give values of one shape.
        """
        axes = self._joined_axes(other, extents)
        if axes is None or self.outputs != other.outputs:
            return None
        reach = np.stack(
            [np.minimum(self.reach[:, 0], other.reach[:, 0]), np.maximum(self.reach[:, 1], other.reach[:, 1])], axis=1
        )

        parts = ((self, 0, 1.0), (other, 0, sign))
        return Convolution(
            self.inputs,
            axes,
            reach,
            self.biased or other.biased,
            lambda rows: laid_out(parts, reach, axes, rows),
            lambda: self.bias + sign * other.bias,
        )

    def stacked(self, other: Convolution, extents: Sequence[int | None]) -> Convolution | None:
        """Stack the outputs of this convolution and those of another one of the same input (see `plus`)."""
        axes = self._joined_axes(other, extents)
        if axes is None:
            return None
        reach = np.concatenate([self.reach, other.reach])

        parts = ((self, 0, 1.0), (other, self.outputs, 1.0))
        return Convolution(
            self.inputs,
            axes,
            reach,
            self.biased or other.biased,
            lambda rows: laid_out(parts, reach, axes, rows),
            lambda: np.concatenate([self.bias, other.bias]),
        )

    def rows(self, index: Integers) -> Convolution:
        """Return the convolution that gives the outputs number `index` of this one."""
        return Convolution(
            self.inputs,
            self.axes,
            self.reach[index],
            self.biased,
            lambda rows: (self.taken(index[rows]), self.starts[index[rows]]),
            lambda: self.bias[index],
        )

    def scaled(self, factor: float) -> Convolution:
        return Convolution(
            self.inputs,
            self.axes,
            self.reach,
            self.biased,
            lambda rows: (factor * self.taken(rows), self.starts[rows]),
            lambda: factor * self.bias,
        )

    def _joined_axes(self, other: Convolution, extents: Sequence[int | None]) -> Axes | None:
        if self.inputs != other.inputs or len(self.axes) != len(other.axes):
            return None
        pairs = zip(self.axes, other.axes, extents, strict=True)
        return _all_or_none(mine.joined(theirs, extent) for mine, theirs, extent in pairs)

    def places(self, axes: Axes) -> tuple[slice, ...]:
        """Locate the weight in one with the taps of `axes`."""
        own = (mine.embedded(axis) for mine, axis in zip(self.axes, axes, strict=True))
        return (slice(None), slice(None), *own)


def _all_or_none(axes: Iterable[AnyAxis | None]) -> Axes | None:
    """Return the axes; None where one of them is."""
    found: list[AnyAxis] = []
    for axis in axes:
        if axis is None:
            return None
        found.append(axis)
    return tuple(found)
