"""Joins Transposes in a row, and cancels those that only surround operators to which the order of axes is nothing.

Before: x -> Transpose p -> f -> Transpose q -> y, where f is made of elementwise operators and of Concat, all of whose
operands are constants or transposed by p too. After: x -> f' -> Transpose of p and q together -> y, or none where that
moves nothing; f' has its constants and axes in the order of x.
Conditions: there are fewer nodes afterwards. What others read of f is transposed for them, which counts. No Transpose
comes between nodes that a runtime runs as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, drop_if_unused, splice_out
from onnxnorm.graph.extents import wrapped
from onnxnorm.graph.nodes import is_standard, producer_of, read_once
from onnxnorm.journal.words import Words, naming_node, say
from onnxnorm.model.walk import subgraphs_of
from onnxnorm.passes.cleaning.site import Site

__all__ = ["cancel_around", "join_transposes"]

_ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor",
        "Gelu",
        "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log",
        "Max", "Mean", "Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu",
        "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu",
        "Where", "Xor",
    }
)  # fmt: skip
_OF_ONE_SCALE = frozenset({"DequantizeLinear", "QuantizeLinear"})
_BROADCAST_SINCE = 7
_MOST_NODES = 64
# Constants that are stored once more in another order, if others read them as they are.
_SMALL = 1024


def order_of(node: ir.Node | None) -> tuple[int, ...] | None:
    """Return the order of axes that a Transpose states; None for other nodes, and where it states none."""
    if node is None or not is_standard(node) or node.op_type != "Transpose":
        return None
    order = node.attributes.get("perm")
    return None if order is None or order.is_ref() else tuple(order.as_ints())


def join_transposes(node: ir.Node, site: Site) -> str | None:
    """Have one Transpose do what two do."""
    first = producer_of(node.inputs[0])
    one, two = order_of(first), order_of(node)
    if first is None or one is None or two is None or len(one) != len(two) or first.inputs[0] is None:
        return None
    together = tuple(one[axis] for axis in two)
    is_none = together == tuple(range(len(together)))
    if not is_none and (not read_once(first.outputs[0]) or first in site.units or node in site.units):
        return None
    node.replace_input_with(0, first.inputs[0])
    node.attributes["perm"] = ir.AttrInt64s("perm", together)
    if is_none:
        splice_out(node)
        return say("takes back what {} does", naming_node(first))
    return say("does what {} before it did too", naming_node(first))


@dataclass
class _Region:
    """Nodes between Transposes of one order.

    Attributes:
        order: that of the Transposes before.
        nodes: what is between.
        before: Transposes that some of the nodes read.
        values: what these make, and what the nodes make.
    """

    order: tuple[int, ...]
    nodes: list[ir.Node] = field(default_factory=list)
    before: set[ir.Node] = field(default_factory=set)
    values: set[ir.Value] = field(default_factory=set)

    def outside(self, value: ir.Value) -> list[ir.Node]:
        inside = set(self.nodes)
        return [node for node in dict.fromkeys(value.consumers()) if node not in inside]

    def is_undone_by(self, node: ir.Node) -> bool:
        order = order_of(node)
        return order is not None and tuple(self.order[axis] for axis in order) == tuple(range(len(self.order)))

    def needs_transpose(self, value: ir.Value) -> bool:
        return value.is_graph_output() or any(order_of(node) is None for node in self.outside(value))

    def gain(self) -> int:
        """Count by how many nodes the graph would have fewer."""
        inside = set(self.nodes)
        gone = sum(
            not node.outputs[0].is_graph_output() and all(user in inside for user in node.outputs[0].consumers())
            for node in self.before
        )
        made = [node.outputs[0] for node in self.nodes]
        undone = sum(
            self.is_undone_by(user) and not user.outputs[0].is_graph_output()
            for value in made
            for user in self.outside(value)
        )
        return gone + undone - sum(map(self.needs_transpose, made))


def cancel_around(node: ir.Node, site: Site) -> str | None:
    """Take away the Transposes around what follows the Transpose, where there are fewer then."""
    order = order_of(node)
    if order is None or node.graph is None or site.facts.opset(node) < _BROADCAST_SINCE:
        return None
    region = _grown(node, order, site)
    if not region.nodes or region.gain() <= 0 or _parts_a_unit(region, site):
        return None
    _apply(region, site)
    return say("{} behind it work in the order of axes that is before it", Words(f"{len(region.nodes)} nodes", "nodes"))


def _grown(node: ir.Node, order: tuple[int, ...], site: Site) -> _Region:
    region = _Region(order)
    reach = {node.outputs[0]}
    pending = list(node.outputs[0].consumers())
    taken: set[ir.Node] = set()
    while pending and len(region.nodes) < _MOST_NODES:
        user = pending.pop(0)
        if user in taken or user.graph is not node.graph or not _fits(user, order, reach, site):
            continue
        taken.add(user)
        region.nodes.append(user)
        reach.add(user.outputs[0])
        pending.extend(user.outputs[0].consumers())
    for user in region.nodes:
        for value in user.inputs:
            maker = producer_of(value)
            if maker is not None and maker not in taken and order_of(maker) == order:
                region.before.add(maker)
    region.values = reach
    return region


def _fits(user: ir.Node, order: tuple[int, ...], reach: set[ir.Value], site: Site) -> bool:
    if not is_standard(user) or len(user.outputs) != 1 or any(subgraphs_of(user)):
        return False
    if user.op_type not in _ELEMENTWISE and user.op_type not in _OF_ONE_SCALE and user.op_type != "Concat":
        return False
    for index, value in enumerate(user.inputs):
        if value is None or value in reach or order_of(value.producer()) == order:
            continue
        array = site.facts.constant(value)
        if array is None or array.ndim > len(order) or (index == 0 and user.op_type in ("PRelu", *_OF_ONE_SCALE)):
            return False
        if user.op_type in _OF_ONE_SCALE or user.op_type == "Clip":
            if array.size != 1:
                return False
        elif (user.op_type == "Concat" and array.ndim != len(order)) or (array.size > _SMALL and not read_once(value)):
            return False
    return True


def _parts_a_unit(region: _Region, site: Site) -> bool:
    """Whether a Transpose would come between nodes that run as one."""
    for node in region.nodes:
        value = node.outputs[0]
        if node.op_type == "DequantizeLinear" and region.needs_transpose(value):
            return True
        if any(user.op_type == "QuantizeLinear" for user in region.outside(value)):
            return True
        if node in site.units and any(user in site.units and order_of(user) is None for user in region.outside(value)):
            return True
    return False


def _apply(region: _Region, site: Site) -> None:
    back = tuple(int(axis) for axis in np.argsort(region.order))
    for node in region.nodes:
        for index, value in enumerate(node.inputs):
            maker = producer_of(value)
            if value is None:
                continue
            if maker in region.before:
                assert maker is not None
                node.replace_input_with(index, maker.inputs[0])
            elif value not in region.values:
                _turn_constant(node, index, value, back, site)
        if node.op_type == "Concat":
            axis = wrapped([node.attributes.get_int("axis", 1)], len(back))[0]
            node.attributes["axis"] = ir.AttrInt64("axis", region.order[axis])
    for node in region.nodes:
        _leave(node, region, back, site)
    for node in region.before:
        if node.graph is not None and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            node.graph.remove(node, safe=True)


def _turn_constant(node: ir.Node, index: int, value: ir.Value, back: Sequence[int], site: Site) -> None:
    array = site.facts.constant(value)
    assert array is not None and node.graph is not None and value.dtype is not None
    if array.size == 1 and node.op_type != "Concat":
        return
    turned = np.ascontiguousarray(array.reshape((1,) * (len(back) - array.ndim) + array.shape).transpose(back))
    name = site.facts.fresh_name(f"{value.name}_transposed")
    node.replace_input_with(index, add_constant(node.graph, name, turned, value.dtype, site.facts))
    drop_if_unused(value, site.facts)


def _leave(node: ir.Node, region: _Region, back: Sequence[int], site: Site) -> None:
    """Keep the node's result as it was for readers outside of the region."""
    value, graph = node.outputs[0], node.graph
    assert graph is not None
    shape, outside = value.shape, region.outside(value)
    if region.needs_transpose(value):
        turn = ir.node(
            "Transpose", [value], {"perm": region.order}, name=site.facts.fresh_name(f"{node.name}_transpose")
        )
        new = turn.outputs[0]
        new.type, new.shape = value.type, shape
        inside = set(region.nodes)
        stay = [(u, index) for u, index in value.uses() if u in inside or u is turn or order_of(u) is not None]
        is_output, name = value.is_graph_output(), value.name
        value.replace_all_uses_with(new, replace_graph_outputs=True)
        for user, index in stay:
            user.replace_input_with(index, value)
        if is_output:
            value.name = site.facts.fresh_name(f"{name}_before")
            new.name = name
        else:
            new.name = site.facts.fresh_name(f"{name}_transposed")
        graph.insert_after(node, turn)
    value.shape = None if shape is None else ir.Shape([shape[axis] for axis in back])
    site.facts.forget(value)
    for user in outside:
        order = order_of(user)
        if order is not None and user.inputs[0] is value:
            together = tuple(region.order[axis] for axis in order)
            user.attributes["perm"] = ir.AttrInt64s("perm", together)
            if together == tuple(range(len(together))):
                splice_out(user)
