"""The geometry of windowed operators and paddings, read from their attributes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.facts import Dim, Facts
from onnxnorm.linear.axis import Axis, TransposedAxis

__all__ = ["padding_of", "transposed_window_of", "window_of"]


def window_of(node: ir.Node, kernel: Sequence[int], extents: Sequence[Dim]) -> tuple[Axis, ...] | None:
    """Read the window of a Conv or a pool on an input of these extents; None where they decide it and are not known."""
    rank = len(kernel)
    attributes = node.attributes
    strides, dilations = (_integers(node, name, (1,) * rank) for name in ("strides", "dilations"))
    pads = _integers(node, "pads", (0,) * (2 * rank))
    automatic = attributes["auto_pad"].as_string() if "auto_pad" in attributes else "NOTSET"
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank:
        return None
    axes = []
    for index, (taps, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        extent = extents[index] if index < len(extents) else None
        ends: tuple[int, int] | None = (pads[index], pads[rank + index])
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            ends = _same(taps, stride, dilation, extent, upper=automatic == "SAME_UPPER")
        elif automatic == "VALID":
            ends = (0, 0)
        if ends is None or min(ends) < 0:
            return None
        axis = Axis(taps, stride, dilation, *ends)
        # Rounding up must give nothing more: otherwise the last window reaches beyond the padding.
        rounds_up = attributes.get_int("ceil_mode", 0) != 0 and stride > 1
        if rounds_up and (not isinstance(extent, int) or (extent - 1 + axis.slack) % stride):
            return None
        axes.append(axis)
    return tuple(axes)


def _same(taps: int, stride: int, dilation: int, extent: Dim, *, upper: bool) -> tuple[int, int] | None:
    """Return paddings that give ceil(extent / stride) results; those of stride 1 depend on no extent."""
    if stride == 1 or taps == 1:
        total = (taps - 1) * dilation
    elif isinstance(extent, int):
        total = max(0, (-(-extent // stride) - 1) * stride + (taps - 1) * dilation + 1 - extent)
    else:
        return None
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def transposed_window_of(
    node: ir.Node, kernel: Sequence[int], extents: Sequence[Dim]
) -> tuple[TransposedAxis, ...] | None:
    """Read the window of a ConvTranspose; None where its paddings follow from extents that are not known."""
    rank = len(kernel)
    strides, dilations = (_integers(node, name, (1,) * rank) for name in ("strides", "dilations"))
    pads, extra = _integers(node, "pads", (0,) * (2 * rank)), _integers(node, "output_padding", (0,) * rank)
    automatic = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    if not rank == len(strides) == len(dilations) == len(extra):
        return None
    if automatic == "VALID":
        pads = (0,) * (2 * rank)
    if "output_shape" in node.attributes or automatic.startswith("SAME"):
        spans = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
        found = _pads_that_give(node, extents, strides, [a + b for a, b in zip(spans, extra, strict=True)])
        if found is None:
            return None
        pads = found
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        return None
    return tuple(
        TransposedAxis(kernel[axis], strides[axis], dilations[axis], pads[axis], pads[rank + axis], extra[axis])
        for axis in range(rank)
    )


def _pads_that_give(
    node: ir.Node, extents: Sequence[Dim], strides: Sequence[int], spans: Sequence[int]
) -> tuple[int, ...] | None:
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
    return tuple(total // 2 for total in totals) * 2


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
