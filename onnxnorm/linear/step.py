"""A step: what one node makes of its operands, if that is linear in them; the interface of readers and operators.

Before anything is computed, a `Step` says which operands count, what the node costs, and how the convolution that gives
its output follows from those that give its operands. Three families share the algebra: convolutions act along axis 1
and windows behind it, products (MatMul, Gemm) by a constant on the right along the last axis alone, those by a constant
on the left along the axis before it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.linear.convolution import Convolution
from onnxnorm.model.dtypes import FLOATS

__all__ = [
    "Combine",
    "Extents",
    "Family",
    "Step",
    "StepReader",
    "Weight",
    "channel_axis",
    "channels_of",
    "rank_of",
]

Extents: TypeAlias = "Sequence[int | None]"
Combine: TypeAlias = "Callable[[Sequence[Convolution], Extents], Convolution | None]"


class Family(enum.Enum):
    """The families of linear operators that merge with each other."""

    CONVOLUTION = enum.auto()
    PRODUCT = enum.auto()
    LEFT_PRODUCT = enum.auto()


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant whose shape is known and whose elements are computed only when they are needed."""

    value: ir.Value
    shape: tuple[int, ...]
    dtype: ir.DataType
    facts: Facts

    @classmethod
    def of(cls, value: ir.Value | None, facts: Facts) -> Weight | None:
        """Read the value as a weight.

        None where it is no constant of a floating-point type, is of rank below two, or has no elements.
        """
        if value is None or not facts.is_constant(value):
            return None
        shape, dtype = facts.shape(value), value.dtype
        if dtype is None or shape is None or not all(isinstance(extent, int) for extent in shape):
            array = facts.constant(value)
            if array is None:
                return None
            shape, dtype = array.shape, ir.DataType.from_numpy(array.dtype) if dtype is None else dtype
        known = tuple(extent for extent in shape if isinstance(extent, int))
        return cls(value, known, dtype, facts) if dtype in FLOATS and len(known) >= 2 and all(known) else None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_known(self) -> bool:
        """Whether the elements can be computed after all, and are as many as they are said to be."""
        array = self.facts.constant(self.value)
        return array is not None and array.shape == self.shape

    @property
    def array(self) -> npt.NDArray[np.generic]:
        """The elements in the type that they have, not copied: of a large weight only parts are taken."""
        array = self.facts.constant(self.value)
        assert array is not None
        return array


@dataclass(frozen=True, eq=False)
class Step:
    """A step: one node, seen from one of its outputs.

    Attributes:
        operands: the inputs that depend on the input of the model.
        combine: the output as a convolution, given its operands as convolutions of one source and the spatial extents
            of that source (None: not known); None where it is none.
        work: multiply-adds for each element of the output.
        weight: the constant it multiplies by, where it is a convolution or product.
        gathered: elements put together for each place of the output before they are multiplied.
        within: nodes between the operands and this one that make the output together with it, the last first.
    """

    operands: tuple[ir.Value, ...]
    combine: Combine
    work: float = 0.0
    weight: Weight | None = None
    gathered: float = 0.0
    within: tuple[ir.Node, ...] = ()


StepReader: TypeAlias = "Callable[[ir.Node, ir.Value, Family, Facts], Step | None]"


def rank_of(value: ir.Value, facts: Facts) -> int | None:
    """Return the rank of the value: from its shape, or from the weight of a convolution that reads it."""
    rank = facts.rank(value)
    if rank is None:
        weight = _weight_of_reader(value, facts)
        return None if weight is None else len(weight[0])
    return rank


def channel_axis(value: ir.Value, family: Family, facts: Facts) -> int | None:
    """Return the axis that the family mixes; None where the rank is not known or does not suit the family."""
    rank = rank_of(value, facts)
    if family is Family.CONVOLUTION:
        return None if rank is None or rank < 3 else 1
    return None if rank is None or rank < 2 else rank - (1 if family is Family.PRODUCT else 2)


def channels_of(value: ir.Value, family: Family, facts: Facts) -> int | None:
    """Return the extent of the channel axis: from the shape, or from the weight of an operator that reads the value."""
    axis, shape = channel_axis(value, family, facts), facts.shape(value)
    if axis is not None and shape is not None and axis < len(shape) and isinstance(extent := shape[axis], int):
        return extent
    weight = _weight_of_reader(value, facts) if family is Family.CONVOLUTION else None
    if weight is not None:
        return weight[1]
    if family is not Family.CONVOLUTION:
        place = 0 if family is Family.PRODUCT else 1
        for user in value.consumers():
            if user.op_type == "MatMul" and is_standard(user) and user.inputs[place] is value:
                matrix = Weight.of(user.inputs[1 - place], facts)
                if matrix is not None:
                    return matrix.shape[place - 2]
    return None


def _weight_of_reader(value: ir.Value, facts: Facts) -> tuple[tuple[int, ...], int] | None:
    """Return the shape of a convolution's weight that reads the value, and the number of channels it reads."""
    for user in value.consumers():
        if user.op_type == "Conv" and is_standard(user) and user.inputs[0] is value:
            weight = Weight.of(user.inputs[1], facts)
            if weight is not None:
                return weight.shape, weight.shape[1] * user.attributes.get_int("group", 1)
    return None
