"""Writes what bodies of several normalizations have in common: means and variances, and weights for each channel."""

from __future__ import annotations

__all__ = ["DIVIDED_BY_DEVIATION", "WEIGHT_VECTORS", "centred", "weights_of_channels"]


def centred(x: str, axes: str) -> str:
    """Write the mean of a value over axes, the value less its mean, and the variance."""
    return f"""
            Total = ReduceSum({x}, {axes})
            Mean = Div(Total, Count)
            Centred = Sub({x}, Mean)
            Squares = Mul(Centred, Centred)
            SquareTotal = ReduceSum(Squares, {axes})
            Variance = Div(SquareTotal, Count)"""


DIVIDED_BY_DEVIATION = """
            VarianceAndEpsilon = Add(Variance, Epsilon)
            Deviation = Sqrt(VarianceAndEpsilon)
            Normal = Div(Centred, Deviation)"""

WEIGHT_VECTORS = """
            ScaleSize = Size(scale)
            BiasSize = Size(bias)
            Single = Constant <value_int = 1> ()
            ScaleVector = Reshape(ScaleLike, All)
            BiasVector = Reshape(BiasLike, All)"""


def weights_of_channels(name: str) -> str:
    """Write the question, under this name, whether scale and bias have one element for each channel, and how many."""
    return f"""
            AreSeveral = Greater(ScaleSize, Single)
            AreAsMany = Equal(ScaleSize, BiasSize)
            {name} = And(AreSeveral, AreAsMany)
            Channels = Reshape(ScaleSize, One)"""
