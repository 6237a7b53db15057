"""Reads values of a graph as convolutions of other values of it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.linear.axis import Axis
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.cost import Cost, gathering
from onnxnorm.linear.operators.table import step_of
from onnxnorm.linear.step import Family, Step, channel_axis, channels_of, rank_of
from onnxnorm.numerics.arrays import MAX_ELEMENTS, TooLargeError

__all__ = ["Reader"]

# How far back a linear stretch is followed. Networks have an activation every few nodes.
_MAX_NODES = 48
# Extents that stand for unknown ones where work is counted.
_NOMINAL_EXTENT = 32
_NOMINAL_ROWS = 64


class Reader:
    """A reader of one graph as it is now; it remembers what it read, so a changed graph needs another reader."""

    def __init__(self, facts: Facts, family: Family) -> None:
        self.facts = facts
        self.family = family
        self._steps: dict[ir.Value, Step | None] = {}
        self._expressions: dict[tuple[ir.Value, ir.Value], Convolution | None] = {}
        self._sources: dict[ir.Value, dict[ir.Value, None]] = {}
        self._depends: dict[tuple[ir.Value, ir.Value], bool] = {}

    def step(self, value: ir.Value) -> Step | None:
        if value not in self._steps:
            try:
                self._steps[value] = step_of(value, self.family, self.facts)
            except TooLargeError:
                self._steps[value] = None
        return self._steps[value]

    def sources(self, value: ir.Value) -> dict[ir.Value, None]:
        """Return all values that `value` might be a linear map of, itself first, nearer ones before farther ones."""
        if value not in self._sources:
            found: dict[ir.Value, None] = {}
            queue = [value]
            for current in queue:
                if current in found or len(found) >= _MAX_NODES:
                    continue
                found[current] = None
                step = self.step(current)
                if step is not None and _same_graph(current, value):
                    queue.extend(step.operands)
            self._sources[value] = found
        return self._sources[value]

    def depends_on_it_alone(self, value: ir.Value, source: ir.Value) -> bool:
        """Whether no value but `source` is behind `value`, constants apart: `express` finds nothing elsewhere."""
        key = (value, source)
        if key not in self._depends:
            step = None if value is source or source not in self.sources(value) else self.step(value)
            self._depends[key] = value is source or (
                step is not None
                and all(
                    operand is source or (_same_graph(operand, value) and self.depends_on_it_alone(operand, source))
                    for operand in step.operands
                )
            )
        return self._depends[key]

    def express(self, value: ir.Value, source: ir.Value) -> Convolution | None:
        """Express `value` as a convolution of `source`, if it depends on nothing else; None where it is none."""
        key = (value, source)
        if key not in self._expressions:
            try:
                self._expressions[key] = self._express(value, source)
            except TooLargeError:
                self._expressions[key] = None
        return self._expressions[key]

    def _express(self, value: ir.Value, source: ir.Value) -> Convolution | None:
        if value is source:
            return self._identity(source)
        if source not in self.sources(value):
            return None
        step = self.step(value)
        if step is None:
            return None
        parts = []
        for operand in step.operands:
            # What another graph computes is not ours to take apart; it may be the source.
            if operand is not source and not _same_graph(operand, value):
                return None
            part = self.express(operand, source)
            if part is None:
                return None
            parts.append(part)
        whole = step.combine(parts, self.extents(source))
        # Nothing is no convolution.
        return whole if whole is not None and whole.outputs else None

    def _identity(self, source: ir.Value) -> Convolution | None:
        channels = channels_of(source, self.family, self.facts)
        if (
            channels is None
            # What a model says of its shapes need not be so.
            or not 1 <= channels <= MAX_ELEMENTS
            or channel_axis(source, self.family, self.facts) is None
        ):
            return None
        return Convolution.identity(channels, (Axis(),) * len(self.extents(source)))

    def extents(self, source: ir.Value) -> Sequence[int | None]:
        """Return the spatial extents of a source, as far as they are known."""
        if self.family is not Family.CONVOLUTION:
            return ()
        shape = self.facts.shape(source) or (None,) * (rank_of(source, self.facts) or 2)
        return tuple(extent if isinstance(extent, int) else None for extent in shape[2:])

    def between(self, value: ir.Value, source: ir.Value) -> dict[ir.Node, None]:
        """Return the nodes by which `value` is computed from `source`, each after all that read its results."""
        order: dict[ir.Node, None] = {}
        stack: list[tuple[ir.Value, bool]] = [(value, False)]
        while stack:
            current, done = stack.pop()
            node, step = current.producer(), self.step(current)
            if current is source or node is None or step is None:
                continue
            if done:
                for inner in (*reversed(step.within), node):
                    order.setdefault(inner)
            elif node not in order:
                stack.append((current, True))
                stack.extend((operand, False) for operand in step.operands)
        return dict.fromkeys(reversed(order))

    def elements(self, value: ir.Value, source: ir.Value) -> float:
        """Count the elements of `value`, from nominal extents of `source` where none are known."""
        expression = self.express(value, source)
        if expression is None:
            return 0.0
        return expression.outputs * self.positions(source, expression)

    def positions(self, source: ir.Value, expression: Convolution) -> float:
        """Count the places in which each channel of a convolution of `source` is computed."""
        shape = self.facts.shape(source) or ()
        if self.family is not Family.CONVOLUTION:
            rows, axis = 1.0, channel_axis(source, self.family, self.facts)
            for place, extent in enumerate(shape):
                if place != axis:
                    rows *= extent if isinstance(extent, int) else (_NOMINAL_ROWS if len(shape) > 2 else 1)
            return rows
        count = float(shape[0]) if shape and isinstance(shape[0], int) else 1.0
        nominal = [_NOMINAL_EXTENT if extent is None else extent for extent in self.extents(source)]
        for extent in expression.results(nominal):
            count *= max(extent, 1)
        return count

    def cost(self, node: ir.Node, source: ir.Value) -> Cost:
        """Compute the cost at every inference of a node between `source` and a value made from it."""
        total = Cost()
        for value in node.outputs:
            step = self.step(value)
            if step is None or (value is not node.outputs[0] and not value.uses()):
                continue
            elements = self.elements(value, source)
            if node.op_type == "Identity":
                continue
            read = sum(self.elements(operand, source) for operand in step.operands)
            moved = elements + read + (0 if step.weight is None else step.weight.size)
            if step.gathered:
                made = self.express(value, source)
                moved += 0.0 if made is None else gathering(step.gathered, self.positions(source, made))
            total += Cost(elements * step.work, moved)
        return total


def _same_graph(value: ir.Value, other: ir.Value) -> bool:
    mine, theirs = value.producer(), other.producer()
    return mine is not None and theirs is not None and mine.graph is theirs.graph
