"""Writes the body of MeanVarianceNorm, whose epsilon is added to the deviation."""

from __future__ import annotations

from onnxnorm.ops.statistics_bodies import centred

__all__ = ["mean_variance_formula"]


def mean_variance_formula(*, is_float: bool) -> str:
    """Write the formula from Value to Weighted: in float by ONNX's own operator where that has the epsilon."""
    return (_BY_MEAN_VARIANCE if is_float else _MEAN_VARIANCE.replace("{result}", "Normal")) + _MEAN_VARIANCE_WEIGHTS


_MEAN_VARIANCE_WEIGHTS = """
            Scaled = Mul(Normal, ScaleLike)
            Weighted = Add(Scaled, BiasLike)"""

_MEAN_VARIANCE = (
    """
            Axes = Constant <value_ints: ints = @axes> ()
            Extents = Gather(XShape, Axes)
            Extent = ReduceProd <keepdims = 0> (Extents)
            Count = CastLike(Extent, Value)"""
    + centred("Value", "Axes")
    + """
            Root = Sqrt(Variance)
            Deviation = Add(Root, Epsilon)
            {result} = Div(Centred, Deviation)"""
)

# ONNX's own operator has this epsilon.
_BY_MEAN_VARIANCE = (
    """
            Own = Constant <value_float = 1e-9> ()
            IsOwn = Equal(EpsilonFloat, Own)
            Chosen = If (IsOwn) <
                then_branch = byOwn () => (OwnNormal) {
                    OwnNormal = MeanVarianceNormalization <axes: ints = @axes> (Value)
                },
                else_branch = byMeans () => (OtherNormal) {
"""
    + _MEAN_VARIANCE.replace("{result}", "OtherNormal")
    + """
                }
            >
            Normal = Reshape <allowzero = 1> (Chosen, XShape)"""
)
