"""Tells the price of a region in elements: what a BatchNormalization of so many elements takes to run."""

from __future__ import annotations

from onnxnorm.affine.cost import node_cost
from onnxnorm.affine.growth import Growth
from onnxnorm.affine.region import Refusal
from onnxnorm.journal.reasons import Code, Cost
from onnxnorm.journal.words import Words, say

__all__ = ["as_much", "in_elements", "price_of"]

# What one BatchNormalization takes for one element.
_UNIT = node_cost("BatchNormalization", 1) - node_cost("BatchNormalization", 0)


def in_elements(saves: int, pays: int) -> Cost:
    """Return the figures, in units of node_cost, as elements."""
    return Cost(saves // _UNIT, pays // _UNIT)


def price_of(growth: Growth) -> Cost:
    """Return what the nodes that go save, and what those that change or come take in addition."""
    changes = [edit.cost for edit in growth.edits.values()]
    saves = -sum(cost for cost in changes if cost < 0)
    return in_elements(saves, growth.cost + saves)


def as_much(growth: Growth) -> Refusal:
    """Return the refusal of a region that nothing is in the way of, and that would cost as much as it saves."""
    cost = price_of(growth)
    told = f"; the nodes that change would take the work of {cost.pays} elements more, and {cost.saves} are saved"
    return Refusal(say("moving it would cost as much as it saves{}", Words(told, "")), Code.COSTS_AS_MUCH)
