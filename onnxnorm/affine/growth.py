"""The growth of a region: from its first gauges on, until all parties go along or are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.cost import FUSED_BEHIND_CONVOLUTION, activation_cost, constant_cost, node_cost
from onnxnorm.affine.integer_kernels import is_for_kernel
from onnxnorm.affine.interface import Edit
from onnxnorm.affine.parties import Outside, Party, maker_of, takers_of, wires
from onnxnorm.affine.region import Insertion, Refusal, Region
from onnxnorm.graph.blocked_layout import needs_batch_norm
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code
from onnxnorm.journal.words import naming_value, say
from onnxnorm.model.dtypes import FLOATS

__all__ = ["Growth", "unknown_extents"]

_NOT_UNDONE = "has other readers, which could not undo a scale of zero"
_LOST = "has other readers, and undoing the shift for them would lose accuracy"
_KERNEL = "is dequantized for a kernel that works on integers, which a node in between would take away"


@dataclass(eq=False)
class Growth:
    """A region as far as it has grown. `todo` are the nodes that have yet to answer for the gauges around them.

    `backward`: the affine moves against the flow of data, so new values are made of old ones by what the model did to
    them anyway; otherwise old values are, of new ones. The other direction undoes it.
    `unknown` are the extents that are not known at the affine (see `unknown_extents`).
    `by` holds, for a value, the one whose gauge led to its own by force.
    `inserted` is the part of the cost that new nodes make.
    `obstacle` is the first reason for which a party was set aside.
    """

    facts: Facts
    backward: bool
    unknown: tuple[str, ...] | None = ()
    gauges: dict[ir.Value, Gauge] = field(default_factory=dict)
    edits: dict[ir.Node, Edit] = field(default_factory=dict)
    aside: dict[ir.Value, frozenset[Party]] = field(default_factory=dict)
    todo: dict[ir.Node, None] = field(default_factory=dict)
    by: dict[ir.Value, ir.Value] = field(default_factory=dict)
    cost: int = 0
    inserted: int = 0
    obstacle: Refusal | None = None

    def branch(self) -> Growth:
        return Growth(
            self.facts,
            self.backward,
            self.unknown,
            dict(self.gauges),
            dict(self.edits),
            dict(self.aside),
            dict(self.todo),
            dict(self.by),
            self.cost,
            self.inserted,
            self.obstacle,
        )

    def gauges_of(self, node: ir.Node) -> dict[ir.Value, Gauge]:
        """Return the gauges that the node has to go along with."""
        found = {}
        for value in wires(node):
            gauge = self.gauges.get(value)
            if gauge is not None and node not in self.aside.get(value, ()):
                found[value] = gauge
        return found

    def edit(self, node: ir.Node, edit: Edit | None) -> None:
        old = self.edits.pop(node, None)
        self.cost += (0 if edit is None else edit.cost) - (0 if old is None else old.cost)
        if edit is not None:
            self.edits[node] = edit

    def chain(self, value: ir.Value) -> Iterator[ir.Value]:
        """Yield the value and those whose gauges led to its own by force."""
        while True:
            yield value
            if value not in self.by:
                return
            value = self.by[value]

    def border(self, value: ir.Value) -> Refusal | None:
        """Why the value cannot change for all of its parties, where the model ends there."""
        if any(isinstance(taker, Outside) for taker in takers_of(value, self.facts)):
            return Refusal(say("{} is an output of the graph", naming_value(value)), Code.GRAPH_OUTPUT, value)
        if not isinstance(maker_of(value, self.facts), Outside) or self.facts.is_constant(value):
            return None
        if value.is_initializer():
            reason = say(
                "{} is a graph input too, so a caller may override it (see freeze_inputs, --freeze-inputs)",
                naming_value(value),
            )
            return Refusal(reason, Code.OVERRIDABLE_WEIGHT, value)
        return Refusal(say("{} is an input of the graph", naming_value(value)), Code.GRAPH_INPUT, value)

    def add(self, value: ir.Value, gauge: Gauge, by: ir.Value | None = None) -> Refusal | None:
        """Gauge the value; parties outside of the model keep the old one. Return why that cannot be, or None.

        `by` is the value whose gauge leaves no other way than this one.
        """
        if by is not None:
            self.by[value] = by
        maker, takers = maker_of(value, self.facts), takers_of(value, self.facts)
        self.gauges[value] = gauge
        self.todo.update((party, None) for party in (maker, *takers) if isinstance(party, ir.Node))
        fixed: list[Party] = [party for party in (maker, *takers) if isinstance(party, Outside)]
        if self.facts.is_constant(value):
            # Only the node to whose subgraph it belongs takes the new constant; others have it as an operand.
            fixed = [maker, *value.consumers()]
        elif fixed:
            self.obstacle = self.obstacle or self.border(value)
        for party in dict.fromkeys(fixed):
            if (refused := self.set_aside(value, party)) is not None:
                return refused
        return None

    def set_aside(self, value: ir.Value, party: Party) -> Refusal | None:
        """Let the party keep the old value. Return why that cannot be, or None."""
        before = self.insertion(value)
        self.aside[value] = self.aside.get(value, frozenset()) | {party}
        after = self.insertion(value)
        for refused in (after, before):
            if isinstance(refused, Refusal):
                return refused
        dearer = self.cost_of(after) - self.cost_of(before)
        self.cost += dearer
        self.inserted += dearer
        if isinstance(party, ir.Node):
            self.todo[party] = None
        return None

    def complete(self) -> Region:
        insertions = [self.insertion(value) for value in self.aside]
        return Region(
            self.gauges,
            self.edits,
            tuple(insertion for insertion in insertions if isinstance(insertion, Insertion)),
            -self.cost,
        )

    def insertion(self, value: ir.Value) -> Insertion | Refusal | None:
        """Give the new node for the parties that are set aside.

        None if there are none, the reason if there can be no such node.
        """
        aside = self.aside.get(value)
        if not aside:
            return None
        gauge = self.gauges[value]
        maker_keeps = maker_of(value, self.facts) in aside
        # A node that makes a value and reads it too (a loop) cannot be on both sides of the new node.
        readers = tuple(party for party in takers_of(value, self.facts) if (party in aside) is not maker_keeps)
        if not readers:
            return None
        affine = gauge.to_new if maker_keeps else gauge.to_old
        if affine is None:
            return Refusal(say("{} {}", naming_value(value), _NOT_UNDONE), Code.ZERO_SCALE, value)
        if affine.shifts and maker_keeps is not self.backward:
            return Refusal(say("{} {}", naming_value(value), _LOST), Code.LOSES_ACCURACY, value)
        if self.facts.is_constant(value):
            if self.facts.constant(value) is None:
                reason = say("{} is a constant that is too large, or cannot be computed here", naming_value(value))
                return Refusal(reason, Code.COMPUTED_PARAMETER, value)
            return Insertion(value, affine, (), readers)
        if is_for_kernel(value, readers):
            return Refusal(say("{} {}", naming_value(value), _KERNEL), Code.QUANTIZED, value)
        if value.dtype not in FLOATS or self.facts.shape(value) is None:
            return Refusal(
                say("{} is of a type or rank that is not known", naming_value(value)), Code.UNKNOWN_SHAPE, value
            )
        if value.graph is None or self.facts.opset_of(value.graph) < 7:
            return Refusal(
                say("{} would need arithmetic from before opset 7", naming_value(value)), Code.NEEDS_OPSET, value
            )
        if self.unknown is None or unknown_extents(value, self.facts) != self.unknown:
            return Refusal(
                say("{} has a size that is not known beforehand", naming_value(value)), Code.UNKNOWN_SHAPE, value
            )
        return Insertion(value, affine, _expressed_by(affine, value, self.facts), readers)

    def cost_of(self, insertion: Insertion | Refusal | None) -> int:
        """Return the cost of the new node; 0 where there is none."""
        if not isinstance(insertion, Insertion):
            return 0
        elements = self.facts.elements(insertion.value)
        size = insertion.affine.scale.size
        cost = sum(node_cost(op_type, elements) + constant_cost(size) for op_type in insertion.op_types)
        return cost + (activation_cost(elements) if _parts_activation(insertion) else 0)


def _parts_activation(insertion: Insertion) -> bool:
    """Whether the new node comes between a convolution and an activation that a runtime runs inside of it."""
    maker = insertion.value.producer()
    if not insertion.op_types or maker is None or maker.op_type != "Conv" or insertion.value.is_graph_output():
        return False
    # Two readers are an activation of which the product with its input is taken, as in SiLU and hard swish.
    readers = insertion.value.consumers()
    return len(readers) <= 2 and any(reader.op_type in FUSED_BEHIND_CONVOLUTION for reader in readers)


def unknown_extents(value: ir.Value, facts: Facts) -> tuple[str, ...] | None:
    """Return the names of the extents that are not known, by which sizes can still be compared.

    None where they have none.
    """
    names = [dim for dim in facts.shape(value) or (None,) if not isinstance(dim, int)]
    return None if any(name is None for name in names) else tuple(sorted(str(name) for name in names))


def _expressed_by(affine: ChannelAffine, value: ir.Value, facts: Facts) -> tuple[str, ...]:
    if affine.is_identity:
        return ()
    shape = facts.shape(value)
    channels = shape[1] if shape is not None and affine.rank >= 2 else None
    per_channel = isinstance(channels, int) and set(affine.axes) == (set() if channels == 1 else {1})
    if not (affine.scales and affine.shifts) and not (per_channel and needs_batch_norm(value, facts)):
        return ("Mul",) if affine.scales else ("Add",)
    return ("BatchNormalization",) if per_channel else ("Mul", "Add")
