"""A region: the values that become an affine of themselves, and the nodes and outsiders that deal with them.

A gauged value has parties: the node that makes it, the nodes that read it, and, at the border of a graph, whoever feeds
or reads the graph. A subgraph is fed and read by the node that it belongs to. Each party either goes along, that is, it
makes or takes the new value, or it is set aside: it keeps the old one, and a new node between the two computes one from
the other. What such a node costs is part of the cost of the region.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Edit
from onnxnorm.affine.parties import Party
from onnxnorm.journal.reasons import Code

__all__ = ["Insertion", "Refusal", "Region"]


@dataclass(frozen=True, eq=False)
class Refusal:
    """The refusal of something that would have to change along: why, and where.

    Attributes:
        reason: a sentence for people.
        code: the kind of the reason.
        value: the value at which it is in the way.
        node: the node that is in the way; None where the value itself is.
        has_more: whether it is known that other obstacles would have to go too.
        growth: by how many bytes the weights would grow, where that is why.
    """

    reason: str
    code: Code
    value: ir.Value | None = None
    node: ir.Node | None = None
    has_more: bool = False
    growth: int = 0


@dataclass(frozen=True, eq=False)
class Insertion:
    """An insertion: a node, or two, that compute `affine` of `value` for `readers`; all others read the value."""

    value: ir.Value
    affine: ChannelAffine
    op_types: tuple[str, ...]
    readers: tuple[Party, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of the constants that belong to the insertion, in their order."""
        if self.op_types == ("BatchNormalization",):
            return ("scale", "bias", "mean", "variance")
        return tuple({"Mul": "scale", "Add": "shift"}[op_type] for op_type in self.op_types) or ("constant",)


@dataclass(frozen=True, eq=False)
class Region:
    """A region: all that has to change together (gauges, edits and new nodes), and the cost saved at run time.

    `why` says why something is left over, where that is so.
    """

    gauges: dict[ir.Value, Gauge]
    edits: dict[ir.Node, Edit]
    insertions: tuple[Insertion, ...]
    saves: int
    why: Refusal | None = None

    @property
    def reason(self) -> str:
        """The sentence that says why something is left over; "" where nothing is."""
        return "" if self.why is None else self.why.reason
