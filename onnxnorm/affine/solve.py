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
from onnxnorm.affine.site import Choice, Declined, Edit, Settled, Site

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
    saves: float


@dataclass(frozen=True)
class Stuck:
    """Why no region could be completed: the sentence of the node that declined, and how far the affine had come."""

    reason: str
    depth: int


@dataclass(frozen=True, eq=False)
class _State:
    gauges: dict[ir.Value, Gauge]
    edits: dict[ir.Node, Edit]
    todo: tuple[ir.Node, ...]


def solve(node: ir.Node, found: AffineNode, facts: Facts) -> Region | Stuck:
    """The first region that removes the affine of `node` or makes it cheaper; else why there is none."""
    value = node.inputs[found.data]
    assert value is not None
    stuck: list[Stuck] = []
    budget = _Budget()
    for seeds in _placements(value, node.outputs[0], found.affine):
        if budget.spent:
            break
        result = _grow(node, seeds, found, facts, budget)
        if isinstance(result, Region):
            return result
        stuck.append(result)
    # The placement that came farthest has the reason that is closest to the obstacle.
    return max(stuck, key=lambda failure: failure.depth) if stuck else Stuck("the region is too large", 0)


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


def _grow(
    origin: ir.Node, seeds: dict[ir.Value, Gauge], found: AffineNode, facts: Facts, budget: _Budget
) -> Region | Stuck:
    state = _State({}, {}, (origin,))
    for value, gauge in seeds.items():
        assigned = _assigned(state, value, gauge, facts, origin, found)
        if isinstance(assigned, Stuck):
            return assigned
        state = assigned
    # Depth first over the choices that rules leave open.
    open_states = [state]
    farthest = Stuck("there is nothing to do", 0)
    while open_states and not budget.spent:
        state = open_states.pop()
        outcome = _settle(state, facts, origin, found, budget)
        if isinstance(outcome, Region):
            if outcome.saves > 0:
                return outcome
            outcome = Stuck("moving it would cost as much as it saves", len(outcome.gauges))
        if isinstance(outcome, Stuck):
            farthest = max(farthest, outcome, key=lambda failure: failure.depth)
        else:
            budget.branches -= len(outcome) - 1
            open_states.extend(reversed(outcome))
    if budget.spent:
        return Stuck("the region that would have to change with it is too large", farthest.depth)
    return farthest


def _settle(
    state: _State, facts: Facts, origin: ir.Node, found: AffineNode, budget: _Budget
) -> Region | Stuck | list[_State]:
    """Ask nodes until all agree, one declines, or one leaves a choice."""
    while state.todo:
        node, state = state.todo[0], _State(state.gauges, state.edits, state.todo[1:])
        budget.questions -= 1
        if budget.spent:
            return Stuck("the region that would have to change with it is too large", len(state.gauges))
        rule = rule_for(node)
        if rule is None:
            return Stuck(f"{_called(node)} lets no affine pass", len(state.gauges))
        if any(attribute.is_ref() for attribute in node.attributes.values()):
            return Stuck(f"{_called(node)} takes an attribute from the function around it", len(state.gauges))
        answer = rule(Site(node, state.gauges, facts))
        if isinstance(answer, Declined):
            return Stuck(f"{_called(node)} {answer.reason}", len(state.gauges))
        ways = answer.ways if isinstance(answer, Choice) else (answer,)
        followed = [_followed(state, node, way, facts, origin, found) for way in ways]
        live = [next_state for next_state in followed if isinstance(next_state, _State)]
        if not live:
            return next(failure for failure in followed if isinstance(failure, Stuck))
        if len(live) > 1:
            return live
        state = live[0]
    return Region(state.gauges, state.edits, -sum(edit.cost for edit in state.edits.values()))


def _followed(
    state: _State, node: ir.Node, way: Settled, facts: Facts, origin: ir.Node, found: AffineNode
) -> _State | Stuck:
    edits = {key: edit for key, edit in state.edits.items() if key is not node}
    if way.edit is not None:
        edits[node] = way.edit
    state = _State(state.gauges, edits, state.todo)
    for value, gauge in way.demands:
        assigned = _assigned(state, value, gauge, facts, origin, found)
        if isinstance(assigned, Stuck):
            return assigned
        state = assigned
    # A demand can make the node itself answer anew; it is its own neighbour then.
    return state


def _assigned(
    state: _State, value: ir.Value, gauge: Gauge, facts: Facts, origin: ir.Node, found: AffineNode
) -> _State | Stuck:
    """Put the gauge on the value, and its producer and consumers on the list of those who have to answer."""
    depth = len(state.gauges)
    present = state.gauges.get(value)
    if present is not None:
        return state if present.same_as(gauge) else Stuck(f"two ways demand different affines of {value.name!r}", depth)
    producer = value.producer()
    if value.is_graph_output():
        return Stuck(f"{value.name!r} is an output of the graph", depth)
    if producer is None:
        if value.is_initializer():
            return Stuck(
                f"{value.name!r} is also a graph input, so a caller may override it (see freeze_inputs)", depth
            )
        return Stuck(f"{value.name!r} is an input of the graph", depth)
    for consumer in value.consumers():
        if consumer.graph is not producer.graph:
            return Stuck(f"{value.name!r} is also read inside a subgraph by {_called(consumer)}", depth)
    refused = _inexact(value, gauge, origin, found)
    if refused is not None:
        return Stuck(refused, depth)
    neighbours = [producer, *value.consumers()]
    todo = state.todo + tuple(node for node in dict.fromkeys(neighbours) if node not in state.todo)
    return _State({**state.gauges, value: gauge}, state.edits, todo)


def _inexact(value: ir.Value, gauge: Gauge, origin: ir.Node, found: AffineNode) -> str | None:
    """Why rounding would hurt although the algebra holds."""
    own = value is origin.outputs[0] or value is origin.inputs[found.data]
    if own:
        several = value is origin.inputs[found.data] and len(value.uses()) > 1
        if several and gauge.shifts:
            return _cancels(value, gauge, found)
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
