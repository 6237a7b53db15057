"""Finds the rank of what an If makes, where nodes behind it run with one of the ranks of its branches alone.

A branch that squeezes and another that does not make values of two ranks, of which shape inference tells none. Where
the If's output comes to a node that wants values of one rank, such as an LSTM, the model runs with this one or not at
all: what would break off may be left out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxnorm.graph.extents import ints_of
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.known_shapes import RANK_OF_INPUT
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import graphs_within

__all__ = ["settle_ranks"]

_SAME_RANK = RANK_OF_INPUT | {"Cast", "Concat", "Transpose"}
_COMPARED: Mapping[str, Callable[[int, int], bool]] = {
    "And": lambda a, b: bool(a and b),
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
    "Or": lambda a, b: bool(a or b),
}
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
# The sequence, and the states that it begins with.
_OF_RANK_3 = (0, 5, 6)
_MATRIX = frozenset({2})
# onnxruntime takes a vector for a matrix of one row.
_ROWS = frozenset({1, 2})


def settle_ranks(model: ir.Model, facts: Facts) -> bool:
    """Write down the rank of each output of an If that can run with one of two alone; tell whether there was one."""
    found = False
    for graph in graphs_within(model.graph):
        nodes = list(graph)
        for place, node in enumerate(nodes):
            if node.op_type != "If" or not is_standard(node):
                continue
            for index, output in enumerate(node.outputs):
                # The shape of an output of the graph is part of what the model promises.
                is_open = output.shape is None and not output.is_graph_output()
                ranks = _ranks_of_branches(node, index, facts) if is_open else frozenset()
                if len(ranks) < 2:
                    continue
                left = [rank for rank in sorted(ranks) if _Trial(facts, {output: rank}).runs(nodes[place + 1 :])]
                if len(left) == 1:
                    output.shape = ir.Shape([None] * left[0])
                    found = True
    return found


def _ranks_of_branches(node: ir.Node, index: int, facts: Facts) -> frozenset[int]:
    """Return the ranks of both branches' results; none where one of them is not known."""
    found = set()
    for branch in (_branch(node, True), _branch(node, False)):
        rank = None if branch is None else _Trial(facts, {}).rank_after(branch, index)
        if rank is None:
            return frozenset()
        found.add(rank)
    return frozenset(found)


def _branch(node: ir.Node, taken: bool) -> ir.Graph | None:
    attribute = node.attributes.get("then_branch" if taken else "else_branch")
    return None if attribute is None or attribute.is_ref() else attribute.as_graph()


class _Trial:
    """A trial of one supposed rank: the ranks of other values, lengths of shapes, and numbers that follow from it."""

    def __init__(self, facts: Facts, ranks: dict[ir.Value, int]) -> None:
        self._facts = facts
        self._ranks = ranks
        self._lengths: dict[ir.Value, int] = {}
        self._numbers: dict[ir.Value, int] = {}

    def runs(self, nodes: list[ir.Node]) -> bool:
        """Whether no node is known to break off; the nodes come in the order in which they run."""
        return all(self._runs(node) for node in nodes if is_standard(node) and node.inputs and node.outputs)

    def rank_after(self, graph: ir.Graph, index: int) -> int | None:
        """Return the rank of an output of the graph; None where it is not known or the graph breaks off."""
        return self._rank(graph.outputs[index]) if len(graph.outputs) > index and self.runs(list(graph)) else None

    def _runs(self, node: ir.Node) -> bool:
        for value, wanted in self._wanted(node):
            if (found := self._rank(value)) is not None and found not in wanted:
                return False
        output, rank = node.outputs[0], self._rank(node.inputs[0])
        if node.op_type == "If":
            return self._through_if(node)
        if node.op_type == "Shape" and not node.attributes:
            if rank is not None:
                self._lengths[output] = rank
            if (length := self._lengths.get(node.inputs[0])) is not None:  # type: ignore[arg-type]
                self._numbers[output] = length
        elif node.op_type == "Size" and node.inputs[0] in self._lengths:
            self._numbers[output] = self._lengths[node.inputs[0]]
        elif node.op_type in _COMPARED and len(node.inputs) == 2:
            first, second = (self._number(value) for value in node.inputs)
            if first is not None and second is not None:
                self._numbers[output] = int(_COMPARED[node.op_type](first, second))
        elif node.op_type == "Not" and (number := self._number(node.inputs[0])) is not None:
            self._numbers[output] = int(not number)
        elif node.op_type in ("Squeeze", "Unsqueeze"):
            axes = ints_of(node, 1, "axes", self._facts)
            if rank is not None and axes:
                self._ranks[output] = rank + (len(axes) if node.op_type == "Unsqueeze" else -len(axes))
                return self._ranks[output] >= 0
        elif node.op_type in _SAME_RANK and rank is not None:
            self._ranks[output] = rank
        return True

    def _wanted(self, node: ir.Node) -> list[tuple[ir.Value | None, frozenset[int]]]:
        """Return inputs of the node with the ranks without which it breaks off."""
        inputs, order = node.inputs, node.attributes.get("perm")
        if node.op_type in _RECURRENT:
            return [(inputs[index], frozenset({3})) for index in _OF_RANK_3 if index < len(inputs)]
        if node.op_type == "Gemm":
            return list(zip(inputs, (_ROWS, _MATRIX), strict=False))
        if node.op_type == "Transpose" and order is not None and not order.is_ref():
            return [(inputs[0], frozenset({len(order.as_ints())}))]
        if node.op_type == "Concat":
            guide, others = inputs[0], inputs[1:]
        elif node.op_type in ("Conv", "ConvTranspose") and len(inputs) > 1:
            guide, others = inputs[1], inputs[:1]
        else:
            return []
        rank = self._rank(guide)
        return [] if rank is None else [(value, frozenset({rank})) for value in others]

    def _through_if(self, node: ir.Node) -> bool:
        truth = self._number(node.inputs[0])
        taken = [_branch(node, each) for each in (True, False) if truth is None or bool(truth) is each]
        for branch in taken:
            # Which of two runs is not known, so one that breaks off says nothing.
            if branch is not None and not self.runs(list(branch)) and truth is not None:
                return False
        for index, output in enumerate(node.outputs):
            results = [branch.outputs[index] for branch in taken if branch is not None and index < len(branch.outputs)]
            ranks = {self._rank(result) for result in results}
            if len(results) == len(taken) and len(ranks) == 1 and (rank := ranks.pop()) is not None:
                self._ranks.setdefault(output, rank)
        return True

    def _rank(self, value: ir.Value | None) -> int | None:
        if value is None:
            return None
        return self._ranks[value] if value in self._ranks else self._facts.rank(value)

    def _number(self, value: ir.Value | None) -> int | None:
        if value is None or value in self._numbers:
            return None if value is None else self._numbers[value]
        array = self._facts.constant(value) if self._facts.is_constant(value) else None
        return int(array.ravel()[0]) if array is not None and array.size == 1 and array.dtype.kind in "iub" else None
