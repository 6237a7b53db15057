"""The records of what became of each normalization of a model, and their sum."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from onnxnorm.display import data_frame, html_table, plain
from onnxnorm.journal import Rewrite
from onnxnorm.journal.reasons import Code, Cost, Remedy

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]

__all__ = ["GONE", "Account", "Fate", "NormRecord", "NormRecords", "absorbed"]


class Fate(str, enum.Enum):
    """The fate of a normalization when the model is optimized."""

    ABSORBED = "absorbed"
    """The node disappears: its constants go into those of its neighbours, or it does nothing."""
    MERGED = "merged"
    """The node disappears together with a parallel branch that merges with others."""
    PARTLY = "partly"
    """The node disappears, and a cheaper one or one elsewhere takes up a part of it."""
    RECOGNIZED = "recognized"
    """The nodes that spell it become the one node that stands for it."""
    ACCELERATED = "accelerated"
    """The node becomes one that the target runs faster."""
    WRITTEN_OUT = "written out"
    """The node becomes others that the target runs faster."""
    NEW = "new"
    """The node is none of the original's: it holds what is left of those that moved."""
    LEFT = "left"
    """The node stays as it is, for the reason that the record gives."""

    def __str__(self) -> str:
        return self.value


GONE: frozenset[Fate] = frozenset({Fate.ABSORBED, Fate.MERGED, Fate.PARTLY})
"""The fates after which the result has one normalization fewer."""


@dataclass(frozen=True)
class NormRecord:
    """The record of one normalization of a model.

    Attributes:
        kind: the normalization by its name in the field, such as "BatchNormalization" or "LRN (inter-channel)".
        node: the node's name; where it has none its operator and its place in the graph, such as "LRN_3"; where other
            nodes bear the same name `#2`, `#3` and so on stand behind it.
        shape: of the tensor it normalizes: an integer, a symbolic dimension's name, or None where unknown, for each
            axis; None where not even the rank is known.
        fate: what `optimize` makes of it.
        reason: where it was absorbed, and through what; or why it is left.
        op_type: the operator.
        domain: the operator's domain, "" for ONNX's own.
        path: where the graph that holds it stands: empty for the main graph, otherwise the nodes and attributes (or
            the function) down to it, such as "if_3/then_branch".
        code: the stable code of the reason why it is left, which `onnxnorm reasons CODE` explains; None where it is not
            left.
        blocker, blocker_op_type: the name of the node that is in the way, and its operator; "" where none is.
        value: the name of the value at which it is in the way; "" where none is.
        readers: who else reads that value: the names of nodes, `graph output` for the caller.
        remedy: what makes the reason go away; None where it is not left.
        cost: the figures, where cost decided.
        bound: what is known of how many must stay, as a sentence; "" where nothing is.
        node_before, node_after: whether it is one node of the original, and one of the result.
    """

    kind: str
    node: str
    shape: tuple[int | str | None, ...] | None
    fate: Fate
    reason: str
    op_type: str
    domain: str
    path: str
    code: Code | None = None
    blocker: str = ""
    blocker_op_type: str = ""
    value: str = ""
    readers: tuple[str, ...] = ()
    remedy: Remedy | None = None
    cost: Cost | None = None
    bound: str = ""
    node_before: bool = True
    node_after: bool = True

    @property
    def where(self) -> str:
        """The path and the node in one text."""
        return f"{self.path}/{self.node}" if self.path else self.node

    @property
    def counts(self) -> str:
        """The change that the record stands for, such as "1 -> 0", in normalizations, written out or not."""
        return f"{int(self.fate is not Fate.NEW)} -> {int(self.fate not in GONE)}"


def absorbed(rewrites: Iterable[Rewrite]) -> tuple[NormRecord, ...]:
    """Return the records of a network all of whose batch normalizations were absorbed."""
    return tuple(
        NormRecord(name, rewrite.node, None, Fate.ABSORBED, rewrite.detail, name, "", "", node_after=False)
        for rewrite in rewrites
        if (name := rewrite.op_type) == "BatchNormalization"
    )


@dataclass(frozen=True)
class Account:
    """The sum of the records: normalizations before, after and by fate.

    after = before - absorbed - merged - partly + new.

    Attributes:
        before, after: how many normalizations the original and the result have, written out ones among them.
        nodes_before, nodes_after: how many of them are one node.
        fates: how many had each fate, those alone that some had.
    """

    before: int
    after: int
    nodes_before: int
    nodes_after: int
    fates: Mapping[Fate, int]

    @classmethod
    def of(cls, records: Iterable[NormRecord]) -> Account:
        """Add the records up."""
        all_records = tuple(records)
        fates = Counter(record.fate for record in all_records)
        return cls(
            before=len(all_records) - fates[Fate.NEW],
            after=len(all_records) - sum(fates[fate] for fate in GONE),
            nodes_before=sum(record.node_before for record in all_records),
            nodes_after=sum(record.node_after for record in all_records),
            fates={fate: fates[fate] for fate in Fate if fates[fate]},
        )

    def __str__(self) -> str:
        noun = "normalization" if self.before == 1 else "normalizations"
        fates = ", ".join(f"{count} {fate.value}" for fate, count in self.fates.items())
        return f"{self.before} {noun}, {self.after} after" + (f": {fates}" if fates else "")


class NormRecords(tuple[NormRecord, ...]):
    """The records of all normalizations of a model, in the order of the graph: a tuple that shows itself as a table."""

    __slots__ = ()

    @property
    def account(self) -> Account:
        """The sum: how many normalizations there were, how many there would be, and how many have each fate."""
        return Account.of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the records and their sum in types that JSON has."""
        return {"normalizations": plain(tuple(self)), "account": plain(self.account)}

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame of pandas with a row for each normalization and a column for each attribute.

        Raises:
            OnnxNormError: pandas is not installed.
        """
        names = [field.name for field in fields(NormRecord)]
        return data_frame(names, [[_cell(getattr(record, name)) for name in names] for record in self])

    def __repr__(self) -> str:
        return f"<NormRecords: {self.account}>"

    def _repr_html_(self) -> str:
        """Return the records as a table, as notebooks show it."""
        rows = [(each.where, each.kind, each.fate, each.reason) for each in self]
        return f"<p><b>{self.account}</b></p>\n" + html_table(("node", "kind", "fate", "reason"), rows)


def _cell(value: Any) -> Any:
    if isinstance(value, Remedy):
        return value.text
    # A shape stays whole where pandas would take a list for several cells.
    return value if isinstance(value, tuple) else plain(value)
