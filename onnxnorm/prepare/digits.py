"""Finds nodes that need more digits than a type of two bytes has, whatever the sizes of their values.

Two kinds: what a normalization that is written out does between its tensor and what is normalized, since sums of
squares lose digits; and what makes the angles of a Sin or a Cos of positions, since neighbouring positions become one
number from 2048 (float16) or 256 (bfloat16) on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.idioms import Kind
from onnxnorm.idioms.normalizations import written_out_normalizations

__all__ = ["needing_digits"]

_SQUARED_SUMS = frozenset({"ReduceL2", "ReduceSumSquare"})
_SUMS = frozenset({"ReduceMean", "ReduceSum", "GlobalAveragePool"})
_AFTER_STATISTICS = frozenset({"Add", "Clip", "Div", "Max", "Pow", "Reciprocal", "Sqrt", "Sub"})
_OF_POSITIONS = frozenset(
    ["Add", "Concat", "Div", "Einsum", "Expand", "Flatten", "Gather", "Identity", "MatMul", "Mul", "Neg", "Range",
     "Reshape", "Slice", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze"]
)  # fmt: skip
_MOST_BACK = 64
_NORMS = {Kind.LAYER_NORM: "a layer normalization", Kind.RMS_NORM: "an RMS normalization"}


def needing_digits(graphs: Iterable[ir.Graph], facts: Facts, name: str) -> dict[ir.Node, str]:
    """Return the nodes that need the digits of float32, each with the reason; `name` is that of the other type."""
    found: dict[ir.Node, str] = {}
    angles = f"it makes angles of positions, and {name} does not tell large positions apart"
    for graph in graphs:
        found.update(dict.fromkeys(_statistics(graph, facts), _told("a normalization", name)))
        for idiom in written_out_normalizations(graph, facts):
            # Between two casts runtimes find these nodes again, and make one of them with gamma and beta behind.
            found.update(dict.fromkeys(idiom.nodes, _told(_NORMS[idiom.kind], name)))
        found.update(dict.fromkeys(_angles(graph, facts), angles))
    return found


def _told(normalization: str, name: str) -> str:
    return f"the statistics of {normalization}, which is written out, would lose digits in {name}"


def _statistics(graph: ir.Graph, facts: Facts) -> Iterator[ir.Node]:
    """Yield the nodes that sum squares, and those that go on with the sums as far as constants alone come in."""
    for node in graph:
        if not is_standard(node) or not node.inputs or node.inputs[0] is None:
            continue
        maker = node.inputs[0].producer()
        if node.op_type in _SQUARED_SUMS:
            yield node
        elif node.op_type in _SUMS and maker is not None and _squares(maker, facts):
            yield maker
            yield node
        else:
            continue
        current = node
        while len(users := current.outputs[0].consumers()) == 1:
            (user,) = users
            dynamic = [value for value in user.inputs if value is not None and not facts.is_constant(value)]
            if user.op_type not in _AFTER_STATISTICS or not is_standard(user) or len(dynamic) != 1:
                break
            yield user
            current = user


def _squares(node: ir.Node, facts: Facts) -> bool:
    if node.op_type == "Mul":
        return node.inputs[0] is node.inputs[1]
    exponent = facts.constant(node.inputs[1]) if node.op_type == "Pow" else None
    return exponent is not None and bool(np.all(exponent == 2))


def _angles(graph: ir.Graph, facts: Facts) -> Iterator[ir.Node]:
    """Yield each Sin and Cos of what integers and constants alone make, with the nodes that make it."""
    for node in graph:
        if is_standard(node) and node.op_type in ("Sin", "Cos"):
            made = _from_positions(node, facts)
            if made is not None:
                yield from made


def _from_positions(node: ir.Node, facts: Facts) -> set[ir.Node] | None:
    """Return the node and what makes its operand from integers; None where something else comes in, or none do."""
    found, waiting, integers = {node}, list(node.inputs), False
    while waiting:
        value = waiting.pop()
        if value is None or value.dtype is not ir.DataType.FLOAT or facts.is_constant(value):
            continue
        maker = value.producer()
        if maker is None or not is_standard(maker) or len(found) > _MOST_BACK:
            return None
        if maker.op_type == "Cast" and maker.inputs[0] is not None and maker.inputs[0].dtype is not None:
            if not maker.inputs[0].dtype.is_integer():
                return None
            integers = True
        elif maker.op_type not in _OF_POSITIONS:
            return None
        elif maker not in found:
            waiting.extend(maker.inputs)
        found.add(maker)
    return found if integers else None
