"""Writes the portable bodies of the normalizations other than LRN: X, scale, bias and residual to Y."""

from __future__ import annotations

import onnx
from onnx import FunctionProto

from onnxnorm.ops.activation_bodies import activation
from onnxnorm.ops.operators import DOMAIN, NORMS, VERSION

__all__ = ["norm_body"]


def norm_body(op_type: str, *, opset: int, is_float: bool) -> FunctionProto:
    """Return an operator of `NORMS` as an ONNX function of standard operators.

    Args:
        op_type: the name of the operator.
        opset: the version of the standard operators, at least 15.
        is_float: compute in float, whatever the type of the input; else in the type of the input.
    """
    operator = NORMS[op_type]
    attributes = [*operator.required, *(f"{name}: {_typed(value)}" for name, value in operator.defaults.items())]
    if op_type == "GroupNorm":
        formula = _GROUP + (_BY_INSTANCE_NORM if is_float else _BY_MEANS + _GROUP_WEIGHTS)
    elif op_type == "MeanVarianceNorm":
        formula = _BY_MEAN_VARIANCE if is_float else _MEAN_VARIANCE.replace("{result}", "Normal")
        formula += _MEAN_VARIANCE_WEIGHTS
    elif is_float and opset >= _SINCE.get(op_type, opset + 1):
        formula = _AXIS + _channels_last(op_type)
    elif is_float and op_type == "ChannelAffine":
        formula = _AXIS + _AXIS_WEIGHTS + _BY_BATCH_NORM
    else:
        formula = _AXIS + _AXIS_WEIGHTS + _FORMULAS[op_type] + _CHANNEL_WEIGHTS
        formula += "Weighted = Add(Affine, Value)" if op_type == "GlobalResponseNorm" else "Weighted = Identity(Affine)"
    text = f"""
        <domain: "{DOMAIN}", opset_import: ["" : {opset}]>
        {op_type} <{", ".join(attributes)}> (X, scale, bias, residual) => (Y) {{
            {"Value = Cast <to = 1> (X)" if is_float else "Value = Identity(X)"}
            One = Constant <value_ints = [1]> ()
            Zero = Constant <value_ints = [0]> ()
            All = Constant <value_ints = [-1]> ()
            Far = Constant <value_ints = [2147483647]> ()
            XShape = Shape(X)
            ScaleLike = CastLike(scale, Value)
            BiasLike = CastLike(bias, Value)
            ResidualLike = CastLike(residual, Value)
            {"" if op_type == "ChannelAffine" else _EPSILON}
            {formula}
            Sum = Add(Weighted, ResidualLike)
            {activation()}
            Y = CastLike(Activated, X)
        }}"""
    function: FunctionProto = onnx.parser.parse_function(text)
    function.doc_string = f"{op_type} of domain {DOMAIN}, version {VERSION}, by standard operators."
    return function


def _typed(value: int | float) -> str:
    return f"int = {value}" if isinstance(value, int) else f"float = {value}"


_EPSILON = """
            EpsilonFloat = Constant <value_float: float = @epsilon> ()
            Epsilon = CastLike(EpsilonFloat, Value)"""

_GROUP = """
            Groups = Constant <value_int: int = @num_groups> ()
            GroupCount = Reshape(Groups, One)
            Batch = Slice(XShape, Zero, One)
            Item = Slice(XShape, One, Far)
            Elements = ReduceProd <keepdims = 1> (Item)
            GroupSize = Div(Elements, GroupCount)
            GroupShape = Concat <axis = 0> (Batch, GroupCount, GroupSize)
            Grouped = Reshape <allowzero = 1> (Value, GroupShape)"""

# Of one weight for all, for each group or for each channel: as many rows of each item as there are weights.
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
    """
            ScaleSize = Size(scale)
            BiasSize = Size(bias)
            Single = Constant <value_int = 1> ()
            ScaleVector = Reshape(ScaleLike, All)
            BiasVector = Reshape(BiasLike, All)
            GroupScale = Equal(ScaleSize, Groups)
            GroupBias = Equal(BiasSize, Groups)
            ByGroup = And(GroupScale, GroupBias)
            AreSeveral = Greater(ScaleSize, Single)
            AreAsMany = Equal(ScaleSize, BiasSize)
            ByChannel = And(AreSeveral, AreAsMany)
            Channels = Reshape(ScaleSize, One)
            Ones = ConstantOfShape <value = float[1] {1.0}> (GroupCount)
            Zeros = ConstantOfShape <value = float[1] {0.0}> (GroupCount)
            Weighted = If (ByGroup) <
                then_branch = weightsOfGroups () => (WholeOfGroups) {
                    OfGroups = InstanceNormalization <epsilon: float = @epsilon> (Grouped, ScaleVector, BiasVector)
                    WholeOfGroups = Reshape <allowzero = 1> (OfGroups, XShape)
                },
                else_branch = otherWeights () => (WholeOfOthers) {
                    Normal = InstanceNormalization <epsilon: float = @epsilon> (Grouped, Ones, Zeros)
                    WholeOfOthers = If (ByChannel) <
                        then_branch = weightsOfChannels () => (OfChannels) {
                            ChannelOnes = ConstantOfShape <value = float[1] {1.0}> (Channels)
                            ChannelZeros = ConstantOfShape <value = float[1] {0.0}> (Channels)
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

_CENTRED = """
            Total = ReduceSum({x}, {axes})
            Mean = Div(Total, Count)
            Centred = Sub({x}, Mean)
            Squares = Mul(Centred, Centred)
            SquareTotal = ReduceSum(Squares, {axes})
            Variance = Div(SquareTotal, Count)"""

_BY_MEANS = (
    """
            LastAxis = Constant <value_ints = [2]> ()
            Count = CastLike(GroupSize, Value)"""
    + _CENTRED.format(x="Grouped", axes="LastAxis")
    + """
            VarianceAndEpsilon = Add(Variance, Epsilon)
            Deviation = Sqrt(VarianceAndEpsilon)
            Normal = Div(Centred, Deviation)"""
)

_MEAN_VARIANCE_WEIGHTS = """
            Scaled = Mul(Normal, ScaleLike)
            Weighted = Add(Scaled, BiasLike)"""

_MEAN_VARIANCE = (
    """
            Axes = Constant <value_ints: ints = @axes> ()
            Extents = Gather(XShape, Axes)
            Extent = ReduceProd <keepdims = 0> (Extents)
            Count = CastLike(Extent, Value)"""
    + _CENTRED.format(x="Value", axes="Axes")
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


_BY_BATCH_NORM = """
            ScaleSize = Size(scale)
            BiasSize = Size(bias)
            Single = Constant <value_int = 1> ()
            ScaleVector = Reshape(ScaleLike, All)
            BiasVector = Reshape(BiasLike, All)
            AreSeveral = Greater(ScaleSize, Single)
            AreAsMany = Equal(ScaleSize, BiasSize)
            AreWhole = And(AreSeveral, AreAsMany)
            Channels = Reshape(ScaleSize, One)
            IsSecondVector = Equal(Axis, One)
            IsSecond = Squeeze(IsSecondVector)
            ByBatchNorm = And(AreWhole, IsSecond)
            Weighted = If (ByBatchNorm) <
                then_branch = byBatchNorm () => (OfChannels) {
                    ChannelOnes = ConstantOfShape <value = float[1] {1.0}> (Channels)
                    ChannelZeros = ConstantOfShape <value = float[1] {0.0}> (Channels)
                    OfChannels = BatchNormalization <epsilon = 0.0>
                        (Value, ScaleVector, BiasVector, ChannelZeros, ChannelOnes)
                },
                else_branch = byMulAndAdd () => (Shifted) {
                    Scaled = Mul(Value, Scale)
                    Shifted = Add(Scaled, Bias)
                }
            >"""

_FORMULAS = {
    "ChannelLayerNorm": _CENTRED.format(x="Value", axes="Axis")
    + """
            VarianceAndEpsilon = Add(Variance, Epsilon)
            Deviation = Sqrt(VarianceAndEpsilon)
            Normal = Div(Centred, Deviation)""",
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
