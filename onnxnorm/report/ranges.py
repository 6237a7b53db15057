"""The ranges of weights channel by channel, before and after, and which weights int8 would take accuracy from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.prepare.ranges import WeightRange, ranges_by_node
from onnxnorm.report.picture import Picture
from onnxnorm.report.texts import number, operator, shown

__all__ = ["ranges"]

# So many weights are listed, and so many have their channels drawn, with so many bars each.
_LISTED = 3000
_DRAWN = 120
_BARS = 64


def ranges(picture: Picture, before: ir.Graph, after: ir.Graph, facts: Facts, facts_after: Facts) -> dict[str, Any]:
    """Return what is known of the ranges of all constant weights of convolutions and products.

    Returns:
        `count`: how many weights there are, before and after; `poor`: in how many of them int8 with one scale for the
        tensor leaves too few steps to a tenth of the channels; `weights`: an entry for each, in the order of the
        picture, with the largest weight of each channel (`bars`) where it is one of those that differ most.
    """
    olds, news = dict(ranges_by_node(before, facts)), dict(ranges_by_node(after, facts_after))
    pairs = []
    for index in range(len(picture)):
        old, new = picture.before[index], picture.after[index]
        pair = (None if old is None else olds.get(old), None if new is None else news.get(new))
        if any(pair):
            pairs.append((index, pair))
    drawn = {index for index, _ in sorted(pairs, key=lambda each: (*_rank(*each[1]), each[0]))[:_DRAWN]}
    return {
        "count": [len(olds), len(news)],
        "poor": [sum(record.loses_accuracy for record in records.values()) for records in (olds, news)],
        "weights": [_entry(picture, index, pair, index in drawn) for index, pair in pairs[:_LISTED]],
    }


def _rank(old: WeightRange | None, new: WeightRange | None) -> tuple[bool, bool, float]:
    """Order pairs: those that lose accuracy come first, then those that changed, then by how far channels differ."""
    there = [record for record in (old, new) if record is not None]
    changed = len(there) == 2 and there[0].ranges != there[1].ranges
    return (
        not any(record.loses_accuracy for record in there),
        not changed,
        -max(record.ratio for record in there),
    )


def _entry(
    picture: Picture, index: int, pair: tuple[WeightRange | None, WeightRange | None], drawn: bool
) -> dict[str, Any]:
    node = picture.node(index)
    return {
        "node": index,
        "name": shown(node.name),
        "op": operator(node.op_type, node.domain),
        "channels": [None if record is None else len(record.ranges) for record in pair],
        "ratio": [None if record is None else number(record.ratio) for record in pair],
        "poor": [None if record is None else record.poor for record in pair],
        "loses": [int(record is not None and record.loses_accuracy) for record in pair],
        "bars": [None if record is None else _bars(record) for record in pair] if drawn else None,
    }


def _bars(record: WeightRange) -> list[float]:
    # A channel with a NaN or an infinity has no height.
    heights = np.nan_to_num(np.asarray(record.ranges), nan=0.0, posinf=0.0)
    parts = np.array_split(heights, min(_BARS, len(heights)))
    return [float(f"{float(part.max()):.3g}") for part in parts]
