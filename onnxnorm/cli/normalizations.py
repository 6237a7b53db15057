"""Tells what became of the normalizations of a model in few lines: a headline, and identical reasons as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxnorm.journal.words import general

if TYPE_CHECKING:
    from onnxnorm.optimizer.records import NormRecord

__all__ = ["Group", "detail_lines", "group_line", "grouped", "headline", "remedy_lines", "short_kind"]

_HEADINGS = {
    "what helps": "What helps, as tried on a copy",
    "may help": "What may help, not tried since it takes long (`inspect --node NAME` tries it)",
    "advice": "Advice (`onnxnorm reasons CODE` explains a code)",
}
_SHORT = {
    "BatchNormalization": "BatchNorm",
    "GroupNormalization": "GroupNorm",
    "InstanceNormalization": "InstanceNorm",
    "LayerNormalization": "LayerNorm",
    "LpNormalization": "LpNorm",
    "MeanVarianceNormalization": "MeanVarianceNorm",
    "RMSNormalization": "RMSNorm",
}


@dataclass(frozen=True)
class Group:
    """The records that have one fate for one reason, but for the names in it."""

    reason: str
    records: tuple[NormRecord, ...]

    @property
    def first(self) -> NormRecord:
        """The first of the records."""
        return self.records[0]

    @property
    def kinds(self) -> str:
        """The kinds of the records, each once."""
        return ", ".join(dict.fromkeys(record.kind for record in self.records))


def grouped(records: Iterable[NormRecord]) -> list[Group]:
    """Put the records together that differ in names alone, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[NormRecord]] = {}
    for record in records:
        key = (record.fate, record.code, general(record.reason))
        groups.setdefault(key, []).append(record)
    return [Group(found[0].reason if len(found) == 1 else str(key[-1]), tuple(found)) for key, found in groups.items()]


def group_line(group: Group) -> str:
    """Return the line that stands for the records of a group of several."""
    kinds = Counter(record.kind for record in group.records)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{group.reason}: {counted}, first {group.first.where!r}"


def remedy_lines(records: Iterable[NormRecord]) -> list[str]:
    """Return what helps, what could not be tried and what else is known, under headings; empty where there is nothing.

    Each line begins with the code of the reason that it is about.
    """
    told: dict[str, dict[str, None]] = {label: {} for label in _HEADINGS}
    for record in records:
        remedy = record.remedy
        if record.code is None or remedy is None:
            continue
        # What came of trying it says the heading, but for advice.
        shown = remedy.told if remedy.tried or remedy.is_definite else str(remedy)
        told[remedy.label][f"  {record.code}: {shown}"] = None
    return [line for label, lines in told.items() if lines for line in (f"{_HEADINGS[label]}:", *lines)]


def detail_lines(record: NormRecord) -> list[str]:
    """Return all that is known of a normalization, a line for each thing."""
    from onnxnorm.cli.tables import format_shape

    blocker = f"{record.blocker_op_type} {record.blocker!r}" if record.blocker else ""
    known: list[tuple[str, object]] = [
        ("node", record.where),
        ("kind", record.kind),
        ("shape", format_shape(record.shape)),
        ("fate", record.fate.value),
        ("reason", record.reason),
        ("code", "" if record.code is None else f"{record.code} (`onnxnorm reasons {record.code}` explains it)"),
        ("in the way", blocker),
        ("value", record.value),
        ("its readers", ", ".join(record.readers)),
        ("saves", "" if record.cost is None else f"the work of {record.cost.saves} elements"),
        ("pays", "" if record.cost is None else f"the work of {record.cost.pays} elements"),
        ("bound", record.bound),
    ]
    if record.remedy is not None:
        known.append((record.remedy.label, str(record.remedy)))
        known.append(("options", " ".join(record.remedy.options)))
    return [f"{name + ':':12} {text}" for name, text in known if text]


def short_kind(kind: str) -> str:
    """Return the name of a kind of normalization without what distinguishes its variants, such as "BatchNorm"."""
    plain = kind.partition(" (")[0]
    return _SHORT.get(plain, plain)


def headline(
    records: Sequence[NormRecord],
    nodes: tuple[Mapping[str, int], Mapping[str, int]],
    verified: bool | None,
    *,
    speed: float | None = None,
) -> str:
    """Return what was done in one line, such as "BatchNorm 121 -> 59, 62 nodes fewer, verified, 1.04x".

    Args:
        records: what became of each normalization.
        nodes: the numbers of nodes by operator, before and after.
        verified: whether the result was verified; None where it was not tried.
        speed: how many times as fast the result is, where that was measured.
    """
    parts = _kinds(records) or ["no normalization"]
    fewer = sum(nodes[0].values()) - sum(nodes[1].values())
    # No runtime runs a Constant: with them alone the number would promise more than it holds.
    constants = nodes[0].get("Constant", 0) - nodes[1].get("Constant", 0)
    parts.append(_fewer(fewer) + (f" (without Constants {_fewer(fewer - constants)})" if constants else ""))
    parts.append("not verified" if verified is None else "verified" if verified else "failed verification")
    if speed is not None:
        parts.append(f"{speed:.2f}x")
    return ", ".join(parts)


def _fewer(count: int) -> str:
    noun = "node" if abs(count) == 1 else "nodes"
    return f"{abs(count)} {noun} {'fewer' if count > 0 else 'more'}" if count else "as many nodes"


def _kinds(records: Sequence[NormRecord]) -> list[str]:
    from onnxnorm.optimizer.records import Account, Fate

    kinds: dict[str, list[NormRecord]] = {}
    for record in records:
        kinds.setdefault(short_kind(record.kind), []).append(record)
    parts = []
    for kind, own in kinds.items():
        account = Account.of(own)
        told = [
            f"{account.fates[fate]} {fate.value}"
            for fate in (Fate.RECOGNIZED, Fate.ACCELERATED, Fate.WRITTEN_OUT, Fate.PARTLY)
            if fate in account.fates
        ]
        parts.append(f"{kind} {account.before} -> {account.after}" + (f" ({', '.join(told)})" if told else ""))
    return parts
