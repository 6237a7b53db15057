"""The place of each normalization in the picture: where it stands, where it went, and what is in its way."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnxnorm.journal import Rewrite
from onnxnorm.optimizer.records import NormRecord
from onnxnorm.report.picture import Picture

__all__ = ["Norm", "holder", "norms_of"]


@dataclass(frozen=True)
class Norm:
    """One normalization with its place in the picture.

    Attributes:
        record: what `inspect` tells of it.
        node: its place in the picture, None where no node of the picture holds it.
        takers: the places of the nodes that took it up.
        path: the places on the way from it to where it went, itself first.
        blocker: the place of the node that is in the way, or None.
    """

    record: NormRecord
    node: int | None
    takers: tuple[int, ...]
    path: tuple[int, ...]
    blocker: int | None


def norms_of(records: Sequence[NormRecord], rewrites: Sequence[Rewrite], picture: Picture) -> tuple[Norm, ...]:
    """Find each normalization of the records in the picture, and where it went."""
    places = _places(picture)
    calls: dict[str, str] = {}
    for each in picture.before:
        if each is not None and each.name:
            calls.setdefault(f"{each.domain}::{each.op_type}", each.name)
    takers: dict[str, list[str]] = {}
    for rewrite in rewrites:
        takers.setdefault(rewrite.node, []).extend(rewrite.into)
    return tuple(_norm(record, takers, places, calls, picture) for record in records)


def _norm(
    record: NormRecord,
    takers: Mapping[str, Sequence[str]],
    places: Mapping[str, int],
    calls: Mapping[str, str],
    picture: Picture,
) -> Norm:
    node = places.get(_standing(record, places, calls))
    went = tuple(dict.fromkeys(places[name] for name in _followed(record.node, takers) if name in places))
    path: tuple[int, ...] = ()
    if node is not None and went:
        way = [node]
        for taker in went:
            way += picture.path(node, taker)
        path = tuple(dict.fromkeys(way))
    return Norm(record, node, went, path, places.get(record.blocker) if record.blocker else None)


def _standing(record: NormRecord, names: Container[str], calls: Mapping[str, str]) -> str:
    """Return the name of the node of the main graph that it is, or that holds it, or that first calls its function."""
    if not record.path:
        return record.node
    function = record.path if record.path in calls else holder(record.path, calls) or ""
    return holder(record.path, names) or calls.get(function, "")


def _followed(name: str, takers: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """Yield the names of the nodes that took it up, and of those that took these up in turn."""
    seen = {name}
    pending = [name]
    while pending:
        for taker in takers.get(pending.pop(), ()):
            if taker not in seen:
                seen.add(taker)
                pending.append(taker)
                yield taker


def _places(picture: Picture) -> dict[str, int]:
    places: dict[str, int] = {}
    for side in (picture.before, picture.after):
        for place, node in enumerate(side):
            if node is not None and node.name:
                places.setdefault(node.name, place)
    return places


def holder(path: str, names: Container[str]) -> str | None:
    """Return the name of the node whose subgraph a path leads into; names hold slashes too."""
    parts = path.split("/")
    heads = ("/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((head for head in heads if head in names), None)
