"""LayerNorm: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, over the last axes.

Becomes `LayerNormalization` (opset 17). Over one other axis, as in the LayerNorm of convolutional networks (timm's
LayerNorm2d, over the channels of N, C, H, W), it stands between two Transposes. Source: ONNX LayerNormalization-17.
"""

from __future__ import annotations

import math

import numpy as np

from onnxnorm.recognize.coefficients import Array, axes_of
from onnxnorm.recognize.families.answers import Answer, Found, Named, Near, Proposal
from onnxnorm.recognize.families.quotient import Quotient
from onnxnorm.recognize.monomials import SQUARE, Base, Mean

__all__ = ["layer_norm", "normalized_last", "trailing"]

_KIND = "LayerNormalization"
_SINCE = 17


def layer_norm(found: Found) -> Answer:
    """Recognize a layer normalization."""
    quotient, statistic = found.quotient, found.statistic
    if quotient is not None and statistic is None:
        return _misplaced(quotient)
    if quotient is None or statistic is None or statistic.centred is None:
        return None
    axes = statistic.axes
    wrong = centred_mistake(found)
    if wrong is not None:
        return Near(_KIND, wrong)
    if statistic.outside:
        # That of MeanVarianceNormalization, which says so itself.
        return None
    varying = axes_of(quotient.scale) | axes_of(quotient.shift)
    spatial = frozenset(range(2, found.rank))
    # With casts around it the statistics are those of float32, which this node takes of a half tensor too.
    is_plain = not varying and (found.rank == 3 or found.casts)
    if axes == spatial and found.extent(1) is not None and varying <= {1} and not is_plain:
        # InstanceNormalization; over a lone last axis without weights nothing tells the two apart.
        return None
    if not varying <= axes:
        return None
    return normalized_last(found, _KIND, _SINCE, quotient.scale, quotient.shift)


def _misplaced(quotient: Quotient) -> Answer:
    """Answer where a mean is subtracted, and the divisor is not the variance about that mean, but made of squares."""
    atom, _ = quotient.root
    if quotient.mean_axes is None or not isinstance(atom, Base):
        return None
    spreads = [
        inner.axes
        for monomial in atom.poly.terms
        for inner, power in monomial
        if isinstance(inner, Mean) and power == 1 and inner.of == SQUARE
    ]
    if not spreads:
        return None
    if spreads[0] != quotient.mean_axes:
        shown = sorted(quotient.mean_axes), sorted(spreads[0])
        return Near(_KIND, f"the mean is over axes {shown[0]} and the variance over axes {shown[1]}")
    return Near(_KIND, "what stands under the root is not the variance")


def centred_mistake(found: Found) -> str | None:
    """Give the reason why a quotient with a variance is not (x - mean) / sqrt(variance + epsilon); None where it is."""
    quotient, statistic = found.quotient, found.statistic
    assert quotient is not None and statistic is not None
    if quotient.mean_axes is None:
        return "the mean is not subtracted before it is divided"
    if quotient.mean_axes != statistic.axes or statistic.centred != statistic.axes:
        shown = [sorted(axes) for axes in (quotient.mean_axes, statistic.centred or (), statistic.axes)]
        return f"the mean is over axes {shown[0]} (under the root {shown[1]}) and the variance over axes {shown[2]}"
    if not quotient.whole:
        return "the mean that is subtracted is scaled in another way than the tensor"
    if quotient.others:
        return "something is added that depends on the input"
    if not math.isclose(statistic.exponent, 0.5, rel_tol=1e-7):
        return f"the variance stands under the power {-statistic.exponent:g} in place of -0.5"
    if statistic.least is not None:
        return f"its deviation is held above {statistic.least:g}"
    if statistic.epsilon < 0:
        return f"its epsilon is {statistic.epsilon:g}"
    return None


def trailing(axes: frozenset[int], rank: int) -> bool:
    """Whether the axes are the last ones of that rank."""
    return axes == frozenset(range(rank - len(axes), rank))


def normalized_last(found: Found, kind: str, since: int, scale: Array, shift: Array | None) -> Answer:
    """Propose the node that normalizes over the last axes, between Transposes where it is one other axis."""
    statistic = found.statistic
    assert statistic is not None
    axes = sorted(statistic.axes)
    extents = [found.extent(axis) for axis in axes]
    if None in extents:
        return Named(
            kind, f"the extent of axis {axes[extents.index(None)]} is not known, and with it that of its scale"
        )
    order: tuple[int, ...] | None = None
    if not trailing(statistic.axes, found.rank):
        if len(axes) > 1 or 0 in axes:
            return Named(kind, f"it is over axes {axes}, and {kind} is over the last ones")
        order = tuple(axis for axis in range(found.rank) if axis not in axes) + tuple(axes)
    shape = [extent for extent in extents if extent is not None]

    def of_last(values: Array) -> Array:
        return np.broadcast_to(values.reshape(values.shape[axes[0] : axes[-1] + 1]), shape).copy()

    constants = {"scale": found.in_type(of_last(scale))}
    if shift is not None and np.any(shift):
        constants["bias"] = found.in_type(of_last(shift))
    attributes = {"axis": -len(axes), "epsilon": statistic.epsilon, "stash_type": found.stash_type}
    return Proposal(kind, kind, since, constants, attributes, order=order)
