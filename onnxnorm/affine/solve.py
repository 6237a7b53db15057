"""The solver: for one affine, the region of the graph that must change together so that it disappears.

The affine y = s x + t of a node is given to one of its sides (or its scale to one and its shift to the other):
x' = s x + t replaces x, or y' = x replaces y. Replacing a value is a gauge on it; its producer and all of its consumers
must answer for it, and may demand gauges on further values. The region is complete when nobody demands anything more.
A party that cannot go along is set aside: a new node gives it the old value, if that costs less than what goes.

Several placements may be exact: every way to share the affine out between the two sides, every choice that a rule
leaves open, and setting a party aside. All are tried, while the budget lasts, and the one that saves most is taken; the
search ends early at one that removes the affine and leaves nothing in its place. Growth that has cost as much as
its affine is worth is given up. So the choice is a minimum over the placements of one affine with all other nodes as
they are, reached without ever paying more on the way than there is to gain; taken together it is a local minimum: no
single affine of the result can be removed or made cheaper by moving it alone.
It ends, since each applied region lowers the total cost, which is a sum of finitely many node costs.

The solver knows no operator: rules answer (see interface.py).
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import replace

import onnx_ir as ir

from onnxnorm.affine.asking import ask, unanswered
from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.cost import node_cost
from onnxnorm.affine.digits import Digits
from onnxnorm.affine.exactness import fits
from onnxnorm.affine.growth import Growth, unknown_extents
from onnxnorm.affine.interface import Cause, Constant, Demands, Settled
from onnxnorm.affine.obstacles import Obstacle, Obstacles
from onnxnorm.affine.placements import is_perfect, tries
from onnxnorm.affine.price import as_much
from onnxnorm.affine.refusals import refusal
from onnxnorm.affine.region import Refusal, Region
from onnxnorm.affine.rule_cache import RuleCache
from onnxnorm.affine.rules.affine_nodes import AffineNode, is_affine
from onnxnorm.affine.search import MAX_BRANCHES, Search, Stuck
from onnxnorm.affine.units import Units
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code

__all__ = ["Stuck", "next_door", "solve"]

# A copy of a shared weight must be worth its bytes: for every unit that is saved at run time, so many elements.
_MAX_COPIED = 16

_NOTHING = Refusal("there is nothing to do", Code.OPERATOR)
_TOO_MANY = Refusal("more nodes would have to change together than are tried", Code.SEARCH_LIMIT)
_MASK = Refusal("is a step of a mask", Code.MASK)
_VAST = Refusal("has a scale or a shift as large as those of masks, and does not follow its own weights", Code.MASK)
_NO_NODE = Refusal("no node would go with it", Code.COSTS_AS_MUCH)


def solve(
    node: ir.Node,
    found: AffineNode,
    facts: Facts,
    obstacles: Obstacles | None = None,
    units: Units | None = None,
    digits: Digits | None = None,
) -> Region | Stuck:
    """Find the region that makes the affine of `node` cheapest, or removes it; else tell why there is none.

    Args:
        node: what computes the affine.
        found: the affine.
        facts: what is known of the model.
        obstacles: what earlier searches in the same model ran into.
        units: what must stay whole, since a runtime runs it as one node.
        digits: what earlier searches found of values, in the model as it is.
    """
    value = node.inputs[found.data]
    assert value is not None
    search = Search(node, found, facts, obstacles or Obstacles(), RuleCache(facts, units), known_digits=digits)
    if search.is_lone and search.masks:
        return Stuck(_MASK, 0)
    if (region := _next_door(search, value)) is not None:
        return region
    if found.vast:
        return Stuck(_VAST, 0)
    if search.masks:
        return Stuck(_MASK, 0)
    farthest = Stuck(_NOTHING, -1)
    best: Region | None = None
    for seeds, questions in tries(value, node.outputs[0], found.affine):
        search.questions = questions
        result = _grow(search, seeds)
        if isinstance(result, Region):
            if is_perfect(result, node):
                return result
            if best is None or result.saves > best.saves:
                best = result
        else:
            # The placement that came farthest has the reason that is closest to the obstacle.
            farthest = max(farthest, result, key=lambda failure: failure.depth)
    if best is not None:
        return replace(best, why=farthest.why)
    return replace(farthest, touched=frozenset(search.touched), by_numbers=search.by_numbers)


def next_door(node: ir.Node, found: AffineNode, facts: Facts, units: Units | None = None) -> Region | None:
    """Return the region where the maker of the input of `node`, for it alone, takes the affine up.

    None where that is not so.

    It needs no freedom that another affine could use. Affines that go this way should do so before others come by on a
    longer way: what those leave with them could not follow.
    """
    value = node.inputs[found.data]
    assert value is not None
    search = Search(node, found, facts, Obstacles(), RuleCache(facts, units))
    return None if search.is_lone and search.masks else _next_door(search, value)


def _next_door(search: Search, value: ir.Value) -> Region | None:
    """Take the fast path: a region of `node` and the producer of `value` alone, found without a search.

    If the producer feeds only this node and its rule absorbs the whole affine, return that region; otherwise None. It
    is the first placement that a search would try, and perfect.
    """
    node, maker, affine, facts = search.node, value.producer(), search.found.affine, search.facts
    if maker is None or maker.graph is not node.graph or len(value.uses()) != 1 or value.is_graph_output():
        return None
    gauge = Gauge.new(affine)
    if affine.is_identity or not fits(gauge, facts.shape(value)) or facts.is_constant(value):
        return None
    if search.obstacles.of(value, gauge) is not None or (search.found.vast and is_affine(maker)):
        return None
    edits = {}
    for party in (node, maker):
        answer = search.rules.ask(party, {value: gauge})
        if not isinstance(answer, Settled) or answer.demands:
            return None
        if answer.edit is not None:
            edits[party] = answer.edit
    region = Region({value: gauge}, edits, (), -sum(edit.cost for edit in edits.values()))
    room = 0 if search.is_lone else _MAX_COPIED * region.saves
    perfect = region.saves > 0 and is_perfect(region, node) and _copied(region) <= room
    return region if perfect else None


def _grow(search: Search, seeds: dict[ir.Value, Gauge]) -> Region | Stuck:
    backward = search.node.outputs[0] not in seeds
    start = Growth(search.facts, backward, unknown_extents(search.node.outputs[0], search.facts))
    start.todo[search.node] = None
    refused = _take(start, None, tuple(seeds.items()), search)
    if refused is not None:
        return Stuck(refused, 0)
    # The smallest region first: most affines find their place nearby.
    number = itertools.count()
    queue = [(0, next(number), start)]
    search.branches = MAX_BRANCHES
    farthest = Stuck(_NOTHING, -1)
    best: Region | None = None
    while queue and not search.spent:
        outcome = _settle(heapq.heappop(queue)[2], search)
        if isinstance(outcome, Stuck):
            farthest = max(farthest, outcome, key=lambda failure: failure.depth)
        elif isinstance(outcome, list):
            search.branches -= len(outcome) - 1
            for branch in outcome:
                heapq.heappush(queue, (len(branch.gauges), next(number), branch))
        elif best is None or outcome.saves > best.saves:
            best = outcome
            if is_perfect(best, search.node):
                break
    if best is None and search.spent:
        search.by_numbers = True
        return Stuck(_TOO_MANY, farthest.depth)
    return best or farthest


def _settle(growth: Growth, search: Search) -> Region | Stuck | list[Growth]:
    """Ask nodes until all agree, one cannot go along, or one leaves a choice."""
    for node, gauges in unanswered(growth, search):
        search.questions -= 1
        search.touched.add(node)
        if search.spent:
            search.by_numbers = True
            return Stuck(_TOO_MANY, len(growth.gauges))
        reply = ask(growth, node, gauges, search)
        if reply.declined is not None and len(gauges) == 1:
            _remember(growth, next(iter(gauges)), reply.cause, reply.declined, search)
        live = reply.open_ways
        if not live:
            assert reply.why is not None
            return _set_aside(growth, node, gauges, reply.why, search)
        if len(live) > 1:
            branches = [growth.branch() for _ in live]
            refusals = [_follow(branch, node, None, way, search) for branch, way in zip(branches, live, strict=True)]
            open_ = [branch for branch, refused in zip(branches, refusals, strict=True) if refused is None]
            return open_ or Stuck(next(refused for refused in refusals if refused), len(growth.gauges))
        # What an only gauge demands by the only way it leaves is forced.
        only = next(iter(gauges)) if len(gauges) == 1 and len(reply.ways) == 1 else None
        refused = _follow(growth, node, only, live[0], search)
        if refused is not None:
            return Stuck(refused, len(growth.gauges))
        if growth.cost >= 0:
            break
    if growth.cost >= 0:
        return Stuck(growth.obstacle or as_much(growth), len(growth.gauges))
    region = growth.complete()
    is_free = search.node in search.rules.units.companions
    if (search.is_lone and not _removes_nodes(region, search)) or (is_free and region.insertions):
        return Stuck(_NO_NODE, len(growth.gauges))
    copied = _copied(region)
    shared = Refusal(f"it would copy {copied} elements of weights that other nodes share", Code.WEIGHTS_GROW)
    if copied > 0 and search.is_lone:
        return Stuck(shared, len(growth.gauges))
    if copied > _MAX_COPIED * region.saves:
        search.by_numbers = True
        return Stuck(shared, len(growth.gauges))
    return region


def _removes_nodes(region: Region, search: Search) -> bool:
    """Whether fewer nodes run than before, and none is a BatchNormalization that was none.

    An Add that becomes a BatchNormalization, to scale as well, is fine on a tensor as small as the one that is scaled
    now: the product of two numbers must not become a product of tensors.
    """
    gone = sum(edit.removed for edit in region.edits.values())
    new = [op_type for insertion in region.insertions for op_type in insertion.op_types]
    if gone <= len(new) or "BatchNormalization" in new:
        return False
    most = search.facts.elements(search.node.outputs[0])
    return all(
        edit.op_type != "BatchNormalization"
        or node.op_type == "BatchNormalization"
        or search.facts.elements(node.outputs[0]) <= most
        for node, edit in region.edits.items()
    )


def _copied(region: Region) -> int:
    """Count the elements of constants that come to be stored twice, since nodes outside of the region read them too."""
    shared = {
        constant.old
        for edit in region.edits.values()
        for constant in edit.inputs
        if isinstance(constant, Constant)
        and constant.old is not None
        and any(user not in region.edits for user in constant.old.consumers())
    }
    return sum(math.prod(dim for dim in value.shape if isinstance(dim, int)) for value in shared if value.shape)


def _remember(growth: Growth, value: ir.Value, cause: Cause, why: Refusal, search: Search) -> None:
    if cause is not Cause.UNKNOWN:
        # At the least: the cheapest node that could restore the old value here.
        toll = node_cost("Mul" if growth.gauges[value].scales else "Add", search.facts.elements(value))
        chain = [(each, growth.gauges[each]) for each in growth.chain(value)]
        search.obstacles.note(chain, cause, Obstacle(why, value, toll))


def _set_aside(
    growth: Growth, node: ir.Node, gauges: dict[ir.Value, Gauge], why: Refusal, search: Search
) -> Stuck | list[Growth]:
    """Answer for a node that cannot go along with all of its gauges.

    It keeps one of the old values, or all of them, if that pays.
    """
    stuck = Stuck(growth.obstacle or why, len(growth.gauges))
    if node is search.node:
        return stuck
    values = list(gauges)
    choices = [(value,) for value in values] + ([tuple(values)] if len(values) > 1 else [])
    branches = []
    for choice in choices:
        branch = growth.branch()
        branch.obstacle = branch.obstacle or why
        if all(branch.set_aside(value, node) is None for value in choice) and branch.cost < 0:
            branches.append(branch)
    return branches or stuck


def _follow(growth: Growth, node: ir.Node, only: ir.Value | None, way: Settled, search: Search) -> Refusal | None:
    """Take the way: the node's edit, and gauges on the values it demands them of, by force of the value `only`."""
    growth.edit(node, way.edit)
    return _take(growth, only, way.demands, search)


def _take(growth: Growth, by: ir.Value | None, demands: Demands, search: Search) -> Refusal | None:
    """Gauge the demanded values, or say why that cannot be."""
    for value, gauge in demands:
        refused = refusal(growth, None, ((value, gauge),), search)
        if refused is None and value not in growth.gauges:
            refused = growth.add(value, gauge, by)
            if (border := growth.border(value)) is not None:
                _remember(growth, value, Cause.ANYTHING, border, search)
        if refused is not None:
            return growth.obstacle or refused
    return None
