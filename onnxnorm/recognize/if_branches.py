"""Decides an `If` whose condition is known: PyTorch's TorchScript exporter writes one around every Squeeze.

Its condition asks for an extent of the value that it squeezes, which the layout of that value answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.recognize.form import Form

__all__ = ["branch_taken", "decided", "helper_nodes"]

_MOST_NODES = 32
_OF_SHAPES = frozenset({"Cast", "Concat", "Equal", "Gather", "Reshape", "Shape", "Squeeze", "Unsqueeze"})


def branch_taken(node: ir.Node, condition: bool) -> ir.Graph | None:
    """Return the branch that an If takes on this condition; None where it is not in the node itself."""
    attribute = node.attributes.get("then_branch" if condition else "else_branch")
    if attribute is None or attribute.is_ref() or attribute.type is not ir.AttributeType.GRAPH:
        return None
    return attribute.as_graph()


def decided(
    condition: ir.Value | None, forms: Mapping[ir.Value, Form], extents: Mapping[int, int], facts: Facts
) -> bool | None:
    """Return the value of a condition, where it is known."""
    known = facts.constant(condition)
    if known is not None:
        return bool(known.all()) if known.size == 1 else None
    node = producer_of(condition)
    if node is None or node.op_type != "Equal" or not is_standard(node):
        return None
    sides = [_number(operand, forms, extents, facts) for operand in node.inputs]
    return None if None in sides else sides[0] == sides[1]


def _number(
    value: ir.Value | None, forms: Mapping[ir.Value, Form], extents: Mapping[int, int], facts: Facts
) -> int | None:
    """Return the whole number that a value holds, if it is constant or the extent of a value whose form is known."""
    known = facts.constant(value)
    if known is not None:
        return int(known.reshape(())) if known.size == 1 and np.issubdtype(known.dtype, np.integer) else None
    node = producer_of(value)
    if node is None or node.op_type != "Gather" or len(node.inputs) != 2 or node.inputs[0] is None:
        return None
    index, shape = facts.constant(node.inputs[1]), node.inputs[0].producer()
    if index is None or index.size != 1 or shape is None or shape.op_type != "Shape" or shape.attributes:
        return None
    source = shape.inputs[0] if shape.inputs else None
    form = None if source is None else forms.get(source)
    place = int(index.reshape(()))
    if form is None or not -len(form.layout) <= place < len(form.layout):
        return None
    entry, (before, after) = form.layout[place], form.padding[place]
    if not entry:
        return 1 + before + after
    return extents[entry[0]] + before + after if len(entry) == 1 and entry[0] in extents else None


def helper_nodes(values: Iterable[ir.Value | None], forms: Mapping[ir.Value, Form]) -> list[ir.Node]:
    """Return the few nodes that compute a condition or a shape from the shapes of values."""
    found: list[ir.Node] = []
    stack = [value for value in values if value is not None]
    while stack and len(found) < _MOST_NODES:
        value = stack.pop()
        producer = value.producer()
        if value in forms or producer is None or producer in found or producer.op_type not in _OF_SHAPES:
            continue
        found.append(producer)
        if producer.op_type != "Shape":
            stack.extend(operand for operand in producer.inputs if operand is not None)
    return found
