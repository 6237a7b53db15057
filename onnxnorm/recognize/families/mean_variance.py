"""MeanVarianceNormalization: y = (x - mean) / (sqrt(variance) + 1e-9), over any axes.

The operator's definition adds 1e-9 to the deviation; with another epsilon there no operator of ONNX computes it, and
the record says so. Source: ONNX MeanVarianceNormalization-13, whose function body has the epsilon.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from onnxnorm.recognize.families.answers import Answer, Found, Named, Near, Proposal
from onnxnorm.recognize.families.layer_norm import centred_mistake

__all__ = ["mean_variance_norm"]

_KIND = "MeanVarianceNormalization"
_EPSILON = 1e-9


def mean_variance_norm(found: Found) -> Answer:
    """Recognize a mean-variance normalization."""
    quotient, statistic = found.quotient, found.statistic
    if quotient is None or statistic is None or statistic.centred is None:
        return None
    if centred_mistake(found) is not None:
        return None
    if not statistic.outside:
        # Reached where neither LayerNormalization nor InstanceNormalization is over these axes.
        axes = sorted(statistic.axes)
        if _over_groups_behind(found):
            return Named("GroupNormalization", "its channels are last, and the operator has them on axis 1")
        return Named("LayerNormalization", f"it is over axes {axes}, for which ONNX has no operator with an epsilon")
    if not math.isclose(statistic.epsilon, _EPSILON, rel_tol=1e-6):
        # The scale takes part of the epsilon where the variance is that of a sample, divided by n - 1.
        return Near(
            "LayerNormalization",
            f"its epsilon of {statistic.epsilon:g} is added to the deviation, not under the root",
        )
    if found.casts or np.any(quotient.shift) or not np.all(quotient.scale == 1):
        return None
    if found.dtype is not ir.DataType.FLOAT:
        return Named(_KIND, "ONNX defines the operator in float32 alone")
    return Proposal(_KIND, _KIND, 9, {}, {"axes": tuple(sorted(statistic.axes))})


def _over_groups_behind(found: Found) -> bool:
    """Whether X is a Reshape (N, ..., G, C / G) of what has its channels last, normalized over all but N and G."""
    statistic, producer = found.statistic, found.reading.x.producer()
    if statistic is None or producer is None or producer.op_type != "Reshape" or producer.inputs[0] is None:
        return False
    shape = found.reading.facts.shape(producer.inputs[0])
    groups, own = found.extent(found.rank - 2), found.extent(found.rank - 1)
    if shape is None or len(shape) != found.rank - 1 or groups is None or own is None:
        return False
    return statistic.axes == frozenset(range(1, found.rank)) - {found.rank - 2} and shape[-1] == groups * own
