"""Writes the bodies of the normalizations over one axis, and of the affine along one."""

from __future__ import annotations

from onnxnorm.ops.statistics_bodies import DIVIDED_BY_DEVIATION, WEIGHT_VECTORS, centred, weights_of_channels

__all__ = ["channel_norm_formula"]


def channel_norm_formula(op_type: str, *, opset: int, is_float: bool) -> str:
    """Write the formula from Value to Weighted: in float by the one node that ONNX may have for it."""
    if is_float and opset >= _SINCE.get(op_type, opset + 1):
        return _AXIS + _channels_last(op_type)
    if is_float and op_type == "ChannelAffine":
        return _AXIS + _AXIS_WEIGHTS + _BY_BATCH_NORM
    result = "Add(Affine, Value)" if op_type == "GlobalResponseNorm" else "Identity(Affine)"
    return _AXIS + _AXIS_WEIGHTS + _FORMULAS[op_type] + _CHANNEL_WEIGHTS + f"Weighted = {result}"


def _channels_last(op_type: str) -> str:
    """Return the one node that normalizes the last axis, between two Transposes.

    Those of an image are the ones that onnxruntime joins with the reorders of its convolutions.
    """
    image, other = (_LAST_NORMS[op_type].format(x=f"{name}Last", result=f"{name}Normal") for name in ("Image", "Flat"))
    return f"""
            ScaleAll = Reshape(ScaleLike, All)
            BiasAll = Reshape(BiasLike, All)
            ScaleVector = Expand(ScaleAll, Extent)
            BiasVector = Expand(BiasAll, Extent)
            Four = Constant <value_ints = [4]> ()
            HasFour = Equal(Rank, Four)
            IsSecond = Equal(Axis, One)
            IsImageVector = And(HasFour, IsSecond)
            IsImage = Squeeze(IsImageVector)
            Weighted = If (IsImage) <
                then_branch = ofImages () => (Image) {{
                    ImageLast = Transpose <perm = [0, 2, 3, 1]> (Value)
                    {image}
                    Image = Transpose <perm = [0, 3, 1, 2]> (ImageNormal)
                }},
                else_branch = ofOthers () => (Other) {{
                    Front = Slice(XShape, Zero, Axis)
                    Behind = Slice(XShape, Next, Far)
                    OneAndFront = Concat <axis = 0> (One, Front)
                    OneAndBehind = Concat <axis = 0> (One, Behind)
                    FrontSize = ReduceProd <keepdims = 1> (OneAndFront)
                    BehindSize = ReduceProd <keepdims = 1> (OneAndBehind)
                    FlatShape = Concat <axis = 0> (FrontSize, Extent, BehindSize)
                    Flat = Reshape <allowzero = 1> (Value, FlatShape)
                    FlatLast = Transpose <perm = [0, 2, 1]> (Flat)
                    {other}
                    FlatBack = Transpose <perm = [0, 2, 1]> (FlatNormal)
                    Other = Reshape <allowzero = 1> (FlatBack, XShape)
                }}
            >"""


_AXIS = """
            AxisGiven = Constant <value_int: int = @axis> ()
            Rank = Shape(XShape)
            AxisAndRank = Add(AxisGiven, Rank)
            Axis = Mod(AxisAndRank, Rank)
            Next = Add(Axis, One)
            Extent = Slice(XShape, Axis, Next)"""

_AXIS_WEIGHTS = """
            Count = CastLike(Extent, Value)
            Behind = Slice(XShape, Next, Far)
            BehindRank = Shape(Behind)
            BehindOnes = ConstantOfShape <value = int64[1] {1}> (BehindRank)
            WeightShape = Concat <axis = 0> (All, BehindOnes)
            Scale = Reshape(ScaleLike, WeightShape)
            Bias = Reshape(BiasLike, WeightShape)"""

_CHANNEL_WEIGHTS = """
            Scaled = Mul(Normal, Scale)
            Affine = Add(Scaled, Bias)
            """

_SINCE = {"ChannelLayerNorm": 17, "ChannelRMSNorm": 23}

_LAST_NORMS = {
    "ChannelLayerNorm": "{result} = LayerNormalization <axis = -1, epsilon: float = @epsilon> "
    "({x}, ScaleVector, BiasVector)",
    "ChannelRMSNorm": "{result}Normal = RMSNormalization <axis = -1, epsilon: float = @epsilon> ({x}, ScaleVector)"
    " {result} = Add({result}Normal, BiasVector)",
}

_BY_BATCH_NORM = (
    WEIGHT_VECTORS
    + weights_of_channels("AreWhole")
    + """
            IsSecondVector = Equal(Axis, One)
            IsSecond = Squeeze(IsSecondVector)
            ByBatchNorm = And(AreWhole, IsSecond)
            ChannelOnes = ConstantOfShape <value = float[1] {1.0}> (Channels)
            ChannelZeros = ConstantOfShape <value = float[1] {0.0}> (Channels)
            Weighted = If (ByBatchNorm) <
                then_branch = byBatchNorm () => (OfChannels) {
                    OfChannels = BatchNormalization <epsilon = 0.0>
                        (Value, ScaleVector, BiasVector, ChannelZeros, ChannelOnes)
                },
                else_branch = byMulAndAdd () => (Shifted) {
                    Scaled = Mul(Value, Scale)
                    Shifted = Add(Scaled, Bias)
                }
            >"""
)

_FORMULAS = {
    "ChannelLayerNorm": centred("Value", "Axis") + DIVIDED_BY_DEVIATION,
    "ChannelRMSNorm": """
            Squares = Mul(Value, Value)
            SquareTotal = ReduceSum(Squares, Axis)
            MeanSquare = Div(SquareTotal, Count)
            MeanAndEpsilon = Add(MeanSquare, Epsilon)
            Root = Sqrt(MeanAndEpsilon)
            Normal = Div(Value, Root)""",
    # A vector of zeros becomes one of zeros.
    "ChannelLpNorm": """
            Power = Constant <value_int: int = @p> ()
            First = Constant <value_int = 1> ()
            IsFirst = Equal(Power, First)
            Size = If (IsFirst) <
                then_branch = byMagnitude () => (Length) {
                    Magnitudes = Abs(Value)
                    Length = ReduceSum(Magnitudes, Axis)
                },
                else_branch = bySquare () => (Root) {
                    Squares = Mul(Value, Value)
                    SquareTotal = ReduceSum(Squares, Axis)
                    Root = Sqrt(SquareTotal)
                }
            >
            Bounded = Max(Size, Epsilon)
            NothingFloat = Constant <value_float = 0.0> ()
            Nothing = CastLike(NothingFloat, Value)
            IsNothing = Equal(Bounded, Nothing)
            UnitFloat = Constant <value_float = 1.0> ()
            Unit = CastLike(UnitFloat, Value)
            Divisor = Where(IsNothing, Unit, Bounded)
            Normal = Div(Value, Divisor)""",
    "GlobalResponseNorm": """
            Two = Constant <value_ints = [2]> ()
            IsSecond = Equal(Axis, One)
            RankLess = Sub(Rank, One)
            StartVector = Where(IsSecond, Two, One)
            EndVector = Where(IsSecond, Rank, RankLess)
            Start = Squeeze(StartVector)
            End = Squeeze(EndVector)
            Step = Constant <value_int = 1> ()
            Places = Range(Start, End, Step)
            Squares = Mul(Value, Value)
            SquareTotal = ReduceSum <noop_with_empty_axes = 1> (Squares, Places)
            Length = Sqrt(SquareTotal)
            LengthTotal = ReduceSum(Length, Axis)
            MeanLength = Div(LengthTotal, Count)
            MeanAndEpsilon = Add(MeanLength, Epsilon)
            Response = Div(Length, MeanAndEpsilon)
            Normal = Mul(Value, Response)""",
    "ChannelAffine": """
            Normal = Identity(Value)""",
}
