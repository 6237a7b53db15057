"""RMSNorm: y = x / sqrt(mean of x**2 + epsilon) * scale, over the last axes.

Becomes `RMSNormalization` (opset 23), over one other axis between two Transposes. A division by the length of the
vector with an epsilon under the root is the same with a scale. Source: ONNX RMSNormalization-23.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnorm.recognize.coefficients import axes_of
from onnxnorm.recognize.families.answers import Answer, Found, Near
from onnxnorm.recognize.families.layer_norm import normalized_last
from onnxnorm.recognize.families.lp_norm import lp_norm

__all__ = ["rms_norm"]

_KIND = "RMSNormalization"
_SINCE = 23


def rms_norm(found: Found) -> Answer:
    """Recognize an RMS normalization."""
    quotient, statistic = found.quotient, found.statistic
    if quotient is None or statistic is None or statistic.centred is not None or statistic.magnitudes:
        return None
    if statistic.total or not math.isclose(statistic.exponent, 0.5, rel_tol=1e-7):
        return None
    if quotient.mean_axes is not None:
        return Near(_KIND, "the mean is subtracted from the tensor, not from what is squared")
    if quotient.others:
        return Near(_KIND, "something is added that depends on the input")
    if np.any(quotient.shift):
        # The node has no bias: the value before the bias is found by itself.
        return None
    if statistic.outside:
        return Near(_KIND, f"its epsilon of {statistic.epsilon:g} is added to the root, not under it")
    if statistic.least is not None:
        return Near(_KIND, f"its root is held above {statistic.least:g}")
    if statistic.epsilon == 0 and lp_norm(found) is not None:
        # x over its length has a name of its own.
        return None
    if statistic.epsilon < 0 or not axes_of(quotient.scale) <= statistic.axes:
        return None
    return normalized_last(found, _KIND, _SINCE, quotient.scale, None)
