"""Chooses where two models are cut into pieces with the same borders.

A border is a place between the nodes of each model. The values that live there in the result, made before it and read
after it, have the same names in the original, which has made them before its place too. Whether they mean the same in
both is for a run to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnxnorm.verification.layout import Layout

__all__ = ["LIMITS", "Border", "Limits", "PieceSizes", "borders_of"]

_MOST_LIVE = 32
"""Number of values that may live at a border."""
_FEW_LIVE = 2
"""Number of values up to which the first place is taken behind which a piece is large enough."""
_PATIENCE = 1.5
"""Factor by which a piece may exceed its size in search for a place where few values live that look the same."""


@dataclass(frozen=True)
class PieceSizes:
    """The size that a piece should have: of nodes of the original, or of bytes of weights of both models."""

    nodes: int
    weight_bytes: int


@dataclass(frozen=True)
class Limits:
    """The limits of nodes and of bytes of weights above which a model is taken in pieces, and the size of these.

    Attributes:
        nodes, weight_bytes: these limits.
        pieces: the size of the pieces.
        last_run: the bytes of weights up to which both models are run once more as wholes, after their pieces.
    """

    nodes: int
    weight_bytes: int
    pieces: PieceSizes
    last_run: int = 1 << 28


LIMITS = Limits(nodes=2000, weight_bytes=1 << 28, pieces=PieceSizes(nodes=512, weight_bytes=1 << 26))


@dataclass(frozen=True)
class Border:
    """A border: the place of the first node behind it in the original and in the result.

    Attributes:
        original, result: these places.
        lives: the values that live there in the result.
        handed: the values that live there in either model.
        compared: what both models make before this border and behind the border before, and what has to be equal:
            values that live in the result, and outputs of the whole model.
    """

    original: int
    result: int
    lives: frozenset[str]
    handed: frozenset[str]
    compared: tuple[str, ...]


def borders_of(ours: Layout, theirs: Layout, sizes: PieceSizes) -> list[Border]:
    """Return the borders in order, the last of them behind all nodes; that alone where nothing can be cut."""
    live = dict(ours.borders(_MOST_LIVE))
    public = [value.name for value in ours.model.graph.output]
    found: list[Border] = []
    start = (0, 0)
    handed: frozenset[str] = frozenset()
    for original, result, lives in _large_enough(ours, theirs, live, sizes):
        if original <= start[0] or result <= start[1]:
            continue
        compared = _compared(ours, theirs, start, (original, result), lives - handed, public)
        if compared:
            found.append(Border(original, result, lives, lives | live[original], compared))
            start, handed = (original, result), lives
    end = (len(ours.nodes), len(theirs.nodes))
    while True:
        known = [name for border in found for name in border.compared]
        rest = tuple(name for name in public if name not in known)
        if rest or not found:
            return [*found, Border(*end, frozenset(), frozenset(), rest)]
        # Nothing behind the last border is given to anybody.
        found.pop()


def _large_enough(
    ours: Layout, theirs: Layout, live: Mapping[int, frozenset[str]], sizes: PieceSizes
) -> Iterator[tuple[int, int, frozenset[str]]]:
    """Yield the places in both models behind which a piece is large enough, with what lives there in the result."""
    nodes, weights = 0, 0
    at, counted = 0, 0
    waiting: tuple[int, int, frozenset[str]] | None = None
    for result, lives in theirs.borders(_MOST_LIVE):
        if not all(name in ours.made for name in lives):
            continue
        original = 1 + max(ours.made[name] for name in lives)
        if original not in live or original <= at:
            continue
        weights += sum(theirs.weight_bytes[counted:result]) + sum(ours.weight_bytes[at:original])
        nodes, at, counted = nodes + original - at, original, result
        share = max(nodes / sizes.nodes, weights / sizes.weight_bytes)
        if share < 1:
            continue
        looks_same = all(_looks_same(ours, theirs, name) for name in lives)
        if waiting is None or looks_same or len(lives) < len(waiting[2]):
            waiting = (original, result, lives)
        if (looks_same and len(lives) <= _FEW_LIVE) or share > _PATIENCE:
            yield waiting
            nodes, weights, waiting = 0, 0, None


def _looks_same(ours: Layout, theirs: Layout, name: str) -> bool:
    """Whether a value is made and read by the same operators in both models: where it was scaled, these differ."""
    makers = (layout.nodes[layout.made[name]].op_type for layout in (ours, theirs))
    return len(set(makers)) == 1 and sorted(ours.readers.get(name, [])) == sorted(theirs.readers.get(name, []))


def _compared(
    ours: Layout, theirs: Layout, start: tuple[int, int], end: tuple[int, int], fresh: frozenset[str], public: list[str]
) -> tuple[str, ...]:
    """Return what has to be equal at a border; nothing where one model makes it there and the other elsewhere."""

    def is_here(layout: Layout, which: int, name: str) -> bool:
        return start[which] <= layout.made.get(name, -1) < end[which]

    given = [name for name in public if is_here(ours, 0, name) or is_here(theirs, 1, name)]
    compared = dict.fromkeys([*sorted(fresh), *given])
    if all(is_here(ours, 0, name) and is_here(theirs, 1, name) for name in compared):
        return tuple(compared)
    return ()
