"""Writes the portable bodies of the normalizations other than LRN: X, scale, bias and residual to Y."""

from __future__ import annotations

import onnx
from onnx import FunctionProto

from onnxnorm.ops.activation_bodies import activation
from onnxnorm.ops.channel_norm_bodies import channel_norm_formula
from onnxnorm.ops.group_norm_bodies import group_norm_formula
from onnxnorm.ops.mean_variance_bodies import mean_variance_formula
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
        formula = group_norm_formula(is_float=is_float)
    elif op_type == "MeanVarianceNorm":
        formula = mean_variance_formula(is_float=is_float)
    else:
        formula = channel_norm_formula(op_type, opset=opset, is_float=is_float)
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
