"""Asks the rules of nodes, and keeps their answers: a search comes by the same gauges on several ways."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.interface import Answer, Cause, Choice, Declined, Settled, Site
from onnxnorm.affine.rules import refusal_of, rule_for
from onnxnorm.affine.units import Units
from onnxnorm.graph.contradictions import contradicts_itself
from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.journal.reasons import Code
from onnxnorm.numerics.arrays import TooLargeError

__all__ = ["RuleCache"]

# Numbers in the gauges that are kept for their answers.
_MAX_KEPT = 2**23


class RuleCache:
    """Answers of the rules, kept as long as the model stays as it is."""

    def __init__(self, facts: Facts, units: Units | None = None) -> None:
        """
        Args:
            facts: what is known of the model.
            units: nodes that must stay as they are.
        """
        self._facts = facts
        self.units = units or Units()
        # By identity, so that nothing has to be compared.
        self._answers: dict[tuple[object, ...], Answer] = {}
        self._kept: set[Gauge] = set()
        self._room = _MAX_KEPT

    def ask(self, node: ir.Node, gauges: dict[ir.Value, Gauge]) -> Answer:
        """Return the answer of the node's rule to these gauges."""
        key = (node, *gauges, *gauges.values())
        answer = self._answers.get(key)
        if answer is None:
            answer = self.units.limit(node, _ask(node, gauges, self._facts), self._facts)
            if self._has_room(gauges, answer):
                self._answers[key] = answer
        return answer

    def _has_room(self, gauges: dict[ir.Value, Gauge], answer: Answer) -> bool:
        ways = answer.ways if isinstance(answer, Choice) else (answer,) if isinstance(answer, Settled) else ()
        new = {*gauges.values(), *(gauge for way in ways for _, gauge in way.demands)} - self._kept
        needed = sum(2 * gauge.any.scale.size for gauge in new)
        if needed > self._room:
            return False
        self._room -= needed
        self._kept |= new
        return True


def _ask(node: ir.Node, gauges: dict[ir.Value, Gauge], facts: Facts) -> Answer:
    rule = rule_for(node)
    if rule is None:
        return refusal_of(node)
    if any(attribute.is_ref() for attribute in node.attributes.values()):
        return Declined("takes an attribute from the function around it", Cause.ANYTHING, code=Code.COMPUTED_PARAMETER)
    try:
        return rule(Site(node, gauges, facts))
    except TooLargeError:
        return Declined("would have a constant of more elements than any weight", code=Code.WEIGHTS_GROW)
    except Exception:
        if contradicts_itself(node, facts, _extents_under(gauges, facts)):
            return Declined("has operands whose shapes contradict each other", Cause.ANYTHING, code=Code.UNDEFINED)
        raise


def _extents_under(gauges: dict[ir.Value, Gauge], facts: Facts) -> dict[ir.Value, tuple[Dim, ...]]:
    """Give shapes to the values that carry gauges: along an axis on which a gauge varies, they have its extent."""
    shapes: dict[ir.Value, tuple[Dim, ...]] = {}
    for value, gauge in gauges.items():
        extents = gauge.any.scale.shape
        shape = facts.shape(value) or (None,) * len(extents)
        shapes[value] = tuple(n if n > 1 else dim for n, dim in zip(extents, shape, strict=False))
    return shapes
