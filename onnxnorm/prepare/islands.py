"""Finds nodes that could compute in a type of two bytes, and to which no value of that type comes or goes.

Before: InstanceNormalization -> Cast -> Mul -> Add -> Cast -> InstanceNormalization. After: the same without the casts,
Mul and Add in float32. Such nodes are cheap ones alone: what takes time in float32 is worth its casts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.prepare.bodies import is_control_flow

__all__ = ["islands"]

_FLOAT = ir.DataType.FLOAT
_CHEAP = frozenset(
    ["Abs", "Add", "And", "ArgMax", "ArgMin", "Ceil", "Clip", "Concat", "Cos", "Div", "Elu", "Equal", "Erf", "Exp",
     "Expand", "Flatten", "Floor", "Gather", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
     "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg",
     "NonZero", "PRelu", "Pad", "Pow", "Reciprocal", "Relu", "Reshape", "Round", "Selu", "Shape", "Sigmoid", "Sign",
     "Sin", "Size", "Slice", "Softplus", "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh",
     "ThresholdedRelu", "Tile", "Transpose", "Unsqueeze", "Where"]
)  # fmt: skip


def islands(half: Collection[ir.Node], facts: Facts) -> set[ir.Node]:
    """Return those of the nodes to be converted that stand among nodes alone that are not."""
    cheap = {node for node in half if is_standard(node) and node.op_type in _CHEAP}
    found: set[ir.Node] = set()
    seen: set[ir.Node] = set()
    for start in cheap:
        if start in seen:
            continue
        group, waiting = {start}, [start]
        while waiting:
            for other in _neighbours(waiting.pop(), facts):
                if other in cheap and other not in group:
                    group.add(other)
                    waiting.append(other)
        seen |= group
        if _stands_apart(group, half, facts):
            found |= group
    return found


def _neighbours(node: ir.Node, facts: Facts) -> Iterator[ir.Node]:
    for value in _read(node, facts):
        if (maker := value.producer()) is not None:
            yield maker
    for value in node.outputs:
        if value.dtype is _FLOAT:
            yield from value.consumers()


def _read(node: ir.Node, facts: Facts) -> list[ir.Value]:
    return [
        value for value in node.inputs if value is not None and value.dtype is _FLOAT and not facts.is_constant(value)
    ]


def _stands_apart(group: set[ir.Node], half: Collection[ir.Node], facts: Facts) -> bool:
    """Whether float32 comes to the group, and nothing else, and nothing but float32 is asked of it."""
    makers = {value.producer() for node in group for value in _read(node, facts)} - group
    makers = {maker for maker in makers if maker is None or not _makes_either(maker)}
    made = [value for node in group for value in node.outputs if value.dtype is _FLOAT]
    users = {user for value in made for user in value.consumers()} - group
    if not (makers or users) or any(value.is_graph_output() for value in made):
        return False
    return not any(other is None or other in half or is_control_flow(other) for other in (*makers, *users))


def _makes_either(node: ir.Node) -> bool:
    """Whether the node is a Cast, which makes one type as well as the other."""
    return is_standard(node) and node.op_type == "Cast"
