"""Writes the end of the portable bodies: an activation by its number."""

from __future__ import annotations

import re

__all__ = ["activation"]


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


def activation() -> str:
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
