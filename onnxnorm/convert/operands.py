"""Writes operands that were attributes in older definitions the other way, in either direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.convert.step import Change, Step

__all__ = ["REDUCTIONS", "Moved", "axes_of_reduction", "axes_of_squeeze", "moved", "steps_of_one"]

REDUCTIONS = frozenset(
    f"Reduce{what}" for what in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
)


@dataclass(frozen=True)
class Moved:
    """An attribute that became an operand.

    Attributes:
        index: the place of the operand.
        kind: the type of the attribute. One number is an operand of shape (1,) where it is `INT` and a scalar where it
            is `FLOAT`, as all definitions have it.
        like_first: whether the operand has the type of the first one.
    """

    name: str
    index: int
    kind: ir.AttributeType = ir.AttributeType.INTS
    like_first: bool = False

    def to_operand(self, step: Step) -> str | None:
        given = step.node.attributes.get(self.name)
        if given is None:
            return None
        floats = self.kind in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS)
        dtype = step.dtype() if self.like_first else ir.DataType.FLOAT if floats else ir.DataType.INT64
        if given.is_ref() or dtype is None:
            return f"is told its {self.name} in a way that cannot be put into an operand"
        values = np.asarray(given.value, np.float64 if floats else np.int64)
        if self.kind is not ir.AttributeType.FLOAT:
            values = np.atleast_1d(values)
        with np.errstate(over="ignore"):
            step.put(self.index, step.constant(values, dtype, self.name))
        del step.node.attributes[self.name]
        return None

    def to_attribute(self, step: Step) -> str | None:
        if step.operand(self.index) is None:
            return None
        array = step.known(self.index)
        if array is None:
            return f"takes its {self.name} from a tensor that is no constant, in place of which it had an attribute"
        attribute = self._attribute(array)
        if attribute is None:
            return f"has {self.name} that an attribute cannot hold"
        step.node.attributes[self.name] = attribute
        return None

    def _attribute(self, array: npt.NDArray[np.generic]) -> ir.Attr | None:
        if self.kind in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS):
            values = array.astype(np.float64)
            if not np.array_equal(values.astype(np.float32), values, equal_nan=True):
                return None
            if self.kind is ir.AttributeType.FLOATS:
                return ir.AttrFloat32s(self.name, [float(value) for value in values.ravel()])
            return ir.AttrFloat32(self.name, float(values.ravel()[0])) if values.size == 1 else None
        numbers = [int(number) for number in array.ravel().tolist()]
        if self.kind is ir.AttributeType.INTS:
            return ir.AttrInt64s(self.name, numbers)
        return ir.AttrInt64(self.name, numbers[0]) if len(numbers) == 1 else None


def moved(*ones: Moved, before: Callable[[Step], str | None] | None = None) -> Change:
    """Return the change of an operator whose last operands were attributes.

    Args:
        before: a look at a node that goes down, which says why that cannot be, or makes it so that it can.
    """

    def change(step: Step) -> bool | str:
        if step.up:
            return next((why for one in ones if (why := one.to_operand(step))), True)
        if before is not None and (why := before(step)):
            return why
        if any(step.operand(index) is not None for index in range(ones[-1].index + 1, len(step.node.inputs))):
            return False
        if why := next((why for one in ones if (why := one.to_attribute(step))), None):
            return why
        step.cut(ones[0].index)
        return True

    return change


def axes_of_reduction(step: Step) -> str | None:
    """Tell why a reduction cannot go down.

    Without axes it goes over all, or over none where `noop_with_empty_axes` is set.
    """
    axes = step.known(1)
    if step.operand(1) is None or (axes is not None and axes.size == 0):
        if step.whole("noop_with_empty_axes", 0):
            return "goes over no axis, for which there was no form"
        step.cut(1)
    elif axes is not None:
        # It tells nothing of a node with axes.
        step.node.attributes.pop("noop_with_empty_axes", None)
    return None


def axes_of_squeeze(step: Step) -> str | None:
    """Tell why a Squeeze cannot go down, or None: runtimes read an empty list of axes differently."""
    axes = step.known(1)
    if axes is not None and axes.size == 0:
        return "has a list of axes that is empty, which runtimes take in different ways"
    return None


def steps_of_one(step: Step) -> str | None:
    """Tell why a Slice cannot go down: one told by attributes goes by steps of one."""
    if step.operand(4) is not None:
        known = step.known(4)
        if known is None or not np.all(known == 1):
            return "goes by steps other than one"
        step.cut(4)
    return None
