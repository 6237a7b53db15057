"""Raises normalizations that are spelled out in other operators to the one node that says what they are.

Before: means, squares, roots and quotients in any of the spellings that exporters and people use.
After: `LayerNormalization`, `RMSNormalization`, `GroupNormalization`, `InstanceNormalization`, `LRN`,
`LpNormalization`, `MeanVarianceNormalization`, `BatchNormalization`, or an LRN of this project's domain, with its body.
Conditions: the formula is the same over the real numbers; the operator exists at the model's opset; no statistic inside
is read from outside; constants are constant; half precision overflows no earlier than before. What nearly matches is
left, and the journal says in what it differs. The algebra is that of `onnxnorm.recognize`.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.graph.edit import settle_casts
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import producer_of
from onnxnorm.graph.normalizations import with_article
from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Effect, Journal
from onnxnorm.journal.reasons import Code
from onnxnorm.journal.reasons import needs_opset as evidence_of_opset
from onnxnorm.journal.words import say
from onnxnorm.model.walk import changeable_roots, graphs_within, subgraphs_of
from onnxnorm.ops.attach import attach_bodies_in
from onnxnorm.passes.journaled import JournaledPass
from onnxnorm.passes.targets import TARGETS, Target
from onnxnorm.recognize import Near, Reading, candidates
from onnxnorm.recognize.batch_norm import raise_batch_norms
from onnxnorm.recognize.computed_weights import take_computed_weights
from onnxnorm.recognize.families import Answer, Found, Named
from onnxnorm.recognize.group_norm import raise_group_norms
from onnxnorm.recognize.monomials import Unreadable
from onnxnorm.recognize.near_misses import looks_like
from onnxnorm.recognize.replace import replace_region
from onnxnorm.recognize.selection import choose

__all__ = ["Recognize"]

_NAME = "recognize"


class Recognize(JournaledPass):
    """Raises every spelled-out normalization of the model's graphs and subgraphs."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        target: str | Target | None = None,
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told what was raised, and what was left and why.
            target: what the model is to run on; None raises all that can be raised.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._target = TARGETS[target] if isinstance(target, str) else target
        self._told: set[ir.Node] = set()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for graph in _graphs(model):
            modified |= settle_casts(graph)
        facts = self._facts(model)
        for graph in _graphs(model):
            holders = {branch: node for node in graph if node.op_type == "If" for branch in subgraphs_of(node)}
            modified |= self._raise_all(graph, facts, holders)
            modified |= raise_group_norms(graph, facts, self._journal, keeps=self._kept("GroupNormalization"))
            modified |= raise_batch_norms(graph, facts, self._journal)
        attach_bodies_in(model)
        return ir.passes.PassResult(model, modified)

    def _kept(self, op_type: str) -> str:
        """Return why the target keeps such normalizations written out; "" where it does not."""
        return "" if self._target is None else self._target.kept_written_out.get(op_type, "")

    def _raise_all(self, graph: ir.Graph, facts: Facts, holders: Mapping[ir.Graph, ir.Node]) -> bool:
        modified, again = False, True
        while again:
            raised = stale = False
            for x in list(candidates(graph)):
                producer = x.producer()
                if producer is not None and producer.graph is None:
                    # It stood inside a normalization that has been raised, or was the result of one.
                    stale = True
                else:
                    raised |= self._raise(x, graph, facts, holders)
            modified |= raised
            again = raised and stale
        return modified

    def _raise(self, x: ir.Value, graph: ir.Graph, facts: Facts, holders: Mapping[ir.Graph, ir.Node]) -> bool:
        try:
            reading = Reading(x, graph, facts, holders)
        except Unreadable as unread:
            for user in x.consumers()[:1]:
                self._journal.decline(user, say("looks like a normalization, but {}", unread.reason), Code.LOOKS_LIKE)
            return False
        taken, left = choose(reading)
        for found, answer in taken:
            detail = f"{len(found.cone)} nodes that spell a {answer.kind} are one {answer.op_type}"
            node = replace_region(found, answer, facts)
            if weights := take_computed_weights(node, facts):
                detail += f", with a computed {' and '.join(weights)}"
            self._journal.rewrite(_NAME, node, answer.op_type, detail, effect=Effect.RAISED)
        self._explain(reading, left, is_first=not taken)
        return bool(taken)

    def _explain(self, reading: Reading, answers: list[tuple[Found, Answer]], *, is_first: bool) -> None:
        """Tell of each normalization that was left why; `is_first`: none of this tensor was raised."""
        # Of what is named the smallest part is told of: weights behind it may yet be folded into what follows.
        named = [(found, answer) for found, answer in reversed(answers) if isinstance(answer, Named)]
        named.sort(key=lambda pair: pair[1].of_part)
        said: set[ir.Node | None] = set()
        for found, answer in named:
            maker = found.root.producer()
            # The tensor before a cast may have been explained, and this with it.
            if maker not in self._told and said.isdisjoint(found.cone):
                said.add(maker)
                self._decline_named(found, answer)
                self._told.update(found.cone)
        if said or not is_first:
            return
        for found, near in answers:
            if isinstance(near, Near) and found.root.producer() not in self._told:
                self._decline_near(_maker(found), near.kind, near.reason, reading.x)
                self._told.update(found.cone)
                return
        if (resembled := looks_like(reading)) is not None:
            kind, stop = resembled
            self._decline_near(stop.node, kind, stop.reason, reading.x)

    def _decline_named(self, found: Found, answer: Named) -> None:
        """Write down why a normalization stays written out."""
        code, evidence = Code.NO_ONNX_NODE, None
        if answer.needs_opset is not None:
            code, evidence = Code.NEEDS_OPSET, evidence_of_opset(answer.needs_opset)
        self._journal.decline(
            _maker(found),
            answer.reason,
            code,
            evidence=evidence,
            kind=f"{answer.kind} (written out)",
            value=found.reading.x,
            needs_opset=answer.needs_opset,
        )

    def _decline_near(self, node: ir.Node, kind: str, reason: str, value: ir.Value) -> None:
        """Write down in what the formula at the node differs from that of the normalization."""
        text = say("looks like {}, but {}", with_article(kind), reason)
        self._journal.decline(node, text, Code.LOOKS_LIKE, kind=f"{kind} (written out)", value=value)


def _maker(found: Found) -> ir.Node:
    """Return the node that makes the result; an Identity will go, and what is said about it with it."""
    node = found.root.producer()
    assert node is not None
    while node.op_type == "Identity" and (before := producer_of(node.inputs[0])) is not None:
        node = before
    return node


def _graphs(model: ir.Model) -> list[ir.Graph]:
    main, *bodies = changeable_roots(model)
    return [*graphs_within(main), *bodies]
