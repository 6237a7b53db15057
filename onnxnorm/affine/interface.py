"""The interface between solver and rules: a site is what a rule sees, an answer is what it says.

A rule is asked about one node of which some wires (inputs and outputs) carry a gauge, that is: are to be replaced by an
affine of themselves. It answers with the edit that makes the node compute the same in the new terms, and with gauges
that it demands on further wires. It looks at nothing but its node and changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, FloatArray, Gauge
from onnxnorm.graph.facts import Dim, Facts, within_reach
from onnxnorm.journal.reasons import Code

__all__ = ["Answer", "Cause", "Choice", "Constant", "Declined", "Demands", "Edit", "Rule", "Scaling", "Settled", "Site"]

Demands: TypeAlias = "tuple[tuple[ir.Value, Gauge], ...]"


@dataclass(frozen=True, eq=False)
class Scaling:
    """An array times a float64 array that broadcasts to it."""

    array: npt.NDArray[np.generic]
    factors: FloatArray


@dataclass(frozen=True, eq=False)
class Constant:
    """A new constant operand.

    `compute` gives it in float64 and is called once the whole region is settled; it is rounded once, to `dtype`.
    For a large weight that is only scaled it may give a `Scaling`, which is computed block by block.
    `channel_axis` is the axis whose slices must each keep their accuracy (None: the tensor as a whole).
    `old` is the value it takes the place of, whose name it inherits where nobody else reads that.
    """

    role: str
    compute: Callable[[], npt.NDArray[np.generic] | Scaling]
    dtype: ir.DataType
    channel_axis: int | None = None
    old: ir.Value | None = None


@dataclass(frozen=True, eq=False)
class Edit:
    """An edit: what becomes of a node.

    `inputs` are indices of its present inputs, new constants, or None for a left-out one.
    """

    inputs: tuple[int | Constant | None, ...]
    op_type: str | None = None
    attributes: Mapping[str, ir.Attr | None] = field(default_factory=dict)
    removed: bool = False
    cost: int = 0
    what: str = ""


@dataclass(frozen=True, eq=False)
class Settled:
    """The answer that the node can go along: by `edit` (None: it stays as it is), if these wires carry these gauges.

    `blind`: it looks at no element of its inputs, so it makes no difference to it what they hold.
    """

    edit: Edit | None = None
    demands: Demands = ()
    blind: bool = False


@dataclass(frozen=True, eq=False)
class Choice:
    """The answer that several ways are exact; the solver takes the first that leads to an end."""

    ways: tuple[Settled, ...]


class Cause(enum.Enum):
    """The one property of an affine that stood in the way, where it is one alone, whatever the numbers."""

    UNKNOWN = "unknown"
    ANYTHING = "anything"
    SHIFT = "shift"
    NEGATIVE = "negative"


@dataclass(frozen=True)
class Declined:
    """The answer that the node cannot go along; `reason` continues the sentence "node X ...", `code` gives its kind."""

    reason: str
    cause: Cause = Cause.UNKNOWN
    code: Code = Code.OPERATOR


Answer: TypeAlias = "Settled | Choice | Declined"
Rule: TypeAlias = "Callable[[Site], Answer]"


@dataclass(frozen=True, eq=False)
class Site:
    """The site of a rule: one node with the gauges of its wires, and what is known about its operands."""

    node: ir.Node
    gauges: Mapping[ir.Value, Gauge]
    facts: Facts

    def input(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def output(self, index: int = 0) -> ir.Value:
        return self.node.outputs[index]

    def gauge_in(self, index: int) -> Gauge | None:
        value = self.input(index)
        return None if value is None else self.gauges.get(value)

    def gauge_out(self, index: int = 0) -> Gauge | None:
        return self.gauges.get(self.output(index))

    def constant(self, index: int) -> npt.NDArray[np.generic] | None:
        return self.facts.constant(self.input(index))

    def constant64(self, index: int) -> FloatArray | None:
        array = self.constant(index)
        return None if array is None else np.asarray(array, np.float64)

    def dequantized64(self, index: int) -> FloatArray | None:
        """Return the constant of an input as `constant64` does, also where it stands behind a DequantizeLinear."""
        array = self.facts.dequantized(self.input(index))
        return None if array is None else np.asarray(array, np.float64)

    def shape_in(self, index: int) -> tuple[Dim, ...] | None:
        value = self.input(index)
        return None if value is None else within_reach(self.facts.shape(value))

    def shape_out(self, index: int = 0) -> tuple[Dim, ...] | None:
        return within_reach(self.facts.shape(self.output(index)))

    def dtype(self, index: int) -> ir.DataType:
        """Return the element type of a constant input, from which its replacement takes it."""
        value, array = self.input(index), self.constant(index)
        if value is not None and value.dtype is not None:
            return value.dtype
        assert array is not None
        return ir.DataType.from_numpy(array.dtype)

    def value_dtype(self, index: int) -> ir.DataType:
        """Return the element type of an input, constant or not."""
        value = self.input(index)
        return ir.DataType.FLOAT if value is None or value.dtype is None else value.dtype

    def integer(self, name: str, default: int) -> int:
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()

    def integers(self, name: str) -> tuple[int, ...] | None:
        attribute = self.node.attributes.get(name)
        return None if attribute is None else tuple(attribute.as_ints())

    def number(self, name: str, default: float) -> float:
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_float()

    def text(self, name: str, default: str) -> str:
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_string()

    @property
    def opset(self) -> int:
        return self.facts.opset(self.node)

    def demand(self, value: ir.Value, gauge: Gauge) -> Demands:
        """State the demand that `value` carries `gauge`.

        It is empty where it does already, or where the value may stay as it is.
        """
        present = self.gauges.get(value)
        if (present is None and gauge.is_identity) or (present is not None and present.same_as(gauge)):
            return ()
        return ((value, gauge),)

    def before(self, index: int, rank: int) -> ChannelAffine | None:
        """Return the old input in terms of the new one; None where that cannot be had."""
        gauge = self.gauge_in(index)
        return ChannelAffine.identity(rank) if gauge is None else gauge.to_old

    def after(self, rank: int, index: int = 0) -> ChannelAffine | None:
        """Return the new output in terms of the old one; None where that cannot be had."""
        gauge = self.gauge_out(index)
        return ChannelAffine.identity(rank) if gauge is None else gauge.to_new
