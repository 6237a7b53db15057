"""Units: nodes that a runtime runs as one, which affines must leave as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxnorm.affine.interface import Answer, Cause, Choice, Constant, Declined, Edit, Settled
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code

__all__ = ["Units"]

# What to do about it, where something can be done.
_ADVICE = {"a dynamic quantization": "; fold the float model before it is quantized"}


@dataclass(frozen=True)
class Units:
    """The units of a model.

    Attributes:
        inner: nodes that stay as they are, each with the name of its unit.
        outer: nodes by which a unit ends or begins, each with the name of its unit: their constants may take other
            values, but keep their shapes, and the nodes stay.
        biases: nodes that a runtime runs as part of the product before them. Nothing is gained where they go.
        products: nodes that a merge would take away from their unit.
        companions: normalizations that a runtime runs in one loop with their neighbours. A new node in place of one
            would run by itself.
    """

    inner: Mapping[ir.Node, str] = field(default_factory=dict)
    outer: Mapping[ir.Node, str] = field(default_factory=dict)
    biases: frozenset[ir.Node] = frozenset()
    products: frozenset[ir.Node] = frozenset()
    companions: frozenset[ir.Node] = frozenset()

    def stays(self, node: ir.Node) -> bool:
        """Whether nothing is gained where the affine of the node goes, since the node costs nothing by itself."""
        return node in self.inner or node in self.outer or node in self.biases

    def limit(self, node: ir.Node, answer: Answer, facts: Facts) -> Answer:
        """Limit the answer of the node's rule to the ways that leave its unit whole; Declined where there are none."""
        unit = self.inner.get(node) or self.outer.get(node)
        if unit is None or isinstance(answer, Declined):
            return answer
        ways = answer.ways if isinstance(answer, Choice) else (answer,)
        left = tuple(way for way in ways if node in self.outer and _keeps_form(node, way, facts))
        if not left:
            reason = f"belongs to {unit}, which runtimes run as one node{_ADVICE.get(unit, '')}"
            return Declined(reason, Cause.ANYTHING, code=Code.RUNTIME_UNIT)
        return left[0] if len(left) == 1 else Choice(left)


def _keeps_form(node: ir.Node, way: Settled, facts: Facts) -> bool:
    edit = way.edit
    if edit is None:
        return True
    if edit.removed or edit.op_type not in (None, node.op_type) or len(edit.inputs) != len(node.inputs):
        return False
    return all(_keeps_shape(node, index, edit, facts) for index in range(len(edit.inputs)))


def _keeps_shape(node: ir.Node, index: int, edit: Edit, facts: Facts) -> bool:
    new = edit.inputs[index]
    if not isinstance(new, Constant):
        return new == index
    old, made = facts.constant(node.inputs[index]), new.compute()
    return old is not None and old.shape == getattr(made, "shape", None)
