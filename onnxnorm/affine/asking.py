"""Asks the nodes around a growing region, one after the other, for a search or a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from onnxnorm.affine.channel import Gauge
from onnxnorm.affine.growth import Growth
from onnxnorm.affine.interface import Cause, Declined, Settled
from onnxnorm.affine.refusals import called, forgotten, joined, refusal
from onnxnorm.affine.region import Refusal
from onnxnorm.affine.search import Search
from onnxnorm.journal.words import say

__all__ = ["Reply", "ask", "unanswered"]

Gauges = dict[ir.Value, Gauge]


@dataclass(frozen=True, eq=False)
class Reply:
    """The reply of a node: the ways that its rule leaves open, each with what the values have against it.

    Attributes:
        ways: what the rule says; none where it declines.
        refusals: for each way why it cannot be gone; None where it can.
        declined: why the rule declines.
        cause: the one property of the affine for which it declines, if it is one.
    """

    ways: tuple[Settled, ...]
    refusals: tuple[Refusal | None, ...] = ()
    declined: Refusal | None = None
    cause: Cause = Cause.UNKNOWN

    @property
    def open_ways(self) -> list[Settled]:
        return [way for way, refused in zip(self.ways, self.refusals, strict=True) if refused is None]

    @property
    def why(self) -> Refusal | None:
        """The first reason against going along."""
        return self.declined or next((refused for refused in self.refusals if refused is not None), None)


def unanswered(growth: Growth, search: Search) -> Iterator[tuple[ir.Node, Gauges]]:
    """Yield the nodes that have yet to answer, with their gauges, while the caller adds further ones.

    A node that has no gauge left stays as it is and is not asked, but for the one whose affine is to go.
    """
    while growth.todo:
        node = next(iter(growth.todo))
        del growth.todo[node]
        gauges = growth.gauges_of(node)
        if gauges or node is search.node:
            yield node, gauges
        else:
            growth.edit(node, None)


def ask(growth: Growth, node: ir.Node, gauges: Gauges, search: Search) -> Reply:
    """Ask the rule of a node, and the values, about each way that it leaves open."""
    answer = search.rules.ask(node, gauges)
    if isinstance(answer, Declined):
        why = Refusal(say("{} {}", called(node), answer.reason), answer.code, next(iter(gauges), None), node)
        return Reply((), declined=why, cause=answer.cause)
    ways = (answer,) if isinstance(answer, Settled) else answer.ways
    refusals = tuple(
        forgotten(growth, node, way, search)
        or joined(growth, node, way, search)
        or refusal(growth, node, way.demands, search)
        for way in ways
    )
    return Reply(ways, refusals)
