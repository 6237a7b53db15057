"""The interface of families: what each is given, and what it may answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.recognize.coefficients import Array
from onnxnorm.recognize.families.quotient import Quotient, Statistic, quotient_of, statistic_of
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.reading import Reading

__all__ = ["Answer", "Found", "Named", "Near", "Proposal", "along_axis"]


@dataclass(frozen=True, eq=False)
class Proposal:
    """The proposal of one node that computes the same.

    Attributes:
        kind: the normalization by its name in the field.
        op_type, domain: the operator; `since`: the opset that has it (of ONNX's own domain).
        constants: its further inputs by their role, in order, in the type of X.
        attributes: of the node.
        order: the axes in the order in which the node needs them; None where they may stay.
    """

    kind: str
    op_type: str
    since: int
    constants: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    attributes: Mapping[str, int | float | tuple[int, ...]] = field(default_factory=dict)
    domain: str = ""
    order: tuple[int, ...] | None = None
    flipped: bool = False


@dataclass(frozen=True)
class Named:
    """The answer that a value is this normalization, and no one node computes it, for this reason.

    Attributes:
        kind: the normalization by its name in the field.
        reason: continues "it is this normalization, but".
        of_part: the reason is about a part of it alone, whose result has another type than the tensor.
        needs_opset: the opset from which on one node computes it, where that is the reason.
    """

    kind: str
    reason: str
    of_part: bool = False
    needs_opset: int | None = None


@dataclass(frozen=True)
class Near:
    """The answer that a formula looks like this normalization and is another.

    The reason continues "looks like ..., but".
    """

    kind: str
    reason: str


Answer: TypeAlias = "Proposal | Named | Near | None"


@dataclass(frozen=True, eq=False)
class Found:
    """A value that is computed from X alone and lies as X does."""

    reading: Reading
    root: ir.Value
    poly: Poly

    @cached_property
    def quotient(self) -> Quotient | None:
        return quotient_of(self.poly)

    @cached_property
    def statistic(self) -> Statistic | None:
        return None if self.quotient is None else statistic_of(self.quotient.root)

    @cached_property
    def cone(self) -> list[ir.Node]:
        return self.reading.cone(self.root)

    @property
    def rank(self) -> int:
        return self.poly.rank

    @property
    def dtype(self) -> ir.DataType | None:
        return self.reading.x.dtype

    @property
    def opset(self) -> int:
        return self.reading.facts.opset(self.cone[0])

    @property
    def stash_type(self) -> int:
        return int(ir.DataType.DOUBLE if self.dtype is ir.DataType.DOUBLE else ir.DataType.FLOAT)

    @cached_property
    def casts(self) -> bool:
        """Whether it is computed in another type than that of X."""
        return any(
            node.op_type in ("Cast", "CastLike") and node.outputs[0].dtype is not self.dtype for node in self.cone
        )

    def extent(self, axis: int) -> int | None:
        dim = self.reading.shape[axis]
        return dim if isinstance(dim, int) else None

    def in_type(self, values: Array) -> npt.NDArray[np.generic]:
        assert self.dtype is not None
        with np.errstate(over="ignore"):
            return values.astype(self.dtype.numpy())


def along_axis(values: Array, axis: int, extent: int) -> Array:
    """Return an array that varies on one axis at most as a vector."""
    return np.broadcast_to(values.reshape(-1), (extent,)).copy()
