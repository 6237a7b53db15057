"""Placements of one affine: the ways to share it out between the two sides of its node."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.region import Region

__all__ = ["MAX_QUESTIONS", "is_perfect", "tries"]


# A region may span a whole network; beyond this many questions to rules it costs more than it can bring.
MAX_QUESTIONS = 1000


_NEARBY = 24


def tries(x: ir.Value, y: ir.Value, affine: ChannelAffine) -> Iterator[tuple[dict[ir.Value, Gauge], int]]:
    """Yield placements, each with the number of questions that may be asked for it.

    Most affines find their place nearby, so all placements are tried there first. Farther off, scales go before shifts,
    since their ways are forced: what they run into spares others the way.
    """
    placements = []
    for seeds in _placements(x, y, affine):
        placements.append(seeds)
        yield seeds, _NEARBY
    yield from ((seeds, MAX_QUESTIONS) for seeds in reversed(placements))


def _placements(x: ir.Value, y: ir.Value, affine: ChannelAffine) -> Iterator[dict[ir.Value, Gauge]]:
    """Yield the ways to share the affine out between the two sides, those that leave nothing first."""
    if affine.is_identity:
        yield {}
        return
    yield {x: Gauge.new(affine)}
    yield {y: Gauge.old(affine)}
    if not (affine.scales and affine.shifts):
        return
    rank = affine.rank
    scale, shift = ChannelAffine.of(affine.scale, 0.0, rank), ChannelAffine.of(1.0, affine.shift, rank)
    yield {x: Gauge.new(scale), y: Gauge.old(shift)}
    inverse = affine.inverse()
    if inverse is not None:
        inner_shift = ChannelAffine.of(1.0, affine.shift / affine.scale, rank)
        yield {x: Gauge.new(inner_shift), y: Gauge.old(scale)}
    yield {x: Gauge.new(scale)}
    if inverse is not None:
        yield {y: Gauge.old(scale)}
    yield {y: Gauge.old(shift)}
    if inverse is not None:
        yield {x: Gauge.new(inner_shift)}


def is_perfect(region: Region, node: ir.Node) -> bool:
    """Whether the affine is gone and no other node became dearer for it."""
    own = region.edits.get(node)
    return own is not None and own.removed and not region.insertions and all(e.cost <= 0 for e in region.edits.values())
