"""Finds out what is truly in the way of an affine: the obstacle without which it would have gone.

A search stops at the first thing that it cannot pay for, which is seldom what a person can change. Here obstacles are
waived: whoever refuses keeps the old value for nothing, and the refusal is noted. Of the regions that come to an end
the one with the fewest waived obstacles says what is in the way: without them the affine goes into operators that take
it up. Where no operator takes it up whatever is waived, it is the nearest obstacles on both sides.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxnorm.affine.asking import ask, unanswered
from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.digits import Digits
from onnxnorm.affine.growth import Growth, unknown_extents
from onnxnorm.affine.obstacles import Obstacles
from onnxnorm.affine.parties import Outside, Party
from onnxnorm.affine.placements import Seeds, in_one_move
from onnxnorm.affine.price import as_much, in_elements, price_of
from onnxnorm.affine.refusals import called, refusal
from onnxnorm.affine.region import Insertion, Refusal
from onnxnorm.affine.rule_cache import RuleCache
from onnxnorm.affine.rules.affine_nodes import AffineNode
from onnxnorm.affine.search import Search
from onnxnorm.affine.units import Units
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code, Cost
from onnxnorm.journal.words import Words, naming_value, say

__all__ = ["Diagnosis", "diagnose"]

_MOST_QUESTIONS = 800
_MOST_WAIVED = 6
_MOST_BRANCHES = 24
# The operator that refuses for one of these would take the affine up itself.
_WOULD_ABSORB = frozenset(
    {Code.UNKNOWN_SHAPE, Code.COMPUTED_PARAMETER, Code.OVERRIDABLE_WEIGHT, Code.WEIGHTS_GROW, Code.OUT_OF_RANGE}
)
# Reasons that say less than any other.
_GENERAL = frozenset({Code.OPERATOR, Code.GRAPH_INPUT, Code.GRAPH_OUTPUT})
_BY_ROUNDING = frozenset({Code.LOSES_ACCURACY, Code.OUT_OF_RANGE, Code.ZERO_SCALE})


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of an affine that is left.

    Attributes:
        why: what is in the way; None where that cannot be told.
        cost: what going past it would save and pay, where it could be paid for.
        questions: how many questions the rules were asked.
    """

    why: Refusal | None
    cost: Cost | None = None
    questions: int = 0


@dataclass(frozen=True, eq=False)
class _Waived:
    """A refusal that was waived: whose it was, and at which value."""

    why: Refusal
    value: ir.Value | None
    party: Party | None
    is_reader: bool


def diagnose(
    node: ir.Node, found: AffineNode, facts: Facts, units: Units | None = None, digits: Digits | None = None
) -> Diagnosis:
    """Say what is in the way of the affine of `node`, which is left.

    Args:
        node: what computes the affine.
        found: the affine.
        facts: what is known of the model.
        units: what must stay whole, since a runtime runs it as one node.
        digits: what earlier searches found of values, in the model as it is.
    """
    value = node.inputs[found.data]
    if value is None or found.vast or found.affine.is_identity:
        return Diagnosis(None)
    search = Search(
        node, found, facts, Obstacles(), RuleCache(facts, units), questions=_MOST_QUESTIONS, known_digits=digits
    )
    if search.masks:
        return Diagnosis(None)
    ends: list[_End] = []
    asked, is_whole = 0, True
    for seeds in in_one_move(value, node.outputs[0], found.affine):
        search.questions = _MOST_QUESTIONS
        # What has more obstacles than an end that is known already will not be told of.
        most = min([_MOST_WAIVED, *(_weight(end[1]) for end in ends if _is_taken_up(end, node))])
        ends += list(_ends(search, seeds, most))
        asked += _MOST_QUESTIONS - search.questions
        is_whole = is_whole and search.questions > 0
        if node.outputs[0] in seeds and any(_is_taken_up(end, node) and _weight(end[1]) <= 1 for end in ends):
            # Both sides have been looked at, and one of them has a single obstacle.
            break
    taken_up = [end for end in ends if _is_taken_up(end, node)]
    if not ends or not (taken_up or is_whole):
        return Diagnosis(None, questions=asked)
    if taken_up:
        growth, waived = min(taken_up, key=lambda end: (_weight(end[1]), _rank(end[1]), end[0].cost))
        if not waived:
            # Nothing is in the way: where it pays nothing cost has decided, else what a search may ask or copy.
            costs = growth.cost >= 0
            return Diagnosis(as_much(growth) if costs else None, price_of(growth) if costs else None, asked)
        cost = _cost(growth, waived, search)
        return Diagnosis(_priced(_told(growth, waived, node), cost), cost, asked)
    if not any(waived for _, waived in ends):
        return Diagnosis(None, questions=asked)
    return Diagnosis(_on_both_sides(ends), questions=asked)


_End = tuple[Growth, tuple[_Waived, ...]]


def _ends(search: Search, seeds: Seeds, most: int) -> Iterator[_End]:
    """Yield the regions that come to an end, with the obstacles that were waived for each, at the most so many."""
    backward = search.node.outputs[0] not in seeds
    start = Growth(search.facts, backward, unknown_extents(search.node.outputs[0], search.facts))
    start.todo[search.node] = None
    waived = _forbidden(start, seeds, search) + _taken(start, tuple(seeds.items()), search)
    number = itertools.count()
    queue = [(_weight(waived), next(number), start, waived)]
    branches = _MOST_BRANCHES
    while queue and search.questions > 0:
        _, _, growth, waived = heapq.heappop(queue)
        outcome = _settled(growth, waived, search, most)
        if outcome is None:
            continue
        if isinstance(outcome, tuple):
            yield outcome
            if not outcome[1] or not queue or queue[0][0]:
                return
            # A way without any obstacle may be open yet: then cost has decided.
            most = 0
            continue
        branches -= len(outcome) - 1
        if branches < 0:
            return
        for branch, own in outcome:
            heapq.heappush(queue, (_weight(own), next(number), branch, own))


def _settled(growth: Growth, waived: tuple[_Waived, ...], search: Search, most: int) -> _End | list[_End] | None:
    """Ask nodes until all agree or are waived; a list where one leaves a choice, None where it leads nowhere."""
    for node, gauges in unanswered(growth, search):
        search.questions -= 1
        if search.questions <= 0 or _weight(waived) > most:
            return None
        reply = ask(growth, node, gauges, search)
        live, why = reply.open_ways, reply.why
        if not live and reply.ways and why is not None and why.code in _BY_ROUNDING:
            # The way is exact; what rounding forbids is noted, and the way is followed all the same.
            live = [reply.ways[0]]
            waived += (_Waived(why, why.value, None, False),)
        if not live:
            assert why is not None
            if node is search.node:
                return None
            waived += tuple(_aside(growth, value, node, why) for value in list(gauges)[:1])
            for value in gauges:
                growth.aside[value] = growth.aside.get(value, frozenset()) | {node}
            growth.edit(node, None)
            growth.todo[node] = None
            continue
        if len(live) > 1:
            branches = [(growth.branch(), way) for way in live]
            followed: list[_End] = []
            for branch, way in branches:
                branch.edit(node, way.edit)
                followed.append((branch, waived + _taken(branch, way.demands, search)))
            return followed
        growth.edit(node, live[0].edit)
        waived += _taken(growth, live[0].demands, search)
    return growth, waived


def _forbidden(growth: Growth, seeds: Seeds, search: Search) -> tuple[_Waived, ...]:
    """Return what rounding forbids of the first gauges."""
    refused = [refusal(growth, None, (seed,), search) for seed in seeds.items()]
    return tuple(_Waived(why, why.value, None, False) for why in refused if why and why.code in _BY_ROUNDING)


def _taken(growth: Growth, demands: tuple[tuple[ir.Value, Gauge], ...], search: Search) -> tuple[_Waived, ...]:
    """Gauge the demanded values; return what the border of the graph would have refused."""
    waived: list[_Waived] = []
    for value, gauge in demands:
        if value in growth.gauges:
            continue
        if growth.facts.is_constant(value):
            if (refused := growth.add(value, gauge)) is not None:
                waived.append(_Waived(refused, value, None, False))
            continue
        growth.gauges[value] = gauge
        maker = value.producer()
        parties: list[Party] = [*value.consumers(), *((maker,) if maker is not None else ())]
        owner = None if value.graph is None else growth.facts.owner(value.graph)
        if owner is not None and (value.is_graph_input() or value.is_graph_output()):
            parties.append(owner)
        growth.todo.update((party, None) for party in parties if isinstance(party, ir.Node))
        if (border := growth.border(value)) is not None:
            growth.aside[value] = growth.aside.get(value, frozenset()) | {Outside.CALLER}
            own = value is search.node.outputs[0]
            waived.append(_Waived(border, value, Outside.CALLER, border.code is Code.GRAPH_OUTPUT and not own))
    return tuple(waived)


def _aside(growth: Growth, value: ir.Value, node: ir.Node, why: Refusal) -> _Waived:
    return _Waived(why, value, node, value.producer() is not node)


def _is_taken_up(end: _End, node: ir.Node) -> bool:
    """Whether the affine is gone from its node, and something takes it up, or would but for what was waived."""
    growth, waived = end
    own = growth.edits.get(node)
    if own is None or not own.removed:
        return False
    if any(edit.what == "absorbs" for other, edit in growth.edits.items() if other is not node):
        return True
    return any(each.why.code in _WOULD_ABSORB for each in waived)


def _weight(waived: tuple[_Waived, ...]) -> int:
    """Count the obstacles; what rounding forbids at several values is one."""
    rounding = sum(each.why.code in _BY_ROUNDING and each.party is None for each in waived)
    return len(waived) - max(0, rounding - 1)


def _priced(why: Refusal, cost: Cost | None) -> Refusal:
    """Add the figures, where cost decided."""
    if cost is None:
        return why
    told = f"; a node that gives it the old value takes the work of {cost.pays} elements, and {cost.saves} are saved"
    return replace(why, reason=say("{}{}", why.reason, Words(told, "")))


def _rank(waived: tuple[_Waived, ...]) -> int:
    """Rank obstacles: those that a person can do something about come first, an input of the graph last."""
    codes = {each.why.code for each in waived}
    if codes & (_WOULD_ABSORB | {Code.GRAPH_OUTPUT}):
        return 0
    return 2 if Code.GRAPH_INPUT in codes else 1


def _told(growth: Growth, waived: tuple[_Waived, ...], node: ir.Node) -> Refusal:
    """Return the refusal that says most: where there are several, how many there are."""
    siblings = [
        each
        for each in waived
        if each.is_reader
        and isinstance(each.party, ir.Node)
        and each.value is not None
        and _is_beside(each.value, growth, node)
    ]
    first = min(waived, key=lambda each: (each.why.code not in _WOULD_ABSORB, each not in siblings))
    why, value = first.why, first.value
    if first in siblings and value is not None:
        # Whoever reads the value beside the node keeps it from changing.
        reason = say("{}, and reads {} as it is", why.reason, naming_value(value))
        if len(siblings) > 1:
            reason = say(
                "{} other readers of the same channels ask for other scales or shifts, of which one alone can be "
                "absorbed; the first is {}",
                str(len(siblings)),
                called(first.party) if isinstance(first.party, ir.Node) else "",
            )
        code = why.code if why.code in _BY_ROUNDING else Code.READERS_DIFFER
        return replace(why, reason=reason, code=code, value=value, has_more=_weight(waived) > 1)
    if _weight(waived) > 1:
        more = _weight(waived) - 1
        reason = say("{} (and {} more {})", why.reason, str(more), "obstacle" if more == 1 else "obstacles")
        return replace(why, reason=reason, has_more=True)
    return why


def _is_beside(value: ir.Value, growth: Growth, node: ir.Node) -> bool:
    """Whether the value is to change for what goes before the node, so that its readers stand beside the node.

    Where scale and shift are shared out, what goes before it is the shift.
    """
    if node.outputs[0] not in growth.gauges:
        return True
    gauge = growth.gauges.get(value)
    return len(growth.gauges) > 1 and gauge is not None and gauge.shifts and not gauge.scales


def _on_both_sides(ends: list[_End]) -> Refusal:
    """Return the nearest obstacle behind the node, which tells of the one before it too."""
    before = next(waived[0].why for _, waived in ends if waived)
    behind = next((waived[0].why for growth, waived in ends if waived and not growth.backward), before)
    if before.reason == behind.reason:
        return behind
    if behind.code in _GENERAL and before.code not in _GENERAL:
        return replace(before, reason=say("{}; behind it, {}", before.reason, behind.reason), has_more=True)
    return replace(behind, reason=say("{}; before it, {}", behind.reason, before.reason), has_more=True)


def _cost(growth: Growth, waived: tuple[_Waived, ...], search: Search) -> Cost | None:
    """Return what the region saves, and what it would cost to give the old values to those that were waived."""
    saves = -sum(edit.cost for edit in growth.edits.values())
    pays = 0
    for each in waived:
        shape = None if each.value is None else search.facts.shape(each.value)
        known = shape is not None and all(isinstance(dim, int) for dim in shape)
        if each.value is None or each.party is None or not known or each.why.code in _WOULD_ABSORB:
            return None
        insertion = growth.insertion(each.value)
        if not isinstance(insertion, Insertion):
            return None
        pays += growth.cost_of(insertion)
    return in_elements(saves, pays) if waived and pays >= saves > 0 else None
