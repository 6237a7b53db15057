"""Writes the portable bodies: the custom operators as ONNX functions of standard operators."""

from __future__ import annotations

from enum import Enum

import onnx
from onnx import FunctionProto

from onnxnorm.errors import OnnxNormError
from onnxnorm.ops.norm_bodies import norm_body
from onnxnorm.ops.operators import DOMAIN, NORMS, VERSION
from onnxnorm.ops.schema import OP_TYPES

__all__ = ["OLDEST_OPSET", "Precision", "portable_body"]

OLDEST_OPSET = 15  # the first with CastLike
_OPSET_OF_WRONG_PADDING = 19


class Precision(Enum):
    """The type in which a body computes: half types need float's range for their squares, double its own digits."""

    FLOAT = "float"
    DOUBLE = "double"


def portable_body(op_type: str, *, opset: int = 18, precision: Precision = Precision.FLOAT) -> FunctionProto:
    """Return the operator as an ONNX function of standard operators.

    Args:
        op_type: one of `OP_TYPES`.
        opset: the version of the standard operators, at least 15; runtimes inline a body into the model's own version,
            so the two should be the same.
        precision: FLOAT is right for float, float16 and bfloat16 inputs and casts where it has to; DOUBLE computes in
            the input's own type.

    Raises:
        OnnxNormError: the operator is unknown or the opset too old.
    """
    if op_type not in OP_TYPES:
        raise OnnxNormError(f"domain {DOMAIN} has the operators {', '.join(OP_TYPES)}, not {op_type!r}")
    if opset < OLDEST_OPSET:
        raise OnnxNormError(
            f"the portable body of {op_type} needs opset {OLDEST_OPSET} or newer, the model has {opset}: "
            "convert it first (onnx.version_converter)"
        )
    if op_type in NORMS:
        return norm_body(op_type, opset=opset, is_float=precision is Precision.FLOAT)
    if op_type == "InterChannelLRN":
        window, mean = "size", _INTER_MEAN
    elif precision is Precision.FLOAT:
        window, mean = "kernel_shape", _INTRA_MEAN if opset < _OPSET_OF_WRONG_PADDING else _INTRA_MEAN_BY_PAD
    else:
        window, mean = "kernel_shape", _intra_mean_of_any_type()
    like = "Squared"  # the type of all arithmetic
    text = f"""
        <domain: "{DOMAIN}", opset_import: ["" : {opset}]>
        {op_type} <{window}, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0> (X) => (Y) {{
            {"Value = Cast <to = 1> (X)" if precision is Precision.FLOAT else "Value = Identity(X)"}
            Squared = Mul(Value, Value)
            {mean}
            AlphaFloat = Constant <value_float: float = @alpha> ()
            BetaFloat = Constant <value_float: float = @beta> ()
            BiasFloat = Constant <value_float: float = @bias> ()
            Alpha = CastLike(AlphaFloat, {like})
            Bias = CastLike(BiasFloat, {like})
            Scaled = Mul(Alpha, Mean)
            Base = Add(Bias, Scaled)
            {_power_of_base()}
            Quotient = Div(Value, Divisor)
            Y = CastLike(Quotient, X)
        }}"""
    function: FunctionProto = onnx.parser.parse_function(text)
    function.doc_string = f"{op_type} of domain {DOMAIN}, version {VERSION}, by standard operators."
    return function


def _power_of_base() -> str:
    """Write Base ** BetaFloat, by roots where they do and no base is negative: a power takes several times as long.

    onnxruntime and others see that the conditions are constants and keep one branch alone.
    """
    by_roots = {
        "ThreeQuarters": (0.75, "Root = Sqrt(Base) FourthRoot = Sqrt(Root) ThreeQuarters = Mul(Root, FourthRoot)"),
        "Half": (0.5, "Half = Sqrt(Base)"),
        "Whole": (1.0, "Whole = Identity(Base)"),
        "Quarter": (0.25, "SquareRoot = Sqrt(Base) Quarter = Sqrt(SquareRoot)"),
    }
    result, text = "Power", "Power = Pow(Base, BetaFloat)"
    for name, (beta, roots) in by_roots.items():
        text = f"""
            {name}Beta = Constant <value_float = {beta}> ()
            Is{name} = Equal(BetaFloat, {name}Beta)
            Has{name} = And(Is{name}, IsPositive)
            Not{name} = If (Has{name}) <
                then_branch = then{name} () => ({name}) {{ {roots} }},
                else_branch = else{name} () => ({result}) {{ {text} }}
            >"""
        result = f"Not{name}"
    return f"""
            Nothing = Constant <value_float = 0.0> ()
            IsPositive = GreaterOrEqual(AlphaFloat, Nothing)
            {text}
            Divisor = Identity({result})"""


# SAME_UPPER puts the odd position of an even window behind; counted padding makes the divisor the whole window.
_INTRA_MEAN = """
    Mean = AveragePool <kernel_shape: ints = @kernel_shape, auto_pad = "SAME_UPPER", count_include_pad = 1> (Squared)"""

# For the opsets at which some versions of onnxruntime count padding wrong (see onnxnorm.write_out.lrn). The Mul stands
# between Pad and pool, since they would fuse the two.
_INTRA_MEAN_BY_PAD = """
    Kernel = Constant <value_ints: ints = @kernel_shape> ()
    One = Constant <value_int = 1> ()
    Two = Constant <value_int = 2> ()
    Planes = Constant <value_ints = [0, 0]> ()
    KernelLess = Sub(Kernel, One)
    Back = Div(KernelLess, Two)
    Front = Div(Kernel, Two)
    Pads = Concat <axis = 0> (Planes, Back, Planes, Front)
    Padded = Pad(Value, Pads)
    PaddedSquares = Mul(Padded, Padded)
    Mean = AveragePool <kernel_shape: ints = @kernel_shape> (PaddedSquares)"""


def _window_sum(axis: int, size: str, source: str, result: str, prefix: str) -> str:
    """Write the sum over a window of `size` (int64, shape [1]) along an axis: positions outside read a slice of zeros.

    A sum of gathered slices, and not a product with a band matrix or a difference of running sums: an infinity or a NaN
    reaches the windows that hold it and no other.
    """
    p = prefix
    return f"""
        {p}One = Constant <value_ints = [1]> ()
        {p}Zero = Constant <value_int = 0> ()
        {p}Step = Constant <value_int = 1> ()
        {p}Two = Constant <value_ints = [2]> ()
        {p}First = Constant <value_ints = [0]> ()
        {p}Axis = Constant <value_ints = [{axis}]> ()
        {p}Next = Constant <value_ints = [{axis + 1}]> ()
        {p}Far = Constant <value_ints = [2147483647]> ()
        {p}Shape = Shape({source})
        {p}Outer = Slice({p}Shape, {p}First, {p}Axis)
        {p}Inner = Slice({p}Shape, {p}Next, {p}Far)
        {p}Length = Slice({p}Shape, {p}Axis, {p}Next)
        {p}LengthScalar = Squeeze({p}Length)
        {p}ZerosShape = Concat <axis = 0> ({p}Outer, {p}One, {p}Inner)
        {p}ZerosFloat = ConstantOfShape({p}ZerosShape)
        {p}Zeros = CastLike({p}ZerosFloat, {source})
        {p}Padded = Concat <axis = {axis}> ({source}, {p}Zeros)
        {p}Width = Squeeze({size})
        {p}WidthLess = Sub({size}, {p}One)
        {p}Back = Div({p}WidthLess, {p}Two)
        {p}Centres = Range({p}Zero, {p}LengthScalar, {p}Step)
        {p}CentresColumn = Unsqueeze({p}Centres, {p}One)
        {p}Offsets = Range({p}Zero, {p}Width, {p}Step)
        {p}Starts = Sub({p}CentresColumn, {p}Back)
        {p}Positions = Add({p}Starts, {p}Offsets)
        {p}NotBefore = GreaterOrEqual({p}Positions, {p}First)
        {p}NotAfter = Less({p}Positions, {p}Length)
        {p}Inside = And({p}NotBefore, {p}NotAfter)
        {p}Index = Where({p}Inside, {p}Positions, {p}Length)
        {p}Windows = Gather <axis = {axis}> ({p}Padded, {p}Index)
        {result} = ReduceSum <keepdims = 0> ({p}Windows, {p}Next)"""


_INTER_MEAN = (
    """
    SizeScalar = Constant <value_int: int = @size> ()
    SizeAxis = Constant <value_ints = [0]> ()
    Size = Unsqueeze(SizeScalar, SizeAxis)"""
    + _window_sum(1, "Size", "Squared", "Sum", "c")
    + """
    Count = CastLike(Size, Squared)
    Mean = Div(Sum, Count)"""
)


def _intra_mean_of_any_type() -> str:
    """Write the mean where the runtime has no AveragePool: over one axis after the other of (N, C, D1, D2, D3)."""
    sums = "".join(
        f"""
        at{i} = Constant <value_ints = [{i}]> ()
        after{i} = Constant <value_ints = [{i + 1}]> ()
        size{i} = Slice(Sizes, at{i}, after{i})"""
        + _window_sum(2 + i, f"size{i}", "Volume" if i == 0 else f"Sum{i - 1}", f"Sum{i}", f"d{i}")
        for i in range(3)
    )
    return f"""
        Kernel = Constant <value_ints: ints = @kernel_shape> ()
        Start = Constant <value_ints = [0]> ()
        Spatial = Constant <value_ints = [2]> ()
        End = Constant <value_ints = [2147483647]> ()
        Five = Constant <value_ints = [5]> ()
        Single = Constant <value_int = 1> ()
        XShape = Shape(X)
        Rank = Shape(XShape)
        Missing = Sub(Five, Rank)
        Ones = Expand(Single, Missing)
        Planes = Slice(XShape, Start, Spatial)
        Axes = Slice(XShape, Spatial, End)
        Sizes = Concat <axis = 0> (Ones, Kernel)
        VolumeShape = Concat <axis = 0> (Planes, Ones, Axes)
        Volume = Reshape <allowzero = 1> (Squared, VolumeShape)
        {sums}
        Count = ReduceProd <keepdims = 0> (Kernel)
        CountLike = CastLike(Count, Squared)
        MeanVolume = Div(Sum2, CountLike)
        Mean = Reshape <allowzero = 1> (MeanVolume, XShape)"""
