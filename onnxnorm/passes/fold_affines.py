"""Folds every channel affine that can disappear.

Before: BatchNormalization, and Mul, Add, Sub, Div, Neg by constants, anywhere in the model.
After: each is absorbed by a linear operator or another affine, wherever that is exact in float64; what is left has a
reason. The algebra and its conditions are those of `onnxnorm.affine`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import onnx_ir as ir

from onnxnorm.affine import (
    AffineNode,
    Declined,
    Obstacles,
    Refusal,
    Region,
    RepeatedFailures,
    Stuck,
    Units,
    affine_of,
    apply,
    diagnose,
    evidence_of,
    is_affine,
    next_door,
    remember_sizes,
    solve,
)
from onnxnorm.affine.digits import Digits
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.transformation import Transformation
from onnxnorm.idioms import units_in
from onnxnorm.journal import Effect, Journal
from onnxnorm.journal.reasons import Code
from onnxnorm.journal.words import Words, joined, naming_node, say
from onnxnorm.model.walk import changeable_graphs
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.passes.tied_scales import ties_scales

__all__ = ["FoldAffines"]

_NAME = "fold_affines"
_NEARBY = "fold_affines_nearby"
_FOLDS_PER_AFFINE = 8
_SHOWN = 4
_TIES = "parts scales before it from those behind it, without which int8 would round channels worse"
# Questions to rules that finding out what is in the way of what is left may take.
_MOST_ASKED = 10000


class FoldAffines(JournaledPass):
    """Moves and absorbs the affines of every graph of the model."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        nearby: bool = False,
        after: Collection[str] = (),
        target: str = "portable",
        for_int8: bool = False,
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told what went where, and what stays for which reason.
            nearby: only what the maker of a value takes up for the affine alone.
            after: run only if one of the passes of these names has changed something since affines were last moved.
            target: the runtime whose idioms stay whole.
            for_int8: leave norms that part the scales before a sum from those behind it.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._nearby = nearby
        self._after = frozenset(after)
        self._target = target
        self._for_int8 = for_int8
        self._units = Units()
        self._left = 0
        self._asked = 0
        # Of the model as it is; None when it has changed.
        self._digits: Digits | None = None
        self._failures = RepeatedFailures()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        if self._after and not self._journal.since(_NAME) & self._after:
            return ir.passes.PassResult(model, modified=False)
        facts = self._facts(model)
        self._digits = None
        self._units = units_in(model, facts, self._target)
        modified = not self._journal.unchanged_since(_NEARBY) and self._to_neighbours(model, facts)
        self._journal.mark(_NEARBY)
        if not self._nearby:
            modified |= self._anywhere(model, facts)
            self._journal.mark(_NAME)
        return ir.passes.PassResult(model, modified)

    def _may_go(self, node: ir.Node) -> bool:
        return is_affine(node) and not (node.op_type != "BatchNormalization" and self._units.stays(node))

    def _anywhere(self, model: ir.Model, facts: Facts) -> bool:
        # A fold may clear the way for one that was declined before it; each lowers the cost, so this ends. The cost is
        # an estimate, though, and a model can be made to fool it: there is a limit besides.
        affines = sum(is_affine(node) for graph in changeable_graphs(model) for node in graph)
        self._left = _FOLDS_PER_AFFINE * affines
        modified = False
        stuck: dict[ir.Node, frozenset[ir.Node]] = {}
        changed: set[ir.Node] | None = None
        while changed is None or changed:
            changed = self._sweep(model, facts, stuck, changed)
            modified |= bool(changed)
        return modified

    def _to_neighbours(self, model: ir.Model, facts: Facts) -> bool:
        """Fold the affines first that the maker of their input takes up for them alone."""
        modified = False
        for graph in changeable_graphs(model):
            for node in graph:
                found = affine_of(node, facts) if self._may_go(node) else None
                region = next_door(node, found, facts, self._units) if isinstance(found, AffineNode) else None
                if region is not None and isinstance(found, AffineNode):
                    modified |= self._apply(node, found, region, facts) is None
        return modified

    def _sweep(
        self,
        model: ir.Model,
        facts: Facts,
        stuck: dict[ir.Node, frozenset[ir.Node]],
        last: set[ir.Node] | None,
    ) -> set[ir.Node]:
        """Try every affine that was not tried, or whose search met a node that has changed.

        Return the nodes changed now.

        The dearest first: where several affines compete for one freedom, such as those that read one residual stream,
        the one that costs most at run time gets it.
        """
        nodes = [node for graph in changeable_graphs(model) for node in graph if self._may_go(node)]
        nodes.sort(key=lambda node: -facts.elements(node.outputs[0]))
        changed: set[ir.Node] = set()
        obstacles = Obstacles()
        for node in nodes:
            if node.graph is None or not is_affine(node):
                continue
            if last is not None and node in stuck and not (stuck[node] & last or stuck[node] & changed):
                continue
            if self._left <= 0:
                return set()
            stuck.pop(node, None)
            outcome = self._fold(node, facts, obstacles)
            if isinstance(outcome, Stuck):
                stuck[node] = outcome.touched | {node}
            else:
                self._left -= 1
                changed |= outcome
        return changed

    def _fold(self, node: ir.Node, facts: Facts, obstacles: Obstacles) -> set[ir.Node] | Stuck:
        """Fold the affine of the node; return the nodes that were changed, or why the affine stays."""
        found = affine_of(node, facts)
        if isinstance(found, Declined):
            why = Refusal(found.reason, found.code, node=node)
            self._decline(node, why, facts)
            return Stuck(why, 0)
        # Of a normalization people want to know what is in its own way.
        may_repeat = node.op_type != "BatchNormalization"
        if may_repeat and (touched := self._failures.touched(node, found, facts)) is not None:
            return Stuck(Refusal("", Code.OPERATOR), 0, touched)
        self._digits = self._digits or Digits(facts)
        region = solve(node, found, facts, obstacles, self._units, self._digits)
        if not isinstance(region, Region):
            self._decline(node, region.why, facts)
            if may_repeat and not region.by_numbers:
                self._failures.note(node, found, region.touched, facts)
            return region
        if self._for_int8 and ties_scales(node, found, facts, self._units):
            why = Refusal(_TIES, Code.LOSES_ACCURACY, node=node)
            self._decline(node, why, facts)
            return Stuck(why, 0)
        around = _around(region)
        refused = self._apply(node, found, region, facts)
        return around if refused is None else Stuck(refused, 0)

    def _apply(self, node: ir.Node, found: AffineNode, region: Region, facts: Facts) -> Refusal | None:
        """Apply the region. Return why that cannot be, or None."""
        op_type = node.op_type
        cost = None
        if op_type == "BatchNormalization" and region.why is not None and self._asked < _MOST_ASKED:
            # Of what is left people want to know what is truly in its way.
            diagnosis = diagnose(node, found, facts, self._units, self._digits)
            self._asked += diagnosis.questions
            region = replace(region, why=diagnosis.why or region.why)
            cost = diagnosis.cost
        detail, left = _told(node, region)
        why = region.why if left else None
        # The names are those of the model as it was.
        evidence = None if why is None else evidence_of(node, why, facts, cost)
        own = node.inputs[found.data]
        refused = apply(region, facts)
        self._digits = None
        if refused is not None:
            if refused.growth:
                facts.size_budget.refused[node] = refused.growth
            self._decline(node, refused, facts)
            return refused
        if own is not None:
            remember_sizes(region, own, found.spread, facts)
        self._journal.rewrite(
            _NAME,
            node,
            op_type,
            detail,
            effect=Effect.PARTLY if left else Effect.GONE,
            into=_takers(node, region),
            code=None if why is None else why.code,
            evidence=evidence,
        )
        return None

    def _decline(self, node: ir.Node, why: Refusal, facts: Facts) -> None:
        # An Add or a Mul is a bias or a gate more often than a normalization; nobody asks why it is there.
        if node.op_type == "BatchNormalization":
            self._journal.decline(node, why.reason, why.code, evidence=evidence_of(node, why, facts))


def _around(region: Region) -> set[ir.Node]:
    """Return the nodes of a region and their neighbours: the nodes whose wires it changes."""
    nodes = set(region.edits)
    for value in region.gauges:
        nodes.update(value.consumers())
        if (maker := value.producer()) is not None:
            nodes.add(maker)
    for node in region.edits:
        for output in node.outputs:
            nodes.update(output.consumers())
    return nodes


def _takers(node: ir.Node, region: Region) -> list[ir.Node]:
    """Return the other nodes of the region that take the affine up."""
    return [other for other, edit in region.edits.items() if other is not node and edit.what == "absorbs"]


def _told(node: ir.Node, region: Region) -> tuple[str, bool]:
    """Tell in words where the affine went and through which nodes, and whether something of it is left."""
    own = region.edits.get(node)
    takers = _takers(node, region)
    through = {producer for value in region.gauges if (producer := value.producer()) is not None}
    through |= {user for value in region.gauges for user in value.consumers()}
    path = sorted({naming_node(other) for other in through if other is not node and other not in region.edits})
    left = [op_type for insertion in region.insertions for op_type in insertion.op_types]
    if own is not None and not own.removed:
        left.insert(0, own.op_type or node.op_type)
    makers = [maker for insertion in region.insertions if (maker := insertion.value.producer()) is not None]
    where = say(" behind {}", naming_node(makers[0])) if makers else ""
    text: str = "becomes something cheaper" if left else "is the identity"
    if takers:
        text = say("{}absorbed into {}", "partly " if left else "", _listed([naming_node(other) for other in takers]))
    if path:
        text = say("{} through {}", text, _listed(path))
    if left:
        text = say("{}; {} {} left{}", text, " and ".join(left), "is" if len(left) == 1 else "are", where)
        text = say("{}, since {}", text, region.reason) if region.reason else text
    return text, bool(left)


def _listed(nodes: Sequence[str]) -> Words:
    """List the nodes, the first four of many."""
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return say("{}{}", joined(", ", nodes[:_SHOWN]), more)
