"""Placements of one affine: the ways to share it out between the two sides of its node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.region import Region

__all__ = ["MAX_QUESTIONS", "Seeds", "in_one_move", "is_perfect", "tries"]

Seeds: TypeAlias = dict[ir.Value, Gauge]
"""The first gauges of a search: on the input of the node, on its output, or on both."""

# A region may span a whole network; beyond this many questions to rules it costs more than it can bring.
MAX_QUESTIONS = 1000
_NEARBY = 24


def tries(x: ir.Value, y: ir.Value, affine: ChannelAffine) -> Iterator[tuple[Seeds, int]]:
    """Yield placements, each with the number of questions that may be asked for it.

    Most affines find their place nearby, so all placements are tried there first. Farther off, scales go before shifts,
    since their ways are forced: what they run into spares others the way.
    """
    placements = []
    for seeds in _placements(x, y, affine):
        placements.append(seeds)
        yield seeds, _NEARBY
    yield from ((seeds, MAX_QUESTIONS) for seeds in reversed(placements))


def in_one_move(x: ir.Value, y: ir.Value, affine: ChannelAffine) -> Iterator[Seeds]:
    """Yield the placements that tell what is in the way: all before the node, all behind it, the shift before it."""
    yield {x: Gauge.new(affine)}
    yield {y: Gauge.old(affine)}
    if affine.scales and affine.shifts and (shift := _shift_before(affine)) is not None:
        yield {x: Gauge.new(shift), y: Gauge.old(_scale(affine))}


def _placements(x: ir.Value, y: ir.Value, affine: ChannelAffine) -> Iterator[Seeds]:
    """Yield the ways to share the affine out between the two sides, those that leave nothing first."""
    if affine.is_identity:
        yield {}
        return
    yield {x: Gauge.new(affine)}
    yield {y: Gauge.old(affine)}
    if not (affine.scales and affine.shifts):
        return
    scale, shift = _scale(affine), ChannelAffine.of(1.0, affine.shift, affine.rank)
    yield {x: Gauge.new(scale), y: Gauge.old(shift)}
    shift_before = _shift_before(affine)
    if shift_before is not None:
        yield {x: Gauge.new(shift_before), y: Gauge.old(scale)}
    yield {x: Gauge.new(scale)}
    if shift_before is not None:
        yield {y: Gauge.old(scale)}
    yield {y: Gauge.old(shift)}
    if shift_before is not None:
        yield {x: Gauge.new(shift_before)}


def _scale(affine: ChannelAffine) -> ChannelAffine:
    return ChannelAffine.of(affine.scale, 0.0, affine.rank)


def _shift_before(affine: ChannelAffine) -> ChannelAffine | None:
    """Return the shift t / s before the scale, as s (x + t / s) = s x + t; None where the scale cannot be undone."""
    return None if affine.inverse() is None else ChannelAffine.of(1.0, affine.shift / affine.scale, affine.rank)


def is_perfect(region: Region, node: ir.Node) -> bool:
    """Whether the affine is gone and no other node became dearer for it."""
    own = region.edits.get(node)
    return own is not None and own.removed and not region.insertions and all(e.cost <= 0 for e in region.edits.values())
