"""L1 and L2 normalization: y = x / (sum of |x|**p) ** (1/p) along one axis.

Becomes `LpNormalization`. Where a vector is all zero the written-out form is 0/0, which is no number, and the operator
gives 0 (so its definition from opset 22 on, and onnxruntime at every opset). A length that is held above a bound, as
`torch.nn.functional.normalize` does, is another formula: the operator knows no bound.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnorm.recognize.families.parts import Answer, Found, Named, Near, Proposal

__all__ = ["lp_norm"]

_KIND = "LpNormalization"


def lp_norm(found: Found) -> Answer:
    quotient, statistic = found.quotient, found.statistic
    if quotient is None or statistic is None or statistic.centred is not None or quotient.others:
        return None
    p = 1 if statistic.magnitudes else 2
    if quotient.mean_axes is not None or not math.isclose(statistic.exponent, 1 / p, rel_tol=1e-7):
        return None
    count = 1.0
    if not statistic.total:
        extents = [found.extent(axis) for axis in statistic.axes]
        if None in extents:
            return None
        count = float(math.prod(extent for extent in extents if extent is not None)) ** (1 / p)
    # x / length = x / (mean ** (1/p) * count ** (1/p)); under a bound the count stays where it is.
    scale = quotient.scale * (1 if statistic.least is not None else count)
    if np.any(quotient.shift) or not np.allclose(scale, 1, rtol=1e-7, atol=0):
        return None
    axes = sorted(statistic.axes)
    if len(axes) != 1:
        return Named(_KIND, f"it is over axes {axes}, and {_KIND} is over one")
    if statistic.least is not None:
        bound = statistic.least * count
        return Near(_KIND, f"its length is held above {bound:g}, which the operator does not do")
    if statistic.epsilon:
        return Near(_KIND, f"an epsilon of {statistic.epsilon * count:.6g} is added to its length")
    if found.casts:
        return None
    return Proposal(_KIND, _KIND, 1, {}, {"axis": axes[0], "p": p})
