"""The facts of a report in plain text, for terminals, logs and screen readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["summary_of"]

# So many normalizations of one fate are named.
_NAMED = 8


def summary_of(data: Mapping[str, Any]) -> str:
    """Return what the page shows, without its pictures: fates, costs, the verdict, and why normalizations stay."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield data["before"] + (f" -> {data['after']}" if data["after"] else "")
    counts = Counter(norm["fate"] for norm in data["norms"])
    fates = ", ".join(f"{counts[fate]} {name}" for fate, name in enumerate(data["fates"]) if counts[fate])
    yield f"normalizations: {len(data['norms'])}" + (f" ({fates})" if fates else "")
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
        for norm in own[:_NAMED]:
            helps = f". What helps: {norm['remedy']}" if norm["remedy"] else ""
            yield f"  {norm['where']} ({norm['kind']}, {norm['shape']}): {norm['reason']}{helps}"
        if len(own) > _NAMED:
            yield f"  and {len(own) - _NAMED} more"
    for note in data["notes"]:
        yield f"note: {note}"
