"""The solver: for one affine, the region of the graph that must change together so that it disappears.

The affine y = s x + t of a node is given to one of its sides (or its scale to one and its shift to the other):
x' = s x + t replaces x, or y' = x replaces y. Replacing a value is a gauge on it; its producer and all of its consumers
must answer for it, and may demand gauges on further values. The region is complete when nobody demands anything more.
Then the run-time cost of the affines in it is compared before and after; only a region that lowers it is applied.

Several placements may be exact. They are tried in the order that leaves the least work first: everything gone, then
only the cheaper half left. The first one that lowers the cost is taken, so the choice is a minimum over the placements
of one affine with all other nodes as they are; taken together it is a local minimum: no single affine of the result can
be removed or made cheaper by moving it alone.
It ends, since each applied region lowers the total cost, which is a sum of finitely many node costs.

The solver knows no operator: rules answer (see site.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm._facts import Facts
from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.rules import rule_for
from onnxnorm.affine.rules.sources import AffineNode
from onnxnorm.affine.site import Answer, Declined, Edit, Settled, Site

__all__ = ["Region", "Stuck", "solve"]

# A region may span a whole network; beyond this many questions to rules it costs more than it can bring.
_MAX_QUESTIONS = 4000
_MAX_BRANCHES = 64

# How far a value that the original does not have may be scaled. Half precision has little room for it.
_MAX_SCALE = {ir.DataType.FLOAT16: 2.0**4, ir.DataType.BFLOAT16: 2.0**32, ir.DataType.FLOAT: 2.0**32}
# Undoing a shift costs as many bits as the shift is larger than the values: at most four.
_MAX_CANCELLATION = 16.0


@dataclass(frozen=True, eq=False)
class Region:
    """What has to change together: gauges of values, edits of nodes, and the cost it saves at run time."""

    gauges: dict[ir.Value, Gauge]
    edits: dict[ir.Node, Edit]
    saves: int


@dataclass(frozen=True)
class Stuck:
    """Why no region could be completed: the sentence of the node that declined, and how far the affine had come."""

    reason: str
    depth: int


@dataclass(eq=False)
class _Growth:
    """A region as far as it has grown. `todo` are the nodes that have yet to answer for the gauges around them."""

    gauges: dict[ir.Value, Gauge]
    edits: dict[ir.Node, Edit]
    todo: dict[ir.Node, None]

    def branch(self) -> _Growth:
        return _Growth(dict(self.gauges), dict(self.edits), dict(self.todo))


@dataclass(frozen=True, eq=False)
class _Source:
    """The node whose affine is to go, and what its rule found out about it."""

    node: ir.Node
    found: AffineNode
    facts: Facts


def solve(node: ir.Node, found: AffineNode, facts: Facts) -> Region | Stuck:
    """The first region that removes the affine of `node` or makes it cheaper; else why there is none."""
    value = node.inputs[found.data]
    assert value is not None
    source = _Source(node, found, facts)
    budget = _Budget()
    farthest = Stuck("there is nothing to do", -1)
    for seeds in _placements(value, node.outputs[0], found.affine):
        result = _grow(source, seeds, budget)
        if isinstance(result, Region):
            return result
        # The placement that came farthest has the reason that is closest to the obstacle.
        farthest = max(farthest, result, key=lambda failure: failure.depth)
    return farthest


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


class _Budget:
    def __init__(self) -> None:
        self.questions = _MAX_QUESTIONS
        self.branches = _MAX_BRANCHES

    @property
    def spent(self) -> bool:
        return self.questions <= 0 or self.branches <= 0


def _grow(source: _Source, seeds: dict[ir.Value, Gauge], budget: _Budget) -> Region | Stuck:
    start = _Growth({}, {}, {source.node: None})
    for value, gauge in seeds.items():
        refused = _assign(start, value, gauge, source)
        if refused is not None:
            return refused
    # Depth first over the choices that rules leave open.
    open_branches = [start]
    budget.branches = _MAX_BRANCHES
    farthest = Stuck("there is nothing to do", -1)
    while open_branches:
        if budget.spent:
            return Stuck("the region that would have to change with it is too large", farthest.depth)
        outcome = _settle(open_branches.pop(), source, budget)
        if isinstance(outcome, Region):
            if outcome.saves > 0:
                return outcome
            outcome = Stuck("moving it would cost as much as it saves", len(outcome.gauges))
        if isinstance(outcome, Stuck):
            farthest = max(farthest, outcome, key=lambda failure: failure.depth)
        else:
            budget.branches -= len(outcome) - 1
            open_branches.extend(reversed(outcome))
    return farthest


def _settle(growth: _Growth, source: _Source, budget: _Budget) -> Region | Stuck | list[_Growth]:
    """Ask nodes until all agree, one declines, or one leaves a choice."""
    while growth.todo:
        node = next(iter(growth.todo))
        del growth.todo[node]
        budget.questions -= 1
        if budget.spent:
            return Stuck("the region that would have to change with it is too large", len(growth.gauges))
        answer = _ask(node, growth, source.facts)
        if isinstance(answer, Declined):
            return Stuck(f"{_called(node)} {answer.reason}", len(growth.gauges))
        if isinstance(answer, Settled):
            refused = _follow(growth, node, answer, source)
            if refused is not None:
                return refused
            continue
        branches = [growth.branch() for _ in answer.ways]
        refusals = [_follow(branch, node, way, source) for branch, way in zip(branches, answer.ways, strict=True)]
        live = [branch for branch, refused in zip(branches, refusals, strict=True) if refused is None]
        return live or next(refused for refused in refusals if refused is not None)
    return Region(growth.gauges, growth.edits, -sum(edit.cost for edit in growth.edits.values()))


def _ask(node: ir.Node, growth: _Growth, facts: Facts) -> Answer:
    rule = rule_for(node)
    if rule is None:
        return Declined("lets no affine pass")
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return Declined("takes an attribute from the function around it")
    return rule(Site(node, growth.gauges, facts))


def _follow(growth: _Growth, node: ir.Node, way: Settled, source: _Source) -> Stuck | None:
    """Take the way: the node's edit, and gauges on the values it demands them of."""
    growth.edits.pop(node, None)
    if way.edit is not None:
        growth.edits[node] = way.edit
    for value, gauge in way.demands:
        refused = _assign(growth, value, gauge, source)
        if refused is not None:
            return refused
    return None


def _assign(growth: _Growth, value: ir.Value, gauge: Gauge, source: _Source) -> Stuck | None:
    """Put the gauge on the value, and its producer and consumers on the list of those who have to answer."""
    present = growth.gauges.get(value)
    if present is not None:
        return (
            None if present.same_as(gauge) else _stuck(growth, f"two ways demand different affines of {value.name!r}")
        )
    producer = value.producer()
    if value.is_graph_output():
        return _stuck(growth, f"{value.name!r} is an output of the graph")
    if producer is None:
        if value.is_initializer():
            return _stuck(
                growth, f"{value.name!r} is a graph input too, so a caller may override it (see freeze_inputs)"
            )
        return _stuck(growth, f"{value.name!r} is an input of the graph")
    consumers = value.consumers()
    for consumer in consumers:
        if consumer.graph is not producer.graph:
            return _stuck(growth, f"{value.name!r} is also read inside a subgraph by {_called(consumer)}")
    refused = _inexact(value, gauge, source)
    if refused is not None:
        return _stuck(growth, refused)
    growth.gauges[value] = gauge
    # The node that made the demand is among them: it has to say whether it agrees with all of its wires.
    growth.todo.update(dict.fromkeys((producer, *consumers)))
    return None


def _stuck(growth: _Growth, reason: str) -> Stuck:
    return Stuck(reason, len(growth.gauges))


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
