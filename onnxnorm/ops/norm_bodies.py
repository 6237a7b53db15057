"""Writes the portable bodies of the normalizations other than LRN: X, scale, bias and residual to Y."""

from __future__ import annotations

import re

import onnx
from onnx import FunctionProto

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
        formula = _GROUP + (_BY_INSTANCE_NORM if is_float else _BY_MEANS) + _GROUP_WEIGHTS
    elif op_type == "MeanVarianceNorm":
        formula = _MEAN_VARIANCE
    else:
        formula = _AXIS + _FORMULAS[op_type] + _CHANNEL_WEIGHTS
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
            {_activation()}
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

_BY_INSTANCE_NORM = """
            Ones = ConstantOfShape <value = float[1] {1.0}> (GroupCount)
            Zeros = ConstantOfShape <value = float[1] {0.0}> (GroupCount)
            Normal = InstanceNormalization <epsilon: float = @epsilon> (Grouped, Ones, Zeros)"""

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
            Normal = Div(Centred, Deviation)
            Scaled = Mul(Normal, ScaleLike)
            Weighted = Add(Scaled, BiasLike)"""
)

_AXIS = """
            AxisGiven = Constant <value_int: int = @axis> ()
            Rank = Shape(XShape)
            AxisAndRank = Add(AxisGiven, Rank)
            Axis = Mod(AxisAndRank, Rank)
            Next = Add(Axis, One)
            Extent = Slice(XShape, Axis, Next)
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


def _half_of_one_more_than(value: str) -> str:
    """Return the steps in which both forms of GELU end: Sum / 2 * (1 + value)."""
    return f"""
                    Unit = Constant <value_float = 1.0> ()
                    UnitLike = CastLike(Unit, Sum)
                    Whole = Add({value}, UnitLike)
                    Half = Constant <value_float = 0.5> ()
                    HalfLike = CastLike(Half, Sum)
                    Part = Mul(Sum, HalfLike)
                    Bent = Mul(Part, Whole)"""


# By number: what is computed of Sum.
_BENDS = {
    1: "Bent = Relu(Sum)",
    2: "Sigmoid = Sigmoid(Sum) Bent = Mul(Sum, Sigmoid)",
    3: """
                    RootOfHalf = Constant <value_float = 0.70710678118654752> ()
                    RootOfHalfLike = CastLike(RootOfHalf, Sum)
                    Inner = Mul(Sum, RootOfHalfLike)
                    Erf = Erf(Inner)"""
    + _half_of_one_more_than("Erf"),
    4: """
                    Cubic = Constant <value_float = 0.044715> ()
                    CubicLike = CastLike(Cubic, Sum)
                    Square = Mul(Sum, Sum)
                    Cube = Mul(Square, Sum)
                    CubePart = Mul(Cube, CubicLike)
                    Argument = Add(Sum, CubePart)
                    Factor = Constant <value_float = 0.79788456080286536> ()
                    FactorLike = CastLike(Factor, Sum)
                    Inner = Mul(Argument, FactorLike)
                    Tanh = Tanh(Inner)"""
    + _half_of_one_more_than("Tanh"),
    5: """
                    Slope = Constant <value_float: float = @alpha> ()
                    SlopeLike = CastLike(Slope, Sum)
                    NoneFloat = Constant <value_float = 0.0> ()
                    NoneLike = CastLike(NoneFloat, Sum)
                    IsNegative = Less(Sum, NoneLike)
                    Sloped = Mul(Sum, SlopeLike)
                    Bent = Where(IsNegative, Sloped, Sum)""",
    6: """
                    Low = Constant <value_float: float = @alpha> ()
                    LowLike = CastLike(Low, Sum)
                    High = Constant <value_float: float = @beta> ()
                    HighLike = CastLike(High, Sum)
                    Bent = Clip(Sum, LowLike, HighLike)""",
    7: """
                    Sixth = Constant <value_float = 0.16666667> ()
                    SixthLike = CastLike(Sixth, Sum)
                    Half = Constant <value_float = 0.5> ()
                    HalfLike = CastLike(Half, Sum)
                    Sloped = Mul(Sum, SixthLike)
                    Ramp = Add(Sloped, HalfLike)
                    NoneFloat = Constant <value_float = 0.0> ()
                    NoneLike = CastLike(NoneFloat, Sum)
                    Unit = Constant <value_float = 1.0> ()
                    UnitLike = CastLike(Unit, Sum)
                    Gate = Clip(Ramp, NoneLike, UnitLike)
                    Bent = Mul(Sum, Gate)""",
}


def _activation() -> str:
    """Write the activation by number: nested conditions, whose constants runtimes fold, keeping one branch alone."""
    result, text = "Straight", "Straight = Identity(Sum)"
    for number, bend in _BENDS.items():
        # Runtimes put branches in line, where a name may be given once.
        for name in set(re.findall(r"(\w+) = (?!@)[A-Z]\w*[ (]", bend)):
            bend = re.sub(rf"(?<![@\w]){name}(?! *[(<]|\w)", f"{name}{number}", bend)
        text = f"""
            Number{number} = Constant <value_int = {number}> ()
            Is{number} = Equal(Activation, Number{number})
            After{number} = If (Is{number}) <
                then_branch = bend{number} () => (Bent{number}) {{ {bend} }},
                else_branch = other{number} () => ({result}) {{ {text} }}
            >"""
        result = f"After{number}"
    return f"""
            Activation = Constant <value_int: int = @activation> ()
            {text}
            Activated = Identity({result})"""
