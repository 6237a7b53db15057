"""What one node makes of its operands, where that is linear in them: the interface between readers and operators.

Before anything is computed, a `Step` says which operands count, what the node costs, and how the convolution that gives
its output follows from those that give its operands. Two families share the algebra: convolutions act along axis 1 and
windows behind it, products (MatMul, Gemm) along the last axis alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm._facts import Facts
from onnxnorm.linear.convolution import Convolution

__all__ = ["FLOATS", "Combine", "Extents", "Family", "Step", "StepReader", "channel_axis", "channels_of", "rank_of"]

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

Extents: TypeAlias = "Sequence[int | None]"
Combine: TypeAlias = "Callable[[Sequence[Convolution], Extents], Convolution | None]"


class Family(enum.Enum):
    CONVOLUTION = enum.auto()
    PRODUCT = enum.auto()


@dataclass(frozen=True, eq=False)
class Step:
    """One node, seen from one of its outputs.

    Attributes:
        operands: the inputs that depend on the input of the model.
        combine: the output as a convolution, given its operands as convolutions of one source and the spatial extents
            of that source (None: not known); None where it is none.
        work: multiply-adds for each element of the output.
        weights: elements of the constants that are read at every inference.
        gathered: elements put together for each place of the output before they are multiplied.
        dtype: the element type of the weights, where there are any.
    """

    operands: tuple[ir.Value, ...]
    combine: Combine
    work: float = 0.0
    weights: int = 0
    gathered: float = 0.0
    dtype: ir.DataType | None = None

    @property
    def weighs(self) -> bool:
        """Whether this is a convolution or product with weights, not something that merely goes along with one."""
        return self.dtype is not None


StepReader: TypeAlias = "Callable[[ir.Node, ir.Value, Family, Facts], Step | None]"


def rank_of(value: ir.Value, facts: Facts) -> int | None:
    """The rank: from the shape, or from the weight of a convolution that reads the value."""
    rank = facts.rank(value)
    if rank is None:
        weight = _weight_of_reader(value, facts)
        return None if weight is None else len(weight[0])
    return rank


def channel_axis(value: ir.Value, family: Family, facts: Facts) -> int | None:
    """The axis that the family mixes; None where the rank is not known or does not suit the family."""
    rank = rank_of(value, facts)
    if family is Family.CONVOLUTION:
        return None if rank is None or rank < 3 else 1
    return None if rank is None or rank < 2 else rank - 1


def channels_of(value: ir.Value, family: Family, facts: Facts) -> int | None:
    """The extent of the channel axis: from the shape, or from the weight of who reads it."""
    axis, shape = channel_axis(value, family, facts), facts.shape(value)
    if axis is not None and shape is not None and axis < len(shape) and isinstance(extent := shape[axis], int):
        return extent
    weight = _weight_of_reader(value, facts) if family is Family.CONVOLUTION else None
    if weight is not None:
        return weight[1]
    if family is Family.PRODUCT:
        for user in value.consumers():
            if user.op_type == "MatMul" and user.domain in ("", "ai.onnx") and user.inputs[0] is value:
                matrix = facts.constant(user.inputs[1])
                if matrix is not None and matrix.ndim >= 2:
                    return int(matrix.shape[-2])
    return None


def _weight_of_reader(value: ir.Value, facts: Facts) -> tuple[tuple[int, ...], int] | None:
    """The shape of a convolution's weight that reads the value, and the number of channels it reads."""
    for user in value.consumers():
        if user.op_type == "Conv" and user.domain in ("", "ai.onnx") and user.inputs[0] is value:
            weight = facts.constant(user.inputs[1])
            if weight is not None:
                return tuple(weight.shape), int(weight.shape[1]) * user.attributes.get_int("group", 1)
    return None
