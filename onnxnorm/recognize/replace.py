"""Puts the one node in the place of the nodes that spell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from onnxnorm._facts import Facts, subgraphs_of
from onnxnorm._op_bodies import Precision, portable_body
from onnxnorm._op_check import DOMAIN, OP_TYPES, VERSION
from onnxnorm._structure import graphs_within
from onnxnorm._surgery import add_constant, drop_if_unused, set_inputs
from onnxnorm.recognize.families import Found, Proposal
from onnxnorm.recognize.region import captured

__all__ = ["attach_bodies_in", "attach_body", "put_in_place", "remove_unread", "replace_region"]

_IR_WITH_FUNCTIONS = 8
_BACKWARDS = (np.array([-1]), np.array([-(2**31)]), np.array([1]), np.array([-1]))


def replace_region(found: Found, proposal: Proposal, facts: Facts) -> ir.Node:
    """The node, which computes what `found.root` was; what nobody reads any more is gone."""
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


def put_in_place(old: ir.Node, nodes: Iterable[ir.Node], output: ir.Value) -> None:
    """`nodes` come before `old`, and `output`, the result of the last of them, takes over the result of `old`."""
    root, graph = old.outputs[0], old.graph
    assert graph is not None
    name = root.name
    for node in nodes:
        node.metadata_props.update(
            {key: text for key, text in old.metadata_props.items() if key not in node.metadata_props}
        )
        graph.insert_before(old, node)
    output.shape, output.type = root.shape, root.type or output.type
    root.replace_all_uses_with(output, replace_graph_outputs=True)
    root.name, output.name = None, name


def remove_unread(nodes: Iterable[ir.Node], facts: Facts) -> None:
    """Takes away those of `nodes` that nobody reads, and what they alone read."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        graph = node.graph
        if graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
            continue
        operands = [value for value in (*node.inputs, *captured(node)) if value is not None]
        for branch in subgraphs_of(node):
            # What is in it would go on reading values from outside.
            for inner in branch:
                set_inputs(inner, [None] * len(inner.inputs))
        graph.remove(node, safe=True)
        for value in operands:
            drop_if_unused(value, facts)
            producer = value.producer()
            if producer is not None and not value.uses():
                waiting.append(producer)


def attach_bodies_in(model: ir.Model) -> None:
    """The bodies of this project's operators that the model uses and does not carry yet."""
    used: dict[str, list[ir.Node]] = {}
    for graph in graphs_within(model.graph):
        for node in graph:
            if node.domain == DOMAIN and node.op_type in OP_TYPES:
                used.setdefault(node.op_type, []).append(node)
    carried = {(function.domain, function.name) for function in model.functions.values()}
    missing = {op: nodes for op, nodes in used.items() if (DOMAIN, op) not in carried}
    if not missing:
        return
    for op_type, nodes in missing.items():
        attach_body(model, op_type, nodes)


def attach_body(model: ir.Model, op_type: str, nodes: Iterable[ir.Node]) -> None:
    """The body of one of this project's operators, as precise as its `nodes` need it."""
    wide = any(node.inputs[0] is not None and node.inputs[0].dtype is ir.DataType.DOUBLE for node in nodes)
    precision = Precision.DOUBLE if wide else Precision.FLOAT
    body = portable_body(op_type, opset=model.graph.opset_imports[""], precision=precision)
    function = ir.serde.deserialize_function(body)
    model.functions[function.identifier()] = function
    model.graph.opset_imports[DOMAIN] = VERSION
    if (model.ir_version or 0) < _IR_WITH_FUNCTIONS:
        # Their initializers had to be inputs; from IR version 4 on that would let a caller override them.
        if (model.ir_version or 0) < 4:
            RemoveInitializersFromInputsPass()(model)
        model.ir_version = _IR_WITH_FUNCTIONS
