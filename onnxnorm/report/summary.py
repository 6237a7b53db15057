"""The facts of a report in plain text, for terminals, logs and screen readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["summary_of"]

# So many reasons of one fate are told, each with the names of so many normalizations.
_NAMED = 8
_ALIKE = 3


def summary_of(data: Mapping[str, Any]) -> str:
    """Return what the page shows, without its pictures: fates, costs, the verdict, and why normalizations stay."""
    return "\n".join(_lines(data)) + "\n"


def _group(norms: Sequence[Mapping[str, Any]]) -> str:
    """Return the line of normalizations of one kind that share reason and remedy."""
    first = norms[0]
    names = ", ".join(norm["where"] for norm in norms[:_ALIKE])
    more = f" and {len(norms) - _ALIKE} more" if len(norms) > _ALIKE else ""
    kind = f"{first['kind']}, {first['shape']}" if len(norms) == 1 else f"{len(norms)} of {first['kind']}"
    helps = f". {first['label'].capitalize()}: {first['remedy']}" if first["remedy"] else ""
    return f"  {names}{more} ({kind}): {first['reason']}{helps}"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield data["before"] + (f" -> {data['after']}" if data["after"] else "")
    counts = Counter(norm["fate"] for norm in data["norms"])
    fates = ", ".join(f"{counts[fate]} {name}" for fate, name in enumerate(data["fates"]) if counts[fate])
    before, after = data["account"]
    yield f"normalizations: {before} -> {after}" + (f" ({fates})" if fates else "")
    before, after = data["costs"]
    for name, text in (("nodes", "nodes"), ("multiply_adds", "multiply-adds"), ("bytes", "bytes of weights")):
        yield f"{text}: {before[name]:,} -> {after[name]:,}"
    if data["latency"] is not None:
        yield "latency: {} ms -> {} ms".format(*data["latency"]["median"])
    count, poor = data["ranges"]["count"], data["ranges"]["poor"]
    if any(count):
        told = f"{poor[0]} of {count[0]} -> {poor[1]} of {count[1]}"
        yield f"weights that lose accuracy in int8 with one scale a tensor: {told}"
    yield f"verification: {data['verification']['text'] if data['verification'] else 'not run'}"
    for fate, name in enumerate(data["fates"]):
        own = [norm for norm in data["norms"] if norm["fate"] == fate]
        if not own:
            continue
        yield f"\n{name}:"
        groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
        for norm in own:
            groups.setdefault((norm["kind"], norm["reason"], norm["remedy"]), []).append(norm)
        shown = list(groups.values())[:_NAMED]
        yield from map(_group, shown)
        if left := len(own) - sum(map(len, shown)):
            yield f"  and {left} more"
    for note in data["notes"]:
        yield f"note: {note}"
