"""Operators with windows as convolutions: Conv, ConvTranspose, AveragePool, Pad, SpaceToDepth, DepthToSpace."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.linear.axis import Axis, TransposedAxis
from onnxnorm.linear.channels import FloatArray, Integers
from onnxnorm.linear.convolution import Convolution
from onnxnorm.linear.operators.window_axes import padding_of, transposed_window_of, window_of
from onnxnorm.linear.step import Extents, Family, Step, StepReader, Weight, channels_of
from onnxnorm.numerics.arrays import check_size

__all__ = ["WINDOWED"]


def _conv(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    found = _operands(node, facts)
    if found is None:
        return None
    x, weight, bias, group = found
    axes = window_of(node, weight.shape[2:], (facts.shape(x) or ())[2:])
    if axes is None:
        return None

    def kernel(rows: Integers) -> FloatArray:
        return np.asarray(weight.array[rows], np.float64)

    return _weighted(x, weight, Convolution.later(weight.shape[:2], kernel, bias, group, axes))


def _conv_transpose(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    found = _operands(node, facts)
    if found is None:
        return None
    x, weight, bias, group = found
    axes = transposed_window_of(node, weight.shape[2:], (facts.shape(x) or ())[2:])
    if axes is None:
        return None
    inputs, columns, taps = weight.shape[0] // group, weight.shape[1], weight.shape[2:]

    def kernel(rows: Integers) -> FloatArray:
        # (inputs, outputs / group, taps...) to (outputs, inputs / group, taps...), group by group.
        grouped = weight.array.reshape(group, inputs, columns, *taps)
        return np.asarray(grouped[rows // columns, :, rows % columns], np.float64)

    return _weighted(x, weight, Convolution.later((group * columns, inputs), kernel, bias, group, axes))


def _operands(node: ir.Node, facts: Facts) -> tuple[ir.Value, Weight, npt.NDArray[np.generic] | None, int] | None:
    """Return input, weight, bias and number of groups of a convolution of either direction."""
    x, weight = node.inputs[0], Weight.of(node.inputs[1], facts)
    shift = node.inputs[2] if len(node.inputs) > 2 else None
    bias, group = facts.constant(shift), node.attributes.get_int("group", 1)
    if x is None or weight is None or len(weight.shape) < 3 or (shift is not None and bias is None):
        return None
    return None if group < 1 or weight.shape[0] % group else (x, weight, bias, group)


def _weighted(x: ir.Value, weight: Weight, own: Convolution) -> Step:
    return Step((x,), lambda parts, extents: parts[0].then(own, extents), own.work, weight, own.gathered)


def _average_pool(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, kernel = node.inputs[0], node.attributes.get("kernel_shape")
    if x is None or kernel is None:
        return None
    axes = window_of(node, tuple(kernel.as_ints()), (facts.shape(x) or ())[2:])
    if axes is None:
        return None
    if any(axis.pads for axis in axes) and not node.attributes.get_int("count_include_pad", 0):
        # The divisor is smaller at the border: no convolution does that.
        return None
    return Step(
        (x,),
        lambda parts, extents: parts[0].then(Convolution.average(parts[0].outputs, axes), extents),
        work=float(math.prod(axis.kernel for axis in axes)),
    )


def _pad(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    x, axes = node.inputs[0], padding_of(node, facts)
    if x is None or axes is None:
        return None
    return Step((x,), lambda parts, extents: parts[0].then(Convolution.identity(parts[0].outputs, axes), extents))


def _space_to_depth(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    """SpaceToDepth as a convolution: every place of a block becomes a channel.

    Output (by * block + bx) * C + c reads (by, bx) of channel c.
    """
    x, block = node.inputs[0], node.attributes.get_int("blocksize", 0)
    channels = None if x is None else channels_of(x, family, facts)
    if x is None or channels is None or block < 1 or facts.rank(x) != 4:
        return None
    check_size((block, block, channels, 1, block, block))
    weight = np.zeros((block, block, channels, 1, block, block))
    for row in range(block):
        for column in range(block):
            weight[row, column, :, 0, row, column] = 1.0
    axes = (Axis(block, block), Axis(block, block))
    flat = weight.reshape(-1, 1, block, block)
    # Row m reads channel m % channels; as one group of its own for each output, put in the order of the outputs.
    index = np.tile(np.arange(channels), block * block)

    def combine(parts: Sequence[Convolution], extents: Extents) -> Convolution | None:
        if parts[0].outputs != channels:
            return None
        return parts[0].rows(index).then(Convolution.of(flat, None, len(flat), axes), extents)

    return Step((x,), combine)


def _depth_to_space(node: ir.Node, value: ir.Value, family: Family, facts: Facts) -> Step | None:
    """DepthToSpace as a transposed convolution whose window is its stride: channels become the places of a block.

    Output c takes (by, bx) from input (by * block + bx) * C + c (mode DCR), or c * block**2 + by * block + bx (CRD).
    """
    x, block = node.inputs[0], node.attributes.get_int("blocksize", 0)
    channels = None if x is None else channels_of(x, family, facts)
    if x is None or channels is None or block < 1 or channels % block**2 or facts.rank(x) != 4:
        return None
    check_size((channels, channels))
    outputs = channels // block**2
    by_depth = "mode" not in node.attributes or node.attributes["mode"].as_string() == "DCR"
    axes = (TransposedAxis(block, block), TransposedAxis(block, block))

    def weight(rows: Integers) -> FloatArray:
        first, pace = (rows, outputs) if by_depth else (rows * block**2, 1)
        found = np.zeros((len(rows), channels, block, block))
        for place in range(block**2):
            found[np.arange(len(rows)), first + place * pace, place // block, place % block] = 1.0
        return found

    own = Convolution.later((outputs, channels), weight, None, 1, axes)
    return Step((x,), lambda parts, extents: parts[0].then(own, extents))


WINDOWED: Mapping[str, StepReader] = MappingProxyType(
    {
        "AveragePool": _average_pool,
        "Conv": _conv,
        "ConvTranspose": _conv_transpose,
        "DepthToSpace": _depth_to_space,
        "Pad": _pad,
        "SpaceToDepth": _space_to_depth,
    }
)
