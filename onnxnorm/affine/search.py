"""Holds one search of the solver: the affine that is to go, what it may still cost, and what it has met."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import onnx_ir as ir

from onnxnorm.affine.cost import node_cost
from onnxnorm.affine.digits import Digits
from onnxnorm.affine.obstacles import Obstacles
from onnxnorm.affine.placements import MAX_QUESTIONS
from onnxnorm.affine.region import Refusal
from onnxnorm.affine.rule_cache import RuleCache
from onnxnorm.affine.rules.affine_nodes import AffineNode, elements_of
from onnxnorm.graph.facts import Facts

__all__ = ["MAX_BRANCHES", "Search", "Stuck"]

MAX_BRANCHES = 64


@dataclass(frozen=True)
class Stuck:
    """The answer that no region could be completed, and why.

    Attributes:
        why: what was in the way.
        depth: how many values the affine had come to.
        touched: the nodes that were asked. As long as they stay as they are, the answer will be the same.
        by_numbers: whether the numbers in it were in the way somewhere, or the budget ended.
    """

    why: Refusal
    depth: int
    touched: frozenset[ir.Node] = frozenset()
    by_numbers: bool = False

    @property
    def reason(self) -> str:
        """The sentence that says why."""
        return self.why.reason


@dataclass(eq=False)
class Search:
    """A search: the affine that is to go, and what is left of the budget for it."""

    node: ir.Node
    found: AffineNode
    facts: Facts
    obstacles: Obstacles
    rules: RuleCache
    questions: int = MAX_QUESTIONS
    branches: int = MAX_BRANCHES
    touched: set[ir.Node] = field(default_factory=set)
    by_numbers: bool = False
    known_digits: Digits | None = None

    @cached_property
    def digits(self) -> Digits:
        """Knowledge of the digits of values: `known_digits`, where searches of the same model share it."""
        return self.known_digits or Digits(self.facts)

    @cached_property
    def rounded(self) -> bool:
        """Whether the input of the affine is rounded, so that a shift behind it may be anywhere (see digits.py).

        The statistics of a batch normalization are those of measured values, unless it counts.
        """
        value = self.node.inputs[self.found.data]
        assert value is not None
        return not self.digits.whole(value) if self.found.measured else self.digits.rounded(value)

    @property
    def masks(self) -> bool:
        """Whether the affine is a step of a mask, in which exact numbers stay exact (see digits.py)."""
        value = self.node.inputs[self.found.data]
        return value is not None and (self.digits.masks(value) or self.digits.masks(self.node.outputs[0]))

    def alone_in(self, value: ir.Value) -> bool:
        """Whether the value is the result of the affine in another layout, and its input no mask."""
        source = self.node.inputs[self.found.data]
        assert source is not None
        return self.node.outputs[0] in self.digits.upstream(value) and not self.digits.whole(source)

    @property
    def is_lone(self) -> bool:
        """Whether the affine belongs to no normalization: then it is moved only where a node goes with it."""
        return self.node.op_type != "BatchNormalization"

    @property
    def spent(self) -> bool:
        return self.questions <= 0 or self.branches <= 0

    @property
    def worth(self) -> int:
        """The cost of the node itself, which is the most that may be paid to get past an obstacle."""
        return node_cost(self.node.op_type, elements_of(self.node, self.found.data, self.facts))
