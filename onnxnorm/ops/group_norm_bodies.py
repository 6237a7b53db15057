"""Writes the body of GroupNorm: the groups as rows, and weights for all, for each group or for each channel."""

from __future__ import annotations

from onnxnorm.ops.statistics_bodies import DIVIDED_BY_DEVIATION, WEIGHT_VECTORS, centred, weights_of_channels

__all__ = ["group_norm_formula"]


def group_norm_formula(*, is_float: bool) -> str:
    """Write the formula from Value to Weighted: by InstanceNormalization in float, else by means."""
    return _GROUP + (_BY_INSTANCE_NORM if is_float else _BY_MEANS + _GROUP_WEIGHTS)


_GROUP = """
            Groups = Constant <value_int: int = @num_groups> ()
            GroupCount = Reshape(Groups, One)
            Batch = Slice(XShape, Zero, One)
            Item = Slice(XShape, One, Far)
            Elements = ReduceProd <keepdims = 1> (Item)
            GroupSize = Div(Elements, GroupCount)
            GroupShape = Concat <axis = 0> (Batch, GroupCount, GroupSize)
            Grouped = Reshape <allowzero = 1> (Value, GroupShape)"""

# One weight for all, for each group or for each channel: as many rows of each item as there are weights.
_GROUP_WEIGHTS = """
            ScaleCount = Size(scale)
            BiasCount = Size(bias)
            ScaleRows = Reshape(ScaleCount, One)
            BiasRows = Reshape(BiasCount, One)
            ScaleRow = Div(Elements, ScaleRows)
            BiasRow = Div(Elements, BiasRows)
            ScaleShape = Concat <axis = 0> (Batch, ScaleRows, ScaleRow)
            BiasShape = Concat <axis = 0> (Batch, BiasRows, BiasRow)
            ColumnShape = Constant <value_ints = [-1, 1]> ()
            ScaleColumn = Reshape(ScaleLike, ColumnShape)
            BiasColumn = Reshape(BiasLike, ColumnShape)
            ByScale = Reshape <allowzero = 1> (Normal, ScaleShape)
            Scaled = Mul(ByScale, ScaleColumn)
            ByBias = Reshape <allowzero = 1> (Scaled, BiasShape)
            Shifted = Add(ByBias, BiasColumn)
            Weighted = Reshape <allowzero = 1> (Shifted, XShape)"""

# In a branch: onnxruntime warns of values that it would leave out and a branch reads.
_MIXED_WEIGHTS = _GROUP_WEIGHTS
for _name, _own in (
    ("Weighted", "WeightedOfMixed"),
    ("ScaleLike", "ScaleVector"),
    ("BiasLike", "BiasVector"),
    ("(Batch", "(BatchOfMixed"),
):
    _MIXED_WEIGHTS = _MIXED_WEIGHTS.replace(_name, _own)

# Weights for each group are InstanceNormalization's own; those for each channel BatchNormalization applies in one pass,
# where a Mul and an Add take two.
_BY_INSTANCE_NORM = (
    WEIGHT_VECTORS
    + """
            GroupScale = Equal(ScaleSize, Groups)
            GroupBias = Equal(BiasSize, Groups)
            ByGroup = And(GroupScale, GroupBias)"""
    + weights_of_channels("ByChannel")
    + """
            Ones = ConstantOfShape <value = float[1] {1.0}> (GroupCount)
            Zeros = ConstantOfShape <value = float[1] {0.0}> (GroupCount)
            ChannelOnes = ConstantOfShape <value = float[1] {1.0}> (Channels)
            ChannelZeros = ConstantOfShape <value = float[1] {0.0}> (Channels)
            Weighted = If (ByGroup) <
                then_branch = weightsOfGroups () => (WholeOfGroups) {
                    OfGroups = InstanceNormalization <epsilon: float = @epsilon> (Grouped, ScaleVector, BiasVector)
                    WholeOfGroups = Reshape <allowzero = 1> (OfGroups, XShape)
                },
                else_branch = otherWeights () => (WholeOfOthers) {
                    Normal = InstanceNormalization <epsilon: float = @epsilon> (Grouped, Ones, Zeros)
                    WholeOfOthers = If (ByChannel) <
                        then_branch = weightsOfChannels () => (OfChannels) {
                            Back = Reshape <allowzero = 1> (Normal, XShape)
                            OfChannels = BatchNormalization <epsilon = 0.0>
                                (Back, ScaleVector, BiasVector, ChannelZeros, ChannelOnes)
                        },
                        else_branch = mixedWeights () => (WeightedOfMixed) {
                            BatchOfMixed = Slice(XShape, Zero, One)
"""
    + _MIXED_WEIGHTS
    + """
                        }
                    >
                }
            >"""
)

_BY_MEANS = (
    """
            LastAxis = Constant <value_ints = [2]> ()
            Count = CastLike(GroupSize, Value)"""
    + centred("Grouped", "LastAxis")
    + DIVIDED_BY_DEVIATION
)
