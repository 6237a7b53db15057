"""L1 and L2 normalization: y = x / (sum of |x|**p) ** (1/p) along one axis.

Becomes `LpNormalization` where no vector can be all zero: of such a one the written-out form makes 0/0, which is no
number, and the operator 0 (by its definition, and in onnxruntime). A length that is held above a bound, as
`torch.nn.functional.normalize` and `tf.math.l2_normalize` do, is another formula too: the operator knows no bound.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnorm.graph.nodes import is_standard
from onnxnorm.recognize.families.answers import Answer, Found, Named, Near, Proposal

__all__ = ["lp_norm"]

_KIND = "LpNormalization"
# Its square does not vanish even in half precision.
_LEAST = 1e-3


def lp_norm(found: Found) -> Answer:
    """Recognize an L1 or L2 normalization."""
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
    # x / length = x / (mean ** (1/p) * count ** (1/p))
    scale = quotient.scale * statistic.factor * count
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
    if not _never_zero(found, axes[0]):
        return Near(_KIND, "of a vector of zeros it makes 0/0, which is no number, where the operator gives 0")
    return Proposal(_KIND, _KIND, 1, {}, {"axis": axes[0], "p": p})


def _never_zero(found: Found, axis: int) -> bool:
    """Whether, by what X comes from, no vector along the axis is all zero, or so small that its length is zero."""
    x, facts = found.reading.x, found.reading.facts
    node = x.producer()
    if node is None or not is_standard(node):
        return False
    if node.op_type == "Softmax":
        # Before opset 13 it runs over the axis and all that follow.
        attribute = node.attributes.get("axis")
        last = -1 if facts.opset(node) >= 13 else 1
        own = (last if attribute is None else attribute.as_int()) % found.rank
        return own == axis and (facts.opset(node) >= 13 or axis == found.rank - 1)
    if node.op_type == "Clip" and facts.opset(node) < 11:
        least = node.attributes.get("min")
        return least is not None and least.as_float() >= _LEAST
    if node.op_type in ("Clip", "Max"):
        bounds = node.inputs[1:2] if node.op_type == "Clip" else node.inputs
        constants = [facts.constant(bound) for bound in bounds if bound is not None]
        return any(
            array is not None and array.size > 0 and bool(np.all(np.asarray(array, np.float64) >= _LEAST))
            for array in constants
        )
    return False
