"""Finds attributes of standard operators that cannot be, whatever the inputs.

Runtimes do not agree on what a switch does that is neither on nor off. At the others ONNX's own shape inference, which
runtimes have in them, ends the process (onnx 1.23.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnxnorm.numerics.arrays import MAX_RANK

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["SWITCHES", "fatal", "impossible"]

SWITCHES = frozenset({
    "align_corners", "allowzero", "ceil_mode", "count_include_pad", "exclusive", "keepdims", "noop_with_empty_axes",
    "reverse", "spatial", "training_mode", "transA", "transB",
})  # fmt: skip
"""The attributes that are 0 or 1."""

_MOST_OUTPUTS = 2**16
# AttributeProto.INT, without the package onnx.
_INT = 2


def impossible(node: NodeProto) -> str | None:
    """Tell which attribute of a node of the standard domain cannot be; None where all can."""
    for name, value in _integers(node):
        if name in SWITCHES and value not in (0, 1):
            return f"has {name} = {value}, where there can be 0 or 1"
    return fatal(node)


def fatal(node: NodeProto) -> str | None:
    """Tell which attribute of the node may end the process; None where none may."""
    for name, value in _integers(node):
        if name == "group" and value < 1:
            return f"has {value} groups, where there must be at least one"
        if name == "batch_dims" and value < 0:
            return f"has batch_dims = {value}, which cannot be negative"
        if name == "num_outputs" and not len(node.output) <= value <= _MOST_OUTPUTS:
            return f"has num_outputs = {value}, and {len(node.output)} of them"
        if name == "axis" and abs(value) > MAX_RANK:
            return f"has axis = {value}, where there can be none"
    return None


def _integers(node: NodeProto) -> Iterator[tuple[str, int]]:
    for attribute in node.attribute:
        if attribute.type == _INT and not attribute.ref_attr_name:
            yield attribute.name, attribute.i
