"""Says why a demand of the solver cannot be met, from the value and its numbers alone: no operator is asked here."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.exactness import beyond_range, fits, hides_digits, loses_digits, size_of
from onnxnorm.affine.growth import Growth
from onnxnorm.affine.interface import Demands, Settled
from onnxnorm.affine.parties import owner_of_output, takers_of
from onnxnorm.affine.region import Refusal
from onnxnorm.affine.rules.affine_nodes import AffineNode, affine_of, conjugated, is_affine
from onnxnorm.affine.search import Search
from onnxnorm.journal.reasons import Code
from onnxnorm.journal.words import Words, naming_node, naming_value, say
from onnxnorm.model.domains import KEPT_PREFIX, kept_as

__all__ = ["called", "forgotten", "joined", "operator_of", "refusal"]

_DIFFER = "has readers that ask for different scales or shifts of it, of which one alone can be absorbed"


def refusal(growth: Growth, node: ir.Node | None, demands: Demands, search: Search) -> Refusal | None:
    """Why one of the demands of `node` cannot be met, as far as can be told from the value alone."""
    for value, gauge in demands:
        present = growth.gauges.get(value)
        if present is not None:
            if node in growth.aside.get(value, ()) or not present.same_as(gauge):
                return Refusal(say("{} {}", naming_value(value), _DIFFER), Code.READERS_DIFFER, value, node)
        elif growth.facts.is_constant(value) and not isinstance(owner_of_output(value, growth.facts), ir.Node):
            return Refusal(say("{} is a constant", naming_value(value)), Code.COMPUTED_PARAMETER, value, node)
        elif not fits(gauge, growth.facts.shape(value)):
            return Refusal(
                say("{} has another shape than the affine that it would carry", naming_value(value)),
                Code.OTHER_AXIS,
                value,
            )
        elif (refused := _inexact(value, gauge, growth, search)) is not None:
            search.by_numbers = True
            return refused
        elif (obstacle := search.obstacles.of(value, gauge)) is not None:
            # What is restored there must cost less than all that is saved.
            saved = search.worth - sum(edit.cost for node, edit in growth.edits.items() if node is not search.node)
            if obstacle.toll + growth.inserted >= saved:
                maker = obstacle.value.producer()
                search.touched.update((*obstacle.value.consumers(), *(() if maker is None else (maker,))))
                return obstacle.why
    for (value, gauge), (other, another) in itertools.combinations(demands, 2):
        if value is other and not gauge.same_as(another):
            return Refusal(say("{} {}", naming_value(value), _DIFFER), Code.READERS_DIFFER, value, node)
    return None


def forgotten(growth: Growth, node: ir.Node, way: Settled, search: Search) -> Refusal | None:
    """Why the shift of the affine may not vanish here, where the node gives the same with it and without it.

    It does for real numbers. What else is in the value would lose digits beside the shift, though, unless the input of
    the affine is rounded. Where there is nothing else in it, the sizes of the two have been compared.
    """
    if growth.backward or way.edit is not None or way.demands or way.blind or node is search.node:
        return None
    if any(output in growth.gauges for output in node.outputs):
        return None
    shifted = [value for value, gauge in growth.gauges_of(node).items() if gauge.shifts]
    if not shifted or search.rounded or all(search.alone_in(value) for value in shifted):
        return None
    search.by_numbers = True
    reason = say("{} would forget the shift of a value that may be exact, and lose accuracy", naming_node(node))
    return Refusal(reason, Code.LOSES_ACCURACY, shifted[0], node)


def joined(growth: Growth, node: ir.Node, way: Settled, search: Search) -> Refusal | None:
    """Why an affine may not become scale and shift at once: (x + t) s is near zero where x is -t, s x + s t less so."""
    if way.edit is None or way.edit.removed or not is_affine(node):
        return None
    found = affine_of(node, growth.facts)
    if not isinstance(found, AffineNode):
        return None
    value, output = node.inputs[found.data], node.outputs[0]
    gauges = growth.gauges_of(node)
    new = None if value is None else conjugated(found.affine, gauges.get(value), gauges.get(output))
    if value is None or new is None or not (new.scales and new.shifts) or search.digits.rounded(value):
        return None
    size = search.digits.size(output)
    if found.measured:
        size = np.maximum(size, np.abs(found.affine.shift))
    refused = hides_digits(output, Gauge.old(new), size)
    search.by_numbers = search.by_numbers or refused is not None
    return None if refused is None else Refusal(refused, Code.LOSES_ACCURACY, output, node)


def _inexact(value: ir.Value, gauge: Gauge, growth: Growth, search: Search) -> Refusal | None:
    """Why rounding would hurt although the algebra holds."""
    if search.digits.masks(value):
        return Refusal(say("{} is a step of a mask", naming_value(value)), Code.MASK, value)
    own = value is search.node.inputs[search.found.data]
    if gauge.shifts and len(takers_of(value, search.facts)) > 1:
        size = size_of(value, search.facts, search.found.spread if own else None)
        if not growth.backward:
            # What follows the affine has its shift in it.
            size = np.maximum(size, np.abs(search.found.affine.shift).max(initial=0.0))
        if (refused := loses_digits(value, gauge, size, rounded=search.digits.rounded(value))) is not None:
            code = Code.ZERO_SCALE if gauge.to_old is None else Code.LOSES_ACCURACY
            return Refusal(refused, code, value)
    if gauge.shifts and gauge.scales and not own and growth.backward and not search.digits.rounded(value):
        # A new node may have to compute it, as scale and shift at once (see _joined).
        new = gauge.to_new
        size = np.ones(()) if new is None else search.digits.size_after(value, new.scale)
        if (refused := hides_digits(value, Gauge(None, new or gauge.any), size)) is not None:
            return Refusal(refused, Code.LOSES_ACCURACY, value)
    exact = gauge.shifts and not growth.backward and (search.digits.mixes_constants(value) or not search.rounded)
    if exact and _went_through_product(value, growth, search):
        # The sum of products has rounding errors by the sizes of its terms, and those have been compared.
        exact = False
    if exact and (refused := hides_digits(value, gauge, search.digits.size(value))) is not None:
        return Refusal(refused, Code.LOSES_ACCURACY, value)
    refused = None if own or value is search.node.outputs[0] else beyond_range(value, gauge)
    return None if refused is None else Refusal(refused, Code.OUT_OF_RANGE, value)


def _went_through_product(value: ir.Value, growth: Growth, search: Search) -> bool:
    """Whether the shift of the value is what a linear operator makes of a shift before it."""
    node = search.digits.product_before(value)
    gauges = (growth.gauges.get(each) for each in node.inputs if each is not None) if node is not None else ()
    return any(gauge is not None and gauge.shifts for gauge in gauges)


def called(node: ir.Node) -> Words:
    """Name a node by its operator and its name, also one that no pass may change."""
    return Words(f"{operator_of(node)} {node.name!r}", operator_of(node))


def operator_of(node: ir.Node) -> str:
    """Return the operator of a node by the name that it has in the model."""
    return node.op_type if kept_as(node.domain) is None else node.op_type.removeprefix(KEPT_PREFIX)
