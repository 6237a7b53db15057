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

The solver knows no operator: rules answer (see site.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm._facts import Dim, Facts
from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.region import Growth, Region, owner_of_output, unknown_extents
from onnxnorm.affine.rules import rule_for
from onnxnorm.affine.rules.sources import AffineNode
from onnxnorm.affine.site import Answer, Declined, Demands, Settled, Site

__all__ = ["Stuck", "solve"]

# A region may span a whole network; beyond this many questions to rules it costs more than it can bring.
_MAX_QUESTIONS = 4000
_MAX_BRANCHES = 64

# How far a value that the original does not have may be scaled. Half precision has little room for it.
_MAX_SCALE = {ir.DataType.FLOAT16: 2.0**4, ir.DataType.BFLOAT16: 2.0**32, ir.DataType.FLOAT: 2.0**32}
# Undoing a shift costs as many bits as the shift is larger than the values: at most four.
_MAX_CANCELLATION = 16.0


@dataclass(frozen=True)
class Stuck:
    """Why no region could be completed: the sentence of the node that declined, and how far the affine had come."""

    reason: str
    depth: int


@dataclass(frozen=True, eq=False)
class _Source:
    """The node whose affine is to go, and what its rule found out about it."""

    node: ir.Node
    found: AffineNode
    facts: Facts


def solve(node: ir.Node, found: AffineNode, facts: Facts) -> Region | Stuck:
    """The region that makes the affine of `node` cheapest, or removes it; else why there is none."""
    value = node.inputs[found.data]
    assert value is not None
    source = _Source(node, found, facts)
    budget = _Budget()
    farthest = Stuck("there is nothing to do", -1)
    best: Region | None = None
    for seeds in _placements(value, node.outputs[0], found.affine):
        result = _grow(source, seeds, budget)
        if isinstance(result, Region):
            if _is_perfect(result, node):
                return result
            if best is None or result.saves > best.saves:
                best = result
        else:
            # The placement that came farthest has the reason that is closest to the obstacle.
            farthest = max(farthest, result, key=lambda failure: failure.depth)
    return best or farthest


def _placements(x: ir.Value, y: ir.Value, affine: ChannelAffine) -> Iterator[dict[ir.Value, Gauge]]:
    """Ways to share the affine out between the two sides, those that leave nothing first."""
    if affine.is_identity:
        yield {}
        return
    yield {x: Gauge.new(affine)}
    yield {y: Gauge.old(affine)}
    if not (affine.scales and affine.shifts):
        return
    rank = affine.rank
    scale, shift = ChannelAffine.of(affine.scale, 0.0, rank), ChannelAffine.of(1.0, affine.shift, rank)
    yield {x: Gauge.new(scale), y: Gauge.old(shift)}
    inverse = affine.inverse()
    if inverse is not None:
        inner_shift = ChannelAffine.of(1.0, affine.shift / affine.scale, rank)
        yield {x: Gauge.new(inner_shift), y: Gauge.old(scale)}
    yield {x: Gauge.new(scale)}
    if inverse is not None:
        yield {y: Gauge.old(scale)}
    yield {y: Gauge.old(shift)}
    if inverse is not None:
        yield {x: Gauge.new(inner_shift)}


def _is_perfect(region: Region, node: ir.Node) -> bool:
    """Whether the affine is gone and no other node became dearer for it."""
    own = region.edits.get(node)
    return own is not None and own.removed and not region.insertions and all(e.cost <= 0 for e in region.edits.values())


class _Budget:
    def __init__(self) -> None:
        self.questions = _MAX_QUESTIONS
        self.branches = _MAX_BRANCHES

    @property
    def spent(self) -> bool:
        return self.questions <= 0 or self.branches <= 0


def _grow(source: _Source, seeds: dict[ir.Value, Gauge], budget: _Budget) -> Region | Stuck:
    backward = source.node.outputs[0] not in seeds
    start = Growth(source.facts, backward, unknown_extents(source.node.outputs[0], source.facts))
    start.todo[source.node] = None
    refused = _take(start, tuple(seeds.items()), source)
    if refused is not None:
        return Stuck(refused, 0)
    # Depth first over the choices that are open.
    open_branches = [start]
    budget.branches = _MAX_BRANCHES
    farthest = Stuck("there is nothing to do", -1)
    best: Region | None = None
    while open_branches and not budget.spent:
        outcome = _settle(open_branches.pop(), source, budget)
        if isinstance(outcome, Stuck):
            farthest = max(farthest, outcome, key=lambda failure: failure.depth)
        elif isinstance(outcome, list):
            budget.branches -= len(outcome) - 1
            open_branches.extend(reversed(outcome))
        elif best is None or outcome.saves > best.saves:
            best = outcome
            if _is_perfect(best, source.node):
                break
    if best is None and budget.spent:
        return Stuck("the region that would have to change with it is too large", farthest.depth)
    return best or farthest


def _settle(growth: Growth, source: _Source, budget: _Budget) -> Region | Stuck | list[Growth]:
    """Ask nodes until all agree, one cannot go along, or one leaves a choice."""
    while growth.todo:
        node = next(iter(growth.todo))
        del growth.todo[node]
        gauges = growth.gauges_of(node)
        if not gauges and node is not source.node:
            growth.edit(node, None)
            continue
        budget.questions -= 1
        if budget.spent:
            return Stuck("the region that would have to change with it is too large", len(growth.gauges))
        answer = _ask(node, gauges, source.facts)
        if isinstance(answer, Declined):
            return _set_aside(growth, node, gauges, f"{_called(node)} {answer.reason}", source)
        ways = (answer,) if isinstance(answer, Settled) else answer.ways
        refusals = [_refusal(growth, node, way.demands, source) for way in ways]
        live = [way for way, refused in zip(ways, refusals, strict=True) if refused is None]
        if not live:
            reason = next(refused for refused in refusals if refused is not None)
            return _set_aside(growth, node, gauges, reason, source)
        if len(live) > 1:
            branches = [growth.branch() for _ in live]
            refusals = [_follow(branch, node, way, source) for branch, way in zip(branches, live, strict=True)]
            open_ = [branch for branch, refused in zip(branches, refusals, strict=True) if refused is None]
            return open_ or Stuck(next(refused for refused in refusals if refused), len(growth.gauges))
        refused = _follow(growth, node, live[0], source)
        if refused is not None:
            return Stuck(refused, len(growth.gauges))
        if growth.cost >= 0:
            break
    if growth.cost >= 0:
        return Stuck(growth.obstacle or "moving it would cost as much as it saves", len(growth.gauges))
    return growth.complete()


def _ask(node: ir.Node, gauges: dict[ir.Value, Gauge], facts: Facts) -> Answer:
    rule = rule_for(node)
    if rule is None:
        return Declined("lets no affine pass")
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return Declined("takes an attribute from the function around it")
    return rule(Site(node, gauges, facts))


def _set_aside(
    growth: Growth, node: ir.Node, gauges: dict[ir.Value, Gauge], reason: str, source: _Source
) -> Stuck | list[Growth]:
    """The node cannot go along with all of its gauges: it keeps one of the old values, or all of them, if that pays."""
    stuck = Stuck(growth.obstacle or reason, len(growth.gauges))
    if node is source.node:
        return stuck
    values = list(gauges)
    choices = [(value,) for value in values] + ([tuple(values)] if len(values) > 1 else [])
    branches = []
    for choice in choices:
        branch = growth.branch()
        branch.obstacle = branch.obstacle or reason
        if all(branch.set_aside(value, node) is None for value in choice) and branch.cost < 0:
            branches.append(branch)
    return branches or stuck


def _follow(growth: Growth, node: ir.Node, way: Settled, source: _Source) -> str | None:
    """Take the way: the node's edit, and gauges on the values it demands them of."""
    growth.edit(node, way.edit)
    return _take(growth, way.demands, source)


def _take(growth: Growth, demands: Demands, source: _Source) -> str | None:
    """Gauge the demanded values, or say why that cannot be."""
    for value, gauge in demands:
        refused = _refusal(growth, None, ((value, gauge),), source)
        if refused is None and value not in growth.gauges:
            refused = growth.add(value, gauge)
        if refused is not None:
            return growth.obstacle or refused
    return None


def _refusal(growth: Growth, node: ir.Node | None, demands: Demands, source: _Source) -> str | None:
    """Why one of the demands of `node` cannot be met, as far as can be told from the value alone."""
    for value, gauge in demands:
        present = growth.gauges.get(value)
        if present is not None:
            if node in growth.aside.get(value, ()) or not present.same_as(gauge):
                return f"two ways demand different affines of {value.name!r}"
        elif growth.facts.is_constant(value) and not isinstance(owner_of_output(value, growth.facts), ir.Node):
            return f"{value.name!r} is a constant"
        elif not _fits(gauge, growth.facts.shape(value)):
            return f"{value.name!r} has another shape than the affine that it would carry"
        elif (refused := _inexact(value, gauge, source)) is not None:
            return refused
    for (value, gauge), (other, another) in itertools.combinations(demands, 2):
        if value is other and not gauge.same_as(another):
            return f"two ways demand different affines of {value.name!r}"
    return None


def _fits(gauge: Gauge, shape: tuple[Dim, ...] | None) -> bool:
    """Whether the value keeps its shape under the affine, as far as that is known."""
    if shape is None:
        return True
    extents = gauge.any.scale.shape
    return len(extents) == len(shape) and all(
        extent == 1 or not isinstance(dim, int) or dim == extent for extent, dim in zip(extents, shape, strict=True)
    )


def _inexact(value: ir.Value, gauge: Gauge, source: _Source) -> str | None:
    """Why rounding would hurt although the algebra holds."""
    if value is source.node.inputs[source.found.data]:
        return _cancels(value, gauge, source.found) if len(value.uses()) > 1 and gauge.shifts else None
    if value is source.node.outputs[0]:
        return None
    limit = _MAX_SCALE.get(value.dtype or ir.DataType.FLOAT, 2.0**256)
    size = np.abs(gauge.any.scale[gauge.any.scale != 0.0])
    if size.size and (size.max() > limit or size.min() < 1.0 / limit):
        return f"{value.name!r} would have to be scaled beyond the range of its type"
    return None


def _cancels(value: ir.Value, gauge: Gauge, found: AffineNode) -> str | None:
    """Other readers of x must get it back from s x + t, which loses bits where t / s is much larger than x."""
    affine = gauge.to_old
    if affine is None:
        return f"{value.name!r} has other readers, which could not undo a scale of zero"
    typical = 1.0 if found.spread is None else found.spread
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(affine.shift) / typical
    if not np.all(ratio <= _MAX_CANCELLATION):
        return f"{value.name!r} has other readers, and undoing the shift for them would lose accuracy"
    return None


def _called(node: ir.Node) -> str:
    return f"{node.op_type} {node.name!r}"
