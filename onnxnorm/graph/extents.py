"""Tells which extents of values are the same at every inference, and which small integers are computed from them.

An extent is an integer, or it is told by where it comes from: an axis of a value that no operator here explains. Two
extents that come from the same place are equal, whatever names the model gives them: no runtime holds a caller to
these names. The elements of shapes, and of what is computed from shapes, are told in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts

__all__ = ["INTEGERS", "Elements", "Extent", "Extents", "Place", "ints_of", "wrapped"]

Place: TypeAlias = "tuple[ir.Value, int]"
Extent: TypeAlias = "int | Place"

_MOST_ELEMENTS = 64
INTEGERS = frozenset({ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL})


@dataclass(frozen=True)
class Elements:
    """The known elements of an integer or boolean scalar or vector; None among the items for an unknown one."""

    is_scalar: bool
    items: tuple[Extent | None, ...]

    @property
    def known(self) -> tuple[int, ...] | None:
        """All items, where each is an integer; else None."""
        numbers = tuple(item for item in self.items if isinstance(item, int))
        return numbers if len(numbers) == len(self.items) else None


class Extents:
    """Extents and elements of the values of one model; what is noted holds while values keep their meaning."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._dims: dict[ir.Value, tuple[Extent, ...]] = {}
        self._elements: dict[ir.Value, Elements | None] = {}

    def note(
        self, value: ir.Value, *, dims: tuple[Extent, ...] | None = None, elements: Elements | None = None
    ) -> None:
        """Write down what was found out about the value."""
        if dims is not None:
            self._dims[value] = dims
        if elements is not None:
            self._elements[value] = elements

    def of(self, value: ir.Value | None) -> tuple[Extent, ...] | None:
        """Return the extents of the value; None where its rank is not known."""
        if value is None:
            return None
        known = self._dims.get(value)
        if known is not None:
            return known
        shape = self.facts.shape(value)
        if shape is None:
            return None
        return tuple(dim if isinstance(dim, int) else (value, axis) for axis, dim in enumerate(shape))

    def elements(self, value: ir.Value | None) -> Elements | None:
        """Return the known elements of a small integer or boolean scalar or vector; None for any other value."""
        if value is None:
            return None
        if value in self._elements:
            return self._elements[value]
        found = None
        dims = self.facts.shape(value) if value.dtype in INTEGERS else None
        if dims is not None and len(dims) <= 1 and all(isinstance(dim, int) and dim <= _MOST_ELEMENTS for dim in dims):
            array = self.facts.constant(value)
            if array is not None and array.ndim <= 1 and array.size <= _MOST_ELEMENTS:
                found = Elements(array.ndim == 0, tuple(int(item) for item in array.ravel()))
        self._elements[value] = found
        return found

    def request(self, node: ir.Node) -> tuple[Extent | None, ...] | None:
        """Return the elements of the second input, a vector such as the shape that Reshape is asked for."""
        found = self.elements(node.inputs[1]) if len(node.inputs) > 1 else None
        return None if found is None or found.is_scalar else found.items


def ints_of(node: ir.Node, index: int, attribute: str, facts: Facts) -> tuple[int, ...] | None:
    """Return axes and the like: the input of that number, or in older opsets the attribute.

    It is empty where neither is there.

    None where the input is no constant.
    """
    if len(node.inputs) > index and (value := node.inputs[index]) is not None:
        array = facts.constant(value)
        if array is None or array.dtype.kind not in "iu" or array.size > _MOST_ELEMENTS:
            return None
        return tuple(int(item) for item in np.asarray(array).ravel())
    found = node.attributes.get(attribute)
    if found is None:
        return ()
    if found.is_ref():
        return None
    return tuple(found.as_ints()) if found.type is ir.AttributeType.INTS else (found.as_int(),)


def wrapped(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return the axes counted from the front."""
    return tuple(axis + rank if axis < 0 else axis for axis in axes)
