"""Moves a Pad into the windows of the convolution or pool behind it.

Before: x -> Pad along height, width and so on -> Conv, AveragePool or MaxPool.
After: the operator with these pads added to its own. A Transpose may stand between the two, as converters of models
with the channels last write it; it then reads x.
Conditions: the Pad has the value that the operator takes beyond its border: 0 for Conv; 0 for AveragePool that counts
its padding; minus infinity for MaxPool, or 0 where x is never negative. Windows of pools are larger than their pads, as
runtimes ask, so that each sees at least one element. Nothing is computed in another order, so the result is the same
bit for bit.
An AveragePool of opset 19 or above gets no counted padding: onnxruntime 1.21 to 1.24 computes some of these wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import remove_unread, set_inputs
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.graph.windows import stated_padding
from onnxnorm.model.dtypes import FLOATS
from onnxnorm.model.walk import graphs_within
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["AbsorbPads"]

_NAME = "absorb_pads"
_TAKERS = frozenset({"AveragePool", "Conv", "MaxPool"})
_NEVER_NEGATIVE = frozenset({"Abs", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"})
_COUNTED_PADS_ARE_SAFE_BELOW = 19


class AbsorbPads(JournaledPass):
    """Moves constant pads into the operators that pad by themselves."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        facts, modified = self._facts(model), False
        for graph in graphs_within(model.graph):
            for node in list(graph):
                # A Pad may stand behind another.
                while node.op_type in _TAKERS and is_standard(node) and self._absorb(node, facts):
                    modified = True
        return ir.passes.PassResult(model, modified)

    def _absorb(self, node: ir.Node, facts: Facts) -> bool:
        pad = _maker(node)
        between = pad if pad is not None and pad.op_type == "Transpose" and _is_for_one(pad) else None
        if between is not None:
            pad = _maker(between)
        if pad is None or pad.op_type != "Pad":
            return False
        pads = _pads_of(pad, facts, None if between is None else between.attributes.get_ints("perm"))
        own = None if pads is None else _own_pads(node, len(pads) // 2)
        if pads is None or own is None or not _takes(node, pad, own, pads, facts):
            return False
        node.attributes["pads"] = ir.AttrInt64s("pads", [one + other for one, other in zip(own, pads, strict=True)])
        node.attributes.pop("auto_pad", None)
        if node.op_type == "AveragePool":
            node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
        x = pad.inputs[0]
        if between is None:
            set_inputs(node, [x, *node.inputs[1:]])
        else:
            set_inputs(between, [x])
            extents = None if x is None else x.shape
            order = between.attributes.get_ints("perm", ())
            between.outputs[0].shape = None if extents is None else ir.Shape([extents[axis] for axis in order])
        self._journal.rewrite(_NAME, pad, "Pad", f"its zeros are pads of {node.op_type} {node.name!r}", into=[node])
        remove_unread([pad], facts)
        return True


def _maker(node: ir.Node) -> ir.Node | None:
    """Return the node of ONNX's own domain that makes the first operand in the same graph."""
    value = node.inputs[0] if node.inputs else None
    maker = producer_of(value)
    return maker if maker is not None and is_standard(maker) and maker.graph is node.graph else None


def _is_for_one(transpose: ir.Node) -> bool:
    result = transpose.outputs[0]
    return "perm" in transpose.attributes and len(result.uses()) == 1 and not result.is_graph_output()


def _pads_of(pad: ir.Node, facts: Facts, order: Sequence[int] | None = None) -> list[int] | None:
    """Return the elements that the Pad adds before and after each spatial axis; None where it does anything else.

    `order`: the axes of the Pad in the order of those of the operator, where they are not the same.
    """
    mode = pad.attributes.get("mode")
    rank = None if pad.inputs[0] is None else facts.rank(pad.inputs[0])
    if rank is None or rank < 3 or (mode is not None and (mode.is_ref() or mode.as_string() != "constant")):
        return None
    attribute = pad.attributes.get("pads")
    if attribute is not None and facts.opset(pad) < 11:
        given = list(attribute.as_ints())
    else:
        array = facts.constant(pad.inputs[1]) if len(pad.inputs) > 1 else None
        if array is None:
            return None
        given = [int(each) for each in np.ravel(array)]
    axes = list(range(rank))
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        chosen = facts.constant(pad.inputs[3])
        if chosen is None:
            return None
        axes = [int(axis) % rank for axis in np.ravel(chosen)]
    if len(given) != 2 * len(axes) or len(set(axes)) != len(axes) or min(given, default=0) < 0:
        return None
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = given[index], given[index + len(axes)]
    if order is not None:
        if len(order) != rank:
            return None
        before, after = [before[axis] for axis in order], [after[axis] for axis in order]
    if any(before[:2]) or any(after[:2]):
        return None
    return before[2:] + after[2:]


def _takes(node: ir.Node, pad: ir.Node, own: Sequence[int], pads: Sequence[int], facts: Facts) -> bool:
    value, x = _fill(pad, facts), pad.inputs[0]
    if value is None or x is None or x.dtype not in FLOATS:
        return False
    if node.op_type == "Conv":
        return value == 0
    if not _windows_are_larger(node, own, pads):
        return False
    if node.op_type == "AveragePool":
        is_counted = not any(own) or node.attributes.get_int("count_include_pad", 0) == 1
        return value == 0 and is_counted and facts.opset(node) < _COUNTED_PADS_ARE_SAFE_BELOW
    if any(own) and value != -math.inf:
        # Its own pads count as minus infinity beyond those of the Pad.
        return False
    producer = x.producer()
    never_negative = producer is not None and is_standard(producer) and producer.op_type in _NEVER_NEGATIVE
    return len(node.outputs) == 1 and (value == -math.inf or (value == 0 and never_negative))


def _windows_are_larger(node: ir.Node, own: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether every pad is smaller than the window, and windows lie close together and end with the input."""
    attributes = node.attributes
    window = attributes.get("kernel_shape")
    if window is None or attributes.get_int("ceil_mode", 0) != 0:
        return False
    if "dilations" in attributes and any(step != 1 for step in attributes["dilations"].as_ints()):
        return False
    extents = [*window.as_ints(), *window.as_ints()]
    return len(extents) == len(pads) and all(
        one + other < extent for one, other, extent in zip(own, pads, extents, strict=True)
    )


def _own_pads(node: ir.Node, rank: int) -> list[int] | None:
    """Return the pads of the operator; None where they depend on the extents of its input."""
    padding = stated_padding(node, rank)
    return None if padding is None else [*(before for before, _ in padding), *(behind for _, behind in padding)]


def _fill(pad: ir.Node, facts: Facts) -> float | None:
    """Return the number that the Pad puts around its input; None where it is not known."""
    attribute = pad.attributes.get("value")
    if attribute is not None and facts.opset(pad) < 11:
        return float(attribute.as_float())
    if len(pad.inputs) < 3 or pad.inputs[2] is None:
        return 0.0
    array = facts.constant(pad.inputs[2])
    return None if array is None or array.size != 1 else float(np.asarray(array, np.float64).reshape(()))
