"""Resolves an If with a condition that is the same at every inference.

Before: If(condition) with two branches, the condition a constant or known from extents. After: the nodes of the branch
that is taken, in place of the If; the names of the graph's outputs stay.
Conditions: none beyond the constant. Values and nodes that are named like others of the model get
other names.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.edit import set_inputs
from onnxnorm.model.names import fresh_name
from onnxnorm.model.walk import graphs_within, subgraphs_of
from onnxnorm.passes.cleaning.site import Site

__all__ = ["discard_graphs", "take_branch"]


def take_branch(node: ir.Node, site: Site) -> str | None:
    """Put the branch that is taken in place of the If."""
    graph, condition = node.graph, node.inputs[0]
    taken = None if condition is None or graph is None else _known(condition, site)
    attribute = None if taken is None else node.attributes.get("then_branch" if taken else "else_branch")
    if graph is None or attribute is None or attribute.is_ref():
        return None
    branch = attribute.as_graph()
    if len(branch.outputs) != len(node.outputs) or (site.facts.initializers_are_inputs and branch.initializers):
        return None
    discard_graphs(node, but=branch)
    outside = _names(site.model)
    for inner in graphs_within(branch):
        for value in _own_values(inner):
            if value.name and value.name in outside:
                _rename(inner, value, site.facts.fresh_name(value.name))
    _name_nodes_apart(branch, site)
    for value in list(branch.initializers.values()):
        assert value.name is not None
        del branch.initializers[value.name]
        graph.register_initializer(value)
    results = list(branch.outputs)
    branch.outputs.clear()
    inner_nodes = list(branch)
    branch.remove(inner_nodes)
    for each in inner_nodes:
        graph.insert_before(node, each)
    for output, result in zip(list(node.outputs), results, strict=True):
        _hand_over(graph, node, output, result, site)
    set_inputs(node, [])
    graph.remove(node, safe=True)
    return f"its condition is always {'true' if taken else 'false'}"


def discard_graphs(node: ir.Node, *, but: ir.Graph | None = None) -> None:
    """Take the graphs of a node apart, that of `but` aside, so that nothing in them reads a value any more."""
    for graph in subgraphs_of(node):
        for inner in graphs_within(graph) if graph is not but else ():
            inner.outputs.clear()
            for each in list(inner):
                set_inputs(each, [])
                inner.remove(each)
    node.attributes.clear()


def _known(condition: ir.Value, site: Site) -> bool | None:
    array = site.facts.constant(condition)
    if array is not None and array.size == 1:
        return bool(array.ravel()[0])
    found = site.extents.elements(condition)
    return None if found is None or found.known is None or len(found.known) != 1 else bool(found.known[0])


def _hand_over(graph: ir.Graph, node: ir.Node, output: ir.Value, result: ir.Value, site: Site) -> None:
    """Hand the result over to the If's output: an Identity stands for it until the rules look at it."""
    name = output.name
    identity = ir.node("Identity", [result], name=site.facts.fresh_name(f"{node.name}_output"))
    new = identity.outputs[0]
    new.type, new.shape = result.type or output.type, output.shape if output.is_graph_output() else result.shape
    graph.insert_before(node, identity)
    output.replace_all_uses_with(new, replace_graph_outputs=True)
    output.name, new.name = None, name


def _name_nodes_apart(branch: ir.Graph, site: Site) -> None:
    """Give the nodes of the branch names that no node of the graph has.

    Names differ within a graph, not between graphs.
    """
    own = {node for graph in graphs_within(branch) for node in graph}
    taken = {node.name for graph in graphs_within(site.model.graph) for node in graph if node not in own and node.name}
    for node in branch:
        if node.name in taken:
            node.name = fresh_name(node.name or node.op_type, {*taken, *(each.name for each in own if each.name)})


def _own_values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]


def _names(model: ir.Model) -> set[str]:
    return {value.name for graph in graphs_within(model.graph) for value in _own_values(graph) if value.name}


def _rename(graph: ir.Graph, value: ir.Value, name: str) -> None:
    if not value.is_initializer():
        value.name = name
        return
    # A value gives its tensor its name, and the tensor may be part of the model that was given: so it is a new value.
    new = ir.Value(name=name, shape=value.shape, type=value.type, const_value=value.const_value)
    new.metadata_props.update(value.metadata_props)
    assert value.name is not None
    value.replace_all_uses_with(new, replace_graph_outputs=True)
    del graph.initializers[value.name]
    graph.initializers[name] = new
