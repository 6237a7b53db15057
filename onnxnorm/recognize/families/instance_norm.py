"""InstanceNorm: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, over the positions of each channel.

Becomes `InstanceNormalization`, which every opset has. The operator has no type of its own for the statistics: what is
computed in float32 between casts stays between them. Source: ONNX InstanceNormalization-6.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.recognize.coefficients import axes_of
from onnxnorm.recognize.families.answers import Answer, Found, Named, Proposal, along_axis
from onnxnorm.recognize.families.layer_norm import centred_mistake

__all__ = ["instance_norm"]

_KIND = "InstanceNormalization"


def instance_norm(found: Found) -> Answer:
    """Recognize an instance normalization."""
    quotient, statistic = found.quotient, found.statistic
    if quotient is None or statistic is None or statistic.centred is None or statistic.outside:
        return None
    if centred_mistake(found) is not None or found.casts:
        return None
    varying = axes_of(quotient.scale) | axes_of(quotient.shift)
    batch = frozenset({0, *range(2, found.rank)})
    if statistic.axes == batch and found.rank > 2 and varying <= {1}:
        return Named(
            "BatchNormalization (statistics of the batch)",
            "it normalizes each batch by its own statistics, which no operator does at inference",
        )
    if statistic.axes != frozenset(range(2, found.rank)) or not varying <= {1}:
        return None
    if found.rank == 3 and not varying:
        # Over a lone last axis without weights nothing tells it from LayerNorm, which it most often is.
        return None
    if found.dtype is ir.DataType.DOUBLE and not _may_be_group_norm(found):
        # Of three axes it is a LayerNormalization with weights for each channel.
        return (
            None
            if found.rank == 3
            else Named(_KIND, "onnxruntime runs the operator in single and half precision alone")
        )
    channels = found.extent(1)
    if channels is None:
        return Named(_KIND, "the number of channels is not known, and with it the extent of its scale")
    constants = {
        role: found.in_type(along_axis(values, 1, channels))
        for role, values in (("scale", quotient.scale), ("bias", quotient.shift))
    }
    return Proposal(_KIND, _KIND, 6, constants, {"epsilon": statistic.epsilon})


def _may_be_group_norm(found: Found) -> bool:
    """Whether the tensor comes from a Reshape: groups of channels as channels are raised in one more step."""
    maker = found.reading.x.producer()
    return maker is not None and maker.op_type == "Reshape"
