"""The table of linear operators: how each makes its output. It is the one place here that knows operators by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from onnxnorm.affine import AffineNode, affine_of, is_affine
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.operators.convolutions import WINDOWED
from onnxnorm.linear.operators.products import LEFT_PRODUCTS, PRODUCTS
from onnxnorm.linear.operators.selections import SELECTIONS
from onnxnorm.linear.step import Extents, Family, Step, StepReader, channel_axis
from onnxnorm.model.dtypes import FLOATS

__all__ = ["is_sum", "may_step", "merely_scales", "step_of"]

_SUMS = frozenset({"Add", "Sub", "Sum"})
_TABLES: Mapping[Family, Mapping[str, StepReader]] = {
    Family.CONVOLUTION: {**SELECTIONS, **WINDOWED},
    Family.PRODUCT: {**SELECTIONS, **PRODUCTS},
    Family.LEFT_PRODUCT: {**SELECTIONS, **LEFT_PRODUCTS},
}


def is_sum(node: ir.Node, facts: Facts) -> bool:
    """Whether the node adds (or subtracts) values that all depend on the input, with no rules from before opset 7."""
    return (
        node.op_type in _SUMS
        and is_standard(node)
        and len(node.inputs) > 1
        and all(value is not None and not facts.is_constant(value) for value in node.inputs)
        and facts.opset(node) >= 7
    )


def merely_scales(node: ir.Node, facts: Facts) -> bool:
    """Whether the node is an affine or an identity: something to take along, no reason to merge anything."""
    return node.op_type in ("Identity", "Dropout") or (is_affine(node) and not is_sum(node, facts))


def may_step(value: ir.Value, family: Family) -> bool:
    """Whether `step_of` may find anything: asked of every node before anything is read."""
    node = value.producer()
    return node is not None and (node.op_type in _SUMS or node.op_type in _TABLES[family] or is_affine(node))


def step_of(value: ir.Value, family: Family, facts: Facts) -> Step | None:
    """Return how the producer of `value` makes it; None where that is not linear, or not known to be."""
    node = value.producer()
    if node is None or not is_standard(node) or value.dtype not in (None, *FLOATS):
        return None
    if any(attribute.is_ref() for attribute in node.attributes.values()) or not node.inputs or node.inputs[0] is None:
        return None
    if facts.opset(node) < 7:
        return None
    if is_sum(node, facts):
        return _sum(node)
    if is_affine(node):
        return _affine(node, value, family, facts)
    read = _TABLES[family].get(node.op_type)
    return None if read is None else read(node, value, family, facts)


def _sum(node: ir.Node) -> Step:
    operands = tuple(each for each in node.inputs if each is not None)
    signs = [-1.0 if node.op_type == "Sub" and index == 1 else 1.0 for index in range(len(operands))]

    def combine(parts: Sequence[Convolution], extents: Extents) -> Convolution | None:
        total: Convolution | None = parts[0]
        for part, sign in zip(parts[1:], signs[1:], strict=True):
            total = None if total is None else total.plus(part, sign, extents)
        return total

    return Step(operands, combine, work=len(operands) - 1.0)


def _affine(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    found = affine_of(node, facts)
    if not isinstance(found, AffineNode) or found.vast:
        return None
    operand = node.inputs[found.data]
    axis = None if operand is None else channel_axis(operand, family, facts)
    if operand is None or axis is None:
        return None
    affine, rank = found.affine, facts.rank(operand)

    def combine(parts: Sequence[Convolution], extents: Extents) -> Convolution | None:
        if affine.rank != rank or affine.scale.shape[axis] not in (1, parts[0].outputs):
            return None
        vectors = affine.along_axis(axis, parts[0].outputs)
        return None if vectors is None else parts[0].then(Convolution.affine(*vectors, len(extents)), extents)

    return Step((operand,), combine, work=1.0)
