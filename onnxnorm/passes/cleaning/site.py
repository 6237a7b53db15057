"""The site of cleaning rules: what is known of the model, and which nodes belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm.graph.extents import Extents
from onnxnorm.graph.facts import Facts
from onnxnorm.idioms import units_in
from onnxnorm.idioms.attention import around_attention
from onnxnorm.model.walk import graphs_within

__all__ = ["Rule", "Site"]


@dataclass
class Site:
    """The knowledge that rules share; it holds while every value keeps its meaning.

    Attributes:
        model: the model.
        target: what it is to run on.
        facts: constants and shapes.
        extents: which extents are equal, and the elements of shapes.
    """

    model: ir.Model
    target: str
    facts: Facts
    extents: Extents

    @cached_property
    def units(self) -> frozenset[ir.Node]:
        """Nodes of which a runtime makes one, and all nodes around an attention: fusions look for them as they are."""
        units = units_in(self.model, self.facts, self.target)
        around: set[ir.Node] = set()
        for graph in graphs_within(self.model.graph):
            around.update(around_attention(graph, self.facts))
        return frozenset({*units.inner, *units.outer, *units.biases, *around})


Rule: TypeAlias = Callable[[ir.Node, Site], "str | None"]
"""A cleaning rule: changes the graph at the node where it can, and says in words what it did, or None."""
