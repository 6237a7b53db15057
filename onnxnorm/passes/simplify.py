"""Removes nodes that exporters leave behind, without a bit of any result changing.

Before: what the modules of `onnxnorm.passes.cleaning` describe, in the main graph and the graphs in it: nodes that hand
on what they are given, pairs that one node can stand for, Transposes around what does not mind, shapes that are the
same at every inference, If with a constant condition, nodes that compute the same. After: fewer nodes; the names and
the order of inputs and outputs are as before, and a node that stays keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.graph.find_extents import find_extents
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.settled_ranks import settle_ranks
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.graph.transformation import Transformation
from onnxnorm.journal import Journal
from onnxnorm.model.walk import graphs_within
from onnxnorm.passes.cleaning import Rule, Site
from onnxnorm.passes.cleaning.casts_and_clips import join_casts, join_clips
from onnxnorm.passes.cleaning.conditions import take_branch
from onnxnorm.passes.cleaning.duplicates import merge_duplicates
from onnxnorm.passes.cleaning.empty_parts import leave_out_empty_parts
from onnxnorm.passes.cleaning.layout_chains import LAYOUT, join_layouts
from onnxnorm.passes.cleaning.leftovers import remove_dead
from onnxnorm.passes.cleaning.no_ops import NO_OPS, pass_on
from onnxnorm.passes.cleaning.shapes_read import READERS_OF_SHAPES, ask_by_copies, become_constant
from onnxnorm.passes.cleaning.slices import join_slices
from onnxnorm.passes.cleaning.transposes import cancel_around, join_transposes
from onnxnorm.passes.cleaning.zero_states import RECURRENT, leave_out_zero_states
from onnxnorm.passes.journaled import JournaledPass

__all__ = ["Simplify"]

_NAME = "simplify"
_MOST_ROUNDS = 40
# What stands for the operator of a node that handed on a constant: inference does not see through it to the axes,
# scales or shape that a node behind it is given.
_OF_A_CONSTANT = ""
# With a constant in place of what they compute, or one branch of two, inference knows more of what follows.
_TELL_SHAPES = frozenset({"If", *READERS_OF_SHAPES, _OF_A_CONSTANT})

# The order in which the rules for an operator are tried; the first that does something is the only one in a round.
_TABLES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (take_branch, ("If",)),
    (become_constant, READERS_OF_SHAPES),
    (pass_on, tuple(NO_OPS)),
    (join_casts, ("Cast",)),
    (join_clips, ("Clip",)),
    (join_slices, ("Slice",)),
    (join_transposes, ("Transpose",)),
    (join_layouts, LAYOUT),
    (ask_by_copies, ("Reshape",)),
    (leave_out_zero_states, RECURRENT),
    (leave_out_empty_parts, ("Concat",)),
)


def _rules() -> Mapping[str, tuple[Rule, ...]]:
    found: dict[str, tuple[Rule, ...]] = {}
    for rule, op_types in _TABLES:
        for op_type in op_types:
            found[op_type] = (*found.get(op_type, ()), rule)
    return found


_RULES = _rules()


class Simplify(JournaledPass):
    """Takes away nodes as long as there are any to take away."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        target: str = "portable",
        duplicates: bool = False,
        transformation: Transformation | None = None,
    ) -> None:
        """
        Args:
            journal: is told which nodes went.
            target: what the model is to run on.
            duplicates: nodes that compute the same become one, too.
            transformation: what earlier passes hand on.
        """
        super().__init__(journal, transformation=transformation)
        self._target = target
        self._duplicates = duplicates

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        # Who reads a value decides much, and dead nodes read too.
        modified, tells_more = remove_dead(model), False
        for _ in range(_MOST_ROUNDS):
            taken = self._round(model)
            if taken:
                modified = True
                remove_dead(model)
                tells_more |= bool(taken & _TELL_SHAPES)
            elif tells_more and infer_shapes(model):
                tells_more = False
            elif settle_ranks(model, self._facts(model)):
                tells_more = True
            else:
                break
        return ir.passes.PassResult(model, modified)

    def _round(self, model: ir.Model) -> set[str]:
        """Run the rules once; return the operators of the nodes at which something changed."""
        facts = self._facts(model)
        site = Site(model, self._target, facts, find_extents(model, facts))
        changed: set[str] = set()
        for graph in graphs_within(model.graph):
            for node in list(graph):
                if node.graph is graph and is_standard(node):
                    changed |= self._at(node, site)
        if changed:
            return changed
        for graph in graphs_within(model.graph) if self._duplicates else ():
            for merged, op_type, why in merge_duplicates(graph, site):
                self._journal.rewrite(_NAME, merged, op_type, why)
                changed.add(op_type)
        if changed:
            return changed
        for graph in graphs_within(model.graph):
            for node in list(graph):
                if node.op_type != "Transpose" or node.graph is not graph:
                    continue
                if (detail := cancel_around(node, site)) is not None:
                    self._journal.rewrite(_NAME, node, "Transpose", detail)
                    changed.add("Transpose")
        return changed

    def _at(self, node: ir.Node, site: Site) -> set[str]:
        op_type, operand = node.op_type, node.inputs[0] if node.inputs else None
        for rule in _RULES.get(op_type, ()):
            if (detail := rule(node, site)) is not None:
                self._journal.rewrite(_NAME, node, op_type, detail)
                return {op_type, _OF_A_CONSTANT} if site.facts.is_constant(operand) else {op_type}
        return set()
