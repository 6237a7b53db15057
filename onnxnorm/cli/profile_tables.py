"""Tells profiles: a headline, the operators, and the nodes that take the most time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from onnxnorm.runtime.profile import NodeProfile, Profile

__all__ = ["document", "print_profiles"]

_ABSENT = "-"
_K = TypeVar("_K", str, tuple[str, str])


@dataclass(frozen=True)
class _Sum:
    """The costs of several nodes together; `multiply_adds` is None where that of one of them is not known."""

    nodes: int
    ms: float
    multiply_adds: int | None
    bytes: int

    @classmethod
    def of(cls, nodes: Iterable[NodeProfile]) -> _Sum:
        listed = list(nodes)
        adds = [node.multiply_adds for node in listed]
        known = [each for each in adds if each is not None]
        return cls(
            len(listed),
            sum(node.ms for node in listed),
            sum(known) if len(known) == len(adds) else None,
            sum(node.bytes for node in listed),
        )


def document(names: Sequence[str], profiles: Sequence[Profile]) -> dict[str, object]:
    """Return all there is to tell, for JSON."""
    return {
        "models": [
            {
                "model": name,
                "ms": profile.ms,
                "runs": profile.runs,
                "multiply_adds": profile.multiply_adds,
                "bytes": profile.bytes,
                "operators": {name: _Sum.of(nodes) for name, nodes in _by_operator(profile).items()},
                "nodes": profile.nodes,
            }
            for name, profile in zip(names, profiles, strict=True)
        ]
    }


def print_profiles(names: Sequence[str], profiles: Sequence[Profile], top: int) -> None:
    """Print the profile of one model, or two side by side."""
    from onnxnorm.cli.tables import Table, print_table

    print(_headline(names, profiles), end="\n\n")
    operators = [{name: _Sum.of(nodes) for name, nodes in _by_operator(each).items()} for each in profiles]
    rows = [(name, *_cells([each.get(name) for each in operators])) for name in _slowest(operators)]
    print_table(Table.of("operator >nodes >ms >multiply-adds >bytes", rows))
    nodes = [{(node.node, node.operator): _Sum.of([node]) for node in each.nodes} for each in profiles]
    slowest = _slowest(nodes)
    print()
    cells = [(name, operator, *_cells([each.get((name, operator)) for each in nodes])) for name, operator in slowest]
    print_table(Table.of("node operator >ms >multiply-adds >bytes", [(*row[:2], *row[3:]) for row in cells[:top]]))
    if len(slowest) > top:
        print(f"and {len(slowest) - top} more nodes (--top {len(slowest)} lists them)")
    uncounted = sorted({node.operator for each in profiles for node in each.nodes if node.multiply_adds is None})
    if uncounted:
        print(f"note: the multiply-adds of {', '.join(uncounted)} are not known and left out")


def _headline(names: Sequence[str], profiles: Sequence[Profile]) -> str:
    def change(told: Callable[[Profile], str]) -> str:
        return _change([told(profile) for profile in profiles])

    parts = [
        f"{' -> '.join(names)}: {change(lambda each: f'{each.ms:.3g}')} ms",
        *([f"{profiles[0].ms / profiles[1].ms:.2f}x"] if len(profiles) == 2 else []),
        f"{change(lambda each: str(len(each.nodes)))} nodes",
        f"{change(lambda each: _count(each.multiply_adds))} multiply-adds",
        f"{change(lambda each: _size(each.bytes))} read and written",
    ]
    return ", ".join(parts) + f" (medians of {profiles[0].runs} runs under the profiler)"


def _by_operator(profile: Profile) -> dict[str, list[NodeProfile]]:
    found: dict[str, list[NodeProfile]] = {}
    for node in profile.nodes:
        found.setdefault(node.operator, []).append(node)
    return found


def _slowest(sides: Sequence[Mapping[_K, _Sum]]) -> list[_K]:
    """Return what any of the sides has, that first which takes the most time in one of them."""
    most: dict[_K, float] = {}
    for side in sides:
        for name, each in side.items():
            most[name] = max(most.get(name, 0.0), each.ms)
    return sorted(most, key=lambda name: -most[name])


def _cells(sides: Sequence[_Sum | None]) -> tuple[str, str, str, str]:
    """Return nodes, milliseconds, multiply-adds and bytes of each side."""

    def change(told: Callable[[_Sum], str]) -> str:
        return _change([_ABSENT if each is None else told(each) for each in sides])

    return (
        change(lambda each: str(each.nodes)),
        change(lambda each: f"{each.ms:.3g}"),
        change(lambda each: "?" if each.multiply_adds is None else _count(each.multiply_adds)),
        change(lambda each: _size(each.bytes)),
    )


def _change(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else " -> ".join(texts)


def _count(number: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def _size(size: int) -> str:
    from onnxnorm.cli.tables import format_size

    return format_size(size)
