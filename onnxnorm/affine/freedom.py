"""Finds what has to change together where a value is replaced by an affine of itself, with no node more or less.

That is the freedom that folding leaves: any positive scales may be moved over a ReLU, a residual stream or a join, from
weights to weights. The solver uses it to make affines disappear; here nothing disappears, the numbers alone change.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.exactness import fits
from onnxnorm.affine.interface import Declined, Demands, Edit, Settled
from onnxnorm.affine.parties import Outside, maker_of, takers_of, wires
from onnxnorm.affine.region import Insertion, Region
from onnxnorm.affine.rule_cache import RuleCache
from onnxnorm.affine.units import Units
from onnxnorm.graph.facts import Facts

__all__ = ["free_region"]

_MOST_VALUES = 512


def free_region(value: ir.Value, gauge: Gauge, facts: Facts, units: Units | None = None) -> Region | None:
    """Return the region that changes with `value`, where all of its parties go along by other constants alone.

    None where one of them cannot, or where the model ends there. Of several ways that a rule offers the first that fits
    is taken.
    """
    growth = _Growth(facts, RuleCache(facts, units))
    return growth.region() if growth.take(None, ((value, gauge),)) and growth.settle() else None


class _Growth:
    def __init__(self, facts: Facts, rules: RuleCache) -> None:
        self._facts, self._rules = facts, rules
        self._gauges: dict[ir.Value, Gauge] = {}
        self._edits: dict[ir.Node, Edit] = {}
        self._readers: dict[ir.Value, set[ir.Node]] = {}
        """The nodes that take a constant changed; others read it as it is."""
        self._todo: dict[ir.Node, None] = {}

    def settle(self) -> bool:
        """Ask nodes until all agree; tell whether they do."""
        while self._todo:
            node = next(iter(self._todo))
            del self._todo[node]
            answer = self._rules.ask(node, self._gauges_of(node))
            if isinstance(answer, Declined):
                return False
            ways = (answer,) if isinstance(answer, Settled) else answer.ways
            way = next((way for way in ways if self._fits(node, way)), None)
            if way is None:
                return False
            self._edits.pop(node, None)
            if way.edit is not None:
                self._edits[node] = way.edit
            if not self.take(node, way.demands):
                return False
        return True

    def region(self) -> Region:
        insertions, gauges = [], {}
        for value, gauge in self._gauges.items():
            if not self._facts.is_constant(value):
                gauges[value] = gauge
            elif gauge.to_new is not None:
                insertions.append(Insertion(value, gauge.to_new, (), tuple(self._readers[value])))
        return Region(gauges, self._edits, tuple(insertions), 0)

    def take(self, node: ir.Node | None, demands: Demands) -> bool:
        """Gauge the values that `node` demands it of; tell whether that can be."""
        for value, gauge in demands:
            if value in self._gauges:
                if self._facts.is_constant(value) and node is not None:
                    self._readers[value].add(node)
                continue
            self._gauges[value] = gauge
            if self._facts.is_constant(value):
                if node is None or self._facts.constant(value) is None:
                    return False
                self._readers[value] = {node}
                continue
            parties = (maker_of(value, self._facts), *takers_of(value, self._facts))
            if any(isinstance(party, Outside) for party in parties) or len(self._gauges) > _MOST_VALUES:
                return False
            self._todo.update((party, None) for party in parties if isinstance(party, ir.Node))
        return True

    def _gauges_of(self, node: ir.Node) -> dict[ir.Value, Gauge]:
        return {
            value: self._gauges[value]
            for value in wires(node)
            if value in self._gauges and node in self._readers.get(value, (node,))
        }

    def _fits(self, node: ir.Node, way: Settled) -> bool:
        edit = way.edit
        if edit is not None and (edit.removed or edit.op_type not in (None, node.op_type)):
            return False
        for value, gauge in way.demands:
            present = self._gauges.get(value)
            if present is not None and not present.same_as(gauge):
                return False
            if present is None and not fits(gauge, self._facts.shape(value)):
                return False
        return True
