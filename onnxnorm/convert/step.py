"""Follows a node on its way across one version of its operator, and does to it there what may be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused
from onnxnorm.graph.facts import Dim, Facts

__all__ = ["Change", "Step"]


@dataclass(frozen=True)
class Step:
    """A node on its way across one version of its operator.

    Attributes:
        up: whether it goes to that version, or to the one before.
        opset: where it goes in the end.
        notes: what a step tells the ones that come after it.
    """

    node: ir.Node
    facts: Facts
    up: bool
    opset: int
    notes: set[str] = field(default_factory=set)

    def whole(self, name: str, default: int) -> int:
        attribute = self.node.attributes.get(name)
        return default if attribute is None or attribute.is_ref() else attribute.as_int()

    def word(self, name: str, default: str) -> str:
        attribute = self.node.attributes.get(name)
        return default if attribute is None or attribute.is_ref() else attribute.as_string()

    def wholes(self, name: str, default: Sequence[int]) -> list[int]:
        attribute = self.node.attributes.get(name)
        return list(default if attribute is None or attribute.is_ref() else attribute.as_ints())

    def operand(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def known(self, index: int) -> npt.NDArray[np.generic] | None:
        """Return the array that a constant operand holds."""
        value = self.operand(index)
        return None if value is None else self.facts.constant(value)

    def shape(self, index: int = 0) -> Sequence[Dim] | None:
        value = self.operand(index)
        return None if value is None else self.facts.shape(value)

    def rank(self, index: int = 0) -> int | None:
        value = self.operand(index)
        return None if value is None else self.facts.rank(value)

    def dtype(self, index: int = 0) -> ir.DataType | None:
        value = self.operand(index)
        return None if value is None else value.dtype

    def reads_beyond(self, count: int) -> bool:
        """Tell whether anything reads the results after the first `count`."""
        return any(output.uses() or output.is_graph_output() for output in self.node.outputs[count:])

    def constant(self, values: object, dtype: ir.DataType, what: str) -> ir.Value:
        graph = self.node.graph
        assert graph is not None
        name = self.facts.fresh_name(f"{self.node.name or self.node.op_type}_{what}")
        return add_constant(graph, name, np.array(values).astype(dtype.numpy()), dtype, self.facts)

    def put(self, index: int, value: ir.Value | None) -> None:
        """Make the value that operand of the node."""
        if len(self.node.inputs) <= index:
            self.node.resize_inputs(index + 1)
        old = self.node.inputs[index]
        self.node.replace_input_with(index, value)
        drop_if_unused(old, self.facts)

    def cut(self, count: int) -> None:
        """Leave the node its first `count` operands."""
        dropped = self.node.inputs[count:]
        if dropped:
            self.node.resize_inputs(count)
        for value in dropped:
            drop_if_unused(value, self.facts)

    def insert(self, node: ir.Node, *, after: bool = False) -> ir.Value:
        """Put a node before this one, or behind; its result gets a name."""
        graph, output = self.node.graph, node.outputs[0]
        assert graph is not None
        output.name = self.facts.fresh_name(f"{self.node.name or self.node.op_type}_{node.op_type.lower()}")
        node.name = output.name
        (graph.insert_after if after else graph.insert_before)(self.node, node)
        return output

    def follow(self, op_type: str, operands: Sequence[ir.Value], attributes: Mapping[str, ir.Attr]) -> None:
        """Put a node behind this one that takes its result and `operands`; its result gets the name and the readers."""
        y = self.node.outputs[0]
        behind = ir.Node("", op_type, [y, *operands], list(attributes.values()))
        again = self.insert(behind, after=True)
        again.type, again.shape = y.type, y.shape
        y.replace_all_uses_with(again, replace_graph_outputs=True)
        behind.replace_input_with(0, y)
        y.name, again.name, y.shape = again.name, y.name, None


Change: TypeAlias = Callable[[Step], "bool | str"]
"""A change that rewrites the node if need be, and tells whether it means the same on the other side, or why not."""
