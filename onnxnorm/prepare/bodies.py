"""Tells which values inside the bodies of If, Loop and Scan have the type of which value outside.

What a body carries from round to round is left out: its type is part of what a model computes, since errors add up.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.graph.nodes import is_standard

__all__ = ["handed_in", "handed_out", "is_control_flow"]

_BRANCHES = ("then_branch", "else_branch")


def is_control_flow(node: ir.Node) -> bool:
    """Whether the node is an If, a Loop or a Scan, with bodies that fit it."""
    if not is_standard(node) or node.op_type not in ("If", "Loop", "Scan"):
        return False
    bodies = _bodies(node)
    if node.op_type == "If":
        return len(bodies) == 2 and all(len(body.outputs) == len(node.outputs) for body in bodies)
    further = 1 if node.op_type == "Loop" else 0
    return (
        len(bodies) == 1
        and len(bodies[0].outputs) == len(node.outputs) + further
        and len(bodies[0].inputs) == len(node.inputs)
    )


def handed_in(node: ir.Node) -> Iterator[tuple[int, ir.Value]]:
    """Yield the places of the operands that a Scan slices, each with the input of the body that is a slice."""
    if node.op_type == "Scan":
        (body,) = _bodies(node)
        yield from list(enumerate(body.inputs))[_states(node) :]


def handed_out(node: ir.Node) -> Iterator[tuple[ir.Value, list[tuple[ir.Graph, int]]]]:
    """Yield the results that the bodies make anew, each with the places of it among the outputs of the bodies."""
    bodies = _bodies(node)
    first = 1 if node.op_type == "Loop" else 0
    for place, value in enumerate(node.outputs):
        if node.op_type == "If" or place >= _states(node):
            yield value, [(body, first + place) for body in bodies]


def _bodies(node: ir.Node) -> list[ir.Graph]:
    names = _BRANCHES if node.op_type == "If" else ("body",)
    found = [node.attributes.get(name) for name in names]
    return [each.as_graph() for each in found if each is not None]


def _states(node: ir.Node) -> int:
    """Return how many values a Loop or a Scan carries from round to round."""
    if node.op_type == "Loop":
        return len(node.inputs) - 2
    return len(node.inputs) - node.attributes.get_int("num_scan_inputs", 0)
