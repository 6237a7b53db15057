"""Describes one node while a region is read: the forms of its operands, its constants, its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.journal.words import naming_value, say
from onnxnorm.recognize.form import Form, constant_like
from onnxnorm.recognize.monomials import Unreadable

__all__ = ["ReadSite", "extents_of"]

_LARGEST_CONSTANT = 2**24


def extents_of(shape: tuple[Dim, ...]) -> dict[int, int]:
    """Return the axes of X whose extent is known, with the extent."""
    return {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, int)}


@dataclass(frozen=True, eq=False)
class ReadSite:
    """A node, what is known of the values before it, and the shape of X."""

    node: ir.Node
    forms: Mapping[ir.Value, Form]
    facts: Facts
    shape: tuple[Dim, ...]
    extents: Mapping[int, int]

    def value(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def form(self, index: int = 0, *, stacked: bool = False) -> Form:
        """Return the operand as a formula in X; parts put side by side only where `stacked` allows for them."""
        value = self.value(index)
        found = None if value is None else self.forms.get(value)
        if found is None:
            raise Unreadable("an operand that is no part of it")
        if not stacked and found.is_stacked:
            raise Unreadable("parts that were put side by side")
        return found

    def forms_of_all(self) -> list[Form]:
        """Return the forms of all operands, constants among them."""
        known = [None if value is None else self.forms.get(value) for value in self.node.inputs]
        first = next((form for form in known if form is not None), None)
        if first is None:
            raise Unreadable("no operand that is part of it")
        if any(form.is_stacked for form in known if form is not None):
            raise Unreadable("parts that were put side by side")
        # A constant is laid out along the operand of the highest rank.
        widest = max((form for form in known if form is not None), key=lambda form: len(form.layout))
        return [
            form if form is not None else constant_like(self._needed(index), widest, self.extents)
            for index, form in enumerate(known)
        ]

    def constant(self, index: int) -> npt.NDArray[np.generic] | None:
        """Return a constant operand, None where it is left out."""
        return None if self.value(index) is None else self._needed(index)

    def _needed(self, index: int) -> npt.NDArray[np.generic]:
        value = self.value(index)
        if value is not None and self.facts.elements(value) > _LARGEST_CONSTANT:
            raise Unreadable("a constant too large for a scale or a bias")
        array = self.facts.constant(value)
        if array is None:
            assert value is not None
            if self.facts.overridable(value) or (value.is_graph_input() and not value.is_initializer()):
                raise Unreadable(say("{} is an input of the graph, no constant", naming_value(value)))
            raise Unreadable(say("{} is not constant", naming_value(value)))
        return array

    def number(self, index: int) -> float:
        array = self.constant(index)
        if array is None or array.size != 1 or array.ndim > 1:
            raise Unreadable("a constant that is no single number")
        return float(np.asarray(array, np.float64).reshape(()))

    def integers(self, index: int, name: str) -> tuple[int, ...] | None:
        """Return whole numbers from an operand, or from the attribute that came before it."""
        if self.value(index) is not None:
            array = self.constant(index)
            return None if array is None else tuple(int(entry) for entry in np.ravel(array))
        return self.ints(name)

    def ints(self, name: str) -> tuple[int, ...] | None:
        attribute = self._attribute(name)
        return None if attribute is None else tuple(attribute.as_ints())

    def whole(self, name: str, default: int) -> int:
        attribute = self._attribute(name)
        return default if attribute is None else attribute.as_int()

    def real(self, name: str, default: float) -> float:
        attribute = self._attribute(name)
        return default if attribute is None else attribute.as_float()

    def text(self, name: str, default: str) -> str:
        attribute = self._attribute(name)
        return default if attribute is None else attribute.as_string()

    def _attribute(self, name: str) -> ir.Attr | None:
        attribute = self.node.attributes.get(name)
        if attribute is not None and attribute.is_ref():
            raise Unreadable("an attribute that a function's caller gives")
        return attribute

    @property
    def opset(self) -> int:
        return self.facts.opset(self.node)
