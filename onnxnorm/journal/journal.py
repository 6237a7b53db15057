"""Keeps the journal of what the passes did and what they left: the one place where both are written down."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxnorm.journal.reasons import ADVICE, Code, Cost, Evidence, Remedy

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Decline", "Effect", "Journal", "Rewrite"]


class Effect(enum.Enum):
    """The effect of a rewrite on the node that it is about."""

    GONE = "gone"
    """The node is gone: other nodes took up what it computes, or nothing needs it."""
    MERGED = "merged"
    """The node went together with a parallel branch or a stretch that became one node."""
    RAISED = "raised"
    """The node is the one that now stands for several that spelled it."""
    PARTLY = "partly"
    """The node is gone or cheaper, and other nodes compute a part of what it did."""
    REFORMED = "reformed"
    """The node is still there, in other operators or another form."""


class Journal:
    """Collects rewrites in order, and for each node the last reason why it was left; names of nodes may be shared."""

    def __init__(self) -> None:
        self._rewrites: list[Rewrite] = []
        self._declined: dict[ir.Node, Decline] = {}
        self._inside: dict[ir.Node, dict[ir.Node, str]] = {}
        self._marks: dict[str, int] = {}
        self._copies: dict[str, list[str]] = {}
        self._apart: set[ir.Node] = set()

    def rewrite(
        self,
        pass_name: str,
        node: ir.Node,
        op_type: str,
        detail: str,
        *,
        effect: Effect = Effect.GONE,
        into: Iterable[ir.Node] = (),
        code: Code | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        """Write down that the pass changed `node`, which was of type `op_type` before, and which nodes took it up.

        Where a part of it is left, `code` and `evidence` say why.
        """
        remedy = None if evidence is None else evidence.remedy
        blocker = "" if evidence is None else evidence.blocker
        takers = tuple(into)
        names = tuple(taker.name or "" for taker in takers)
        self._rewrites.append(
            Rewrite(pass_name, node.name or "", op_type, detail, effect, code, blocker, remedy, names)
        )
        self._declined.pop(node, None)
        for taker in takers:
            self._inside.setdefault(taker, {})[node] = op_type

    def copied(self, origin: str, copy: str) -> None:
        """Write down that a node of a function, named `origin`, stands in the place of a call as `copy`."""
        self._copies.setdefault(origin, []).append(copy)

    @property
    def copies(self) -> dict[str, tuple[str, ...]]:
        """The names of the nodes that stand in the place of calls, by those of the function's."""
        return {origin: tuple(names) for origin, names in self._copies.items()}

    def mark(self, name: str) -> None:
        """Remember this moment by a name."""
        self._marks[name] = len(self._rewrites)

    def unchanged_since(self, mark: str) -> bool:
        """Whether the mark was made, and nothing has changed since."""
        return mark in self._marks and self._marks[mark] == len(self._rewrites)

    def since(self, mark: str) -> frozenset[str]:
        """Return the passes that have changed something since the mark, or since the beginning."""
        return frozenset(rewrite.pass_name for rewrite in self._rewrites[self._marks.get(mark, 0) :])

    def begin_anew(self, nodes: Mapping[str, ir.Node] | None = None) -> None:
        """Forget the marks, as after changes of which not every one was written down.

        Args:
            nodes: by name the nodes that have taken the place of all earlier ones, where the whole model was made anew.
        """
        self._marks.clear()
        if nodes is not None:
            self._declined = {nodes[each.node]: each for each in self._declined.values() if each.node in nodes}

    def inside(self, node: ir.Node) -> tuple[tuple[ir.Node, str], ...]:
        """Return the nodes that `node` took up, and of which type they were."""
        return tuple(self._inside.get(node, {}).items())

    def decline(
        self,
        node: ir.Node,
        reason: str,
        code: Code,
        *,
        evidence: Evidence | None = None,
        kind: str | None = None,
        value: ir.Value | None = None,
        needs_opset: int | None = None,
    ) -> None:
        """Write down why `node` is left; where it ends a written-out normalization, its kind and what it normalizes."""
        shape = None if value is None or value.shape is None else value.shape
        dims = None if shape is None else tuple(dim if isinstance(dim, int) else dim.value for dim in shape)
        found = evidence or Evidence()
        self._declined[node] = Decline(
            node.name or "",
            node.op_type,
            reason,
            kind,
            dims,
            needs_opset,
            code,
            found.blocker,
            found.op_type,
            found.value,
            found.readers,
            found.remedy or Remedy(ADVICE[code]),
            found.cost,
            found.bound,
        )

    def partly(self, codes: Collection[Code]) -> frozenset[str]:
        """Return the names of the nodes that are left in part for such reasons, as the last that was done with them."""
        last = {rewrite.node: rewrite for rewrite in self._rewrites}
        return frozenset(name for name, each in last.items() if each.effect is Effect.PARTLY and each.code in codes)

    def bound(self, node: ir.Node, bound: str) -> None:
        """Write down what is known of how many must stay, beside the last that was done with a node."""
        place = max(number for number, each in enumerate(self._rewrites) if each.node == node.name)
        self._rewrites[place] = replace(self._rewrites[place], bound=bound)

    def remedy_of(self, node: ir.Node) -> Remedy | None:
        """Return what would help a node that is left; None where it is not left."""
        found = self._declined.get(node)
        return None if found is None else found.remedy

    def advise(self, node: ir.Node, remedy: Remedy) -> None:
        """Write down what would help a node that is left, in place of what was written down before."""
        self._declined[node] = replace(self._declined[node], remedy=remedy)

    def explains(self, node: ir.Node) -> bool:
        """Whether there is a reason why `node` is left."""
        return node in self._declined

    def code_of(self, node: ir.Node) -> Code | None:
        """Return the code of the reason why `node` is left; None where there is none."""
        found = self._declined.get(node)
        return None if found is None else found.code

    def leave_apart(self, node: ir.Node) -> None:
        """Write down that branches that `node` adds up stay apart, though one node could compute them."""
        self._apart.add(node)

    @property
    def apart(self) -> int:
        """The number of sums whose branches were left apart, and are there still."""
        return sum(node.graph is not None for node in self._apart)

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        return tuple(self._rewrites)

    @property
    def declined(self) -> tuple[Decline, ...]:
        # What was written out may have gone since, when something else took its nodes.
        return tuple(
            decline for node, decline in self._declined.items() if decline.kind is None or node.graph is not None
        )


@dataclass(frozen=True)
class Rewrite:
    """The record of one thing done.

    Attributes:
        pass_name: the pass that did it.
        node, op_type: the node that was changed, and of which type it was, or is where it was raised.
        detail: how it was changed, in words for people.
        effect: what became of the node.
        code, blocker, remedy, bound: where a part of it is left, why, the node in the way, what would help, and what is
            known of how many must stay.
        into: the names of the nodes that took it up, as far as they are known.
    """

    pass_name: str
    node: str
    op_type: str
    detail: str
    effect: Effect = Effect.GONE
    code: Code | None = None
    blocker: str = ""
    remedy: Remedy | None = None
    into: tuple[str, ...] = ()
    bound: str = ""


@dataclass(frozen=True)
class Decline:
    """The record of one normalization left where it is.

    Attributes:
        node, op_type: the node; where the normalization is written out in other operators, the last of them.
        reason: why it is left, in words for people.
        kind: the normalization by its name in the field, where it is written out; else None.
        shape: of the tensor that a written-out one normalizes; None where the rank is not known.
        needs_opset: the opset from which on it would become one node, where nothing else is in the way.
        code: the stable code of the reason, which `onnxnorm reasons CODE` explains.
        blocker: the name of the node that is in the way; "" where none is.
        blocker_op_type: the operator of that node.
        value: the name of the value at which it is in the way; "" where none is.
        readers: who else reads that value: the names of nodes, `graph output` for the caller.
        remedy: what makes the reason go away.
        cost: the figures, where cost decided.
        bound: what is known of how many must stay, as a sentence; "" where nothing is.
    """

    node: str
    op_type: str
    reason: str
    kind: str | None = None
    shape: tuple[int | str | None, ...] | None = None
    needs_opset: int | None = None
    code: Code = Code.NOT_ASKED
    blocker: str = ""
    blocker_op_type: str = ""
    value: str = ""
    readers: tuple[str, ...] = ()
    remedy: Remedy | None = None
    cost: Cost | None = None
    bound: str = ""
