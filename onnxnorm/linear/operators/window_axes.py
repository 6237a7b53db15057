"""The geometry of windowed operators and paddings, read from their attributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.graph.windows import read_window
from onnxnorm.linear.axis import Axis, TransposedAxis

__all__ = ["padding_of", "transposed_window_of", "window_of"]


def window_of(node: ir.Node, kernel: Sequence[int], extents: Sequence[Dim]) -> tuple[Axis, ...] | None:
    """Read the window of a Conv or a pool on an input of these extents; None where they decide it and are not known."""
    window = read_window(node, kernel)
    padding = None if window is None else window.padding_on(extents)
    if window is None or padding is None or any(min(ends) < 0 for ends in padding):
        return None
    axes = []
    for index, (taps, stride, dilation) in enumerate(zip(kernel, window.strides, window.dilations, strict=True)):
        axis = Axis(taps, stride, dilation, *padding[index])
        # Rounding up must give nothing more: otherwise the last window reaches beyond the padding.
        extent = extents[index] if index < len(extents) else None
        rounds_up = window.ceils and stride > 1
        if rounds_up and (not isinstance(extent, int) or (extent - 1 + axis.slack) % stride):
            return None
        axes.append(axis)
    return tuple(axes)


def transposed_window_of(
    node: ir.Node, kernel: Sequence[int], extents: Sequence[Dim]
) -> tuple[TransposedAxis, ...] | None:
    """Read the window of a ConvTranspose; None where its paddings follow from extents that are not known."""
    window = read_window(node, kernel)
    if window is None:
        return None
    padding = window.padding
    if padding is None:
        lengths = [a + b for a, b in zip(window.spans, window.extra, strict=True)]
        padding = _padding_that_gives(node, extents, window.strides, lengths)
    if padding is None or any(min(ends) < 0 for ends in padding):
        return None
    return tuple(
        TransposedAxis(taps, window.strides[axis], window.dilations[axis], *padding[axis], window.extra[axis])
        for axis, taps in enumerate(kernel)
    )


def _padding_that_gives(
    node: ir.Node, extents: Sequence[Dim], strides: Sequence[int], spans: Sequence[int]
) -> tuple[tuple[int, int], ...] | None:
    """Return the paddings with which a ConvTranspose gives the output that is asked for (SAME: stride times the input).

    None where an odd number is to be divided: runtimes do not agree on the side that gets one more.
    """
    wanted = _integers(node, "output_shape", ())
    known = [extent for extent in extents if isinstance(extent, int)]
    if len(known) != len(spans) or len(wanted) not in (0, len(spans)):
        return None
    results = wanted or [extent * stride for extent, stride in zip(known, strides, strict=True)]
    totals = [
        stride * (extent - 1) + span - result
        for extent, stride, span, result in zip(known, strides, spans, results, strict=True)
    ]
    if any(total < 0 or total % 2 for total in totals):
        return None
    return tuple((total // 2, total // 2) for total in totals)


def padding_of(node: ir.Node, facts: Facts) -> tuple[Axis, ...] | None:
    """Read the zeros that a Pad puts around the spatial axes; None where it does anything else."""
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    rank = facts.rank(node.outputs[0])
    if mode != "constant" or rank is None or rank < 3:
        return None
    if facts.opset(node) < 11:
        pads: Sequence[int] | None = _integers(node, "pads", ())
        value, axes = node.attributes.get_float("value", 0.0), tuple(range(rank))
    else:
        operands = [None if each is None else facts.constant(each) for each in (*node.inputs[1:], None, None)][:3]
        if any(each is not None and known is None for each, known in zip(node.inputs[1:], operands, strict=False)):
            return None
        amounts, filling, places = operands
        pads = None if amounts is None or amounts.ndim != 1 else [int(amount) for amount in amounts]
        if filling is not None and filling.size != 1:
            return None
        value = 0.0 if filling is None else float(filling.item())
        axes = tuple(range(rank)) if places is None else tuple(int(axis) % rank for axis in places)
    if pads is None or value != 0.0 or np.any(np.asarray(pads) < 0) or len(pads) != 2 * len(axes):
        return None
    around = {axis: (pads[index], pads[len(axes) + index]) for index, axis in enumerate(axes)}
    if any(any(around.get(axis, (0, 0))) for axis in (0, 1)):
        return None
    return tuple(Axis(begin=around.get(axis, (0, 0))[0], end=around.get(axis, (0, 0))[1]) for axis in range(2, rank))


def _integers(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return default if attribute is None else tuple(attribute.as_ints())
