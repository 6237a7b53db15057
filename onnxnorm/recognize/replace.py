"""Puts the one node in the place of the nodes that spell it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, put_in_place, remove_unread
from onnxnorm.graph.facts import Facts
from onnxnorm.recognize.families import Found, Proposal

__all__ = ["IR_WITH_FUNCTIONS", "replace_region"]

IR_WITH_FUNCTIONS = 8
_BACKWARDS = (np.array([-1]), np.array([-(2**31)]), np.array([1]), np.array([-1]))


def replace_region(found: Found, proposal: Proposal, facts: Facts) -> ir.Node:
    """Insert the node that computes what `found.root` was and return it; nodes that nobody reads any more are gone."""
    x, old = found.reading.x, found.root.producer()
    assert old is not None and old.graph is not None and x.dtype is not None
    graph, cone = found.reading.graph, found.cone
    name = old.name or facts.fresh_name(proposal.op_type)
    before: list[ir.Node] = []

    def step(op_type: str, value: ir.Value, constants: Sequence[ir.Value] = (), **attributes: object) -> ir.Value:
        suffix = f"{op_type.lower()}_{len(before)}"
        node = ir.node(op_type, [value, *constants], attributes=attributes, name=f"{name}_{suffix}")  # type: ignore[arg-type]
        output = node.outputs[0]
        output.name, output.type = facts.fresh_name(f"{found.root.name}_{suffix}"), x.type
        if value.shape is not None:
            perm = node.attributes.get_ints("perm", tuple(range(len(value.shape))))
            output.shape = ir.Shape([value.shape[axis] for axis in perm])
        before.append(node)
        return output

    def flipped(value: ir.Value) -> ir.Value:
        constants = [
            add_constant(graph, facts.fresh_name(f"{name}_{role}"), array.astype(np.int64), ir.DataType.INT64, facts)
            for role, array in zip(("starts", "ends", "axes", "steps"), _BACKWARDS, strict=True)
        ]
        return step("Slice", value, constants)

    value = x
    if proposal.order is not None:
        value = step("Transpose", value, perm=proposal.order)
    elif proposal.flipped:
        value = flipped(value)
    constants = [
        add_constant(graph, facts.fresh_name(f"{found.root.name}_{role}"), array, x.dtype, facts)
        for role, array in proposal.constants.items()
    ]
    node = ir.node(
        proposal.op_type, [value, *constants], attributes=dict(proposal.attributes), domain=proposal.domain, name=name
    )
    node.outputs[0].type = x.type
    node.outputs[0].shape = None if value.shape is None else ir.Shape(list(value.shape))
    before.append(node)
    output = node.outputs[0]
    if proposal.order is not None:
        output.name = facts.fresh_name(f"{found.root.name}_normalized")
        output = step("Transpose", output, perm=tuple(int(axis) for axis in np.argsort(proposal.order)))
    elif proposal.flipped:
        output.name = facts.fresh_name(f"{found.root.name}_normalized")
        output = flipped(output)
    put_in_place(old, before, output)
    remove_unread(cone, facts)
    return node
