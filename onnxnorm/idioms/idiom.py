"""Describes an idiom: its kind and its nodes."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import onnx_ir as ir

__all__ = ["Idiom", "Kind"]


class Kind(enum.Enum):
    """The kinds of idioms by their names in the field."""

    GELU = "gelu"
    TANH_GELU = "tanh gelu"
    SWISH = "swish"
    HARD_SWISH = "hard swish"
    MISH = "mish"
    SOFTPLUS = "softplus"
    LAYER_NORM = "layer normalization"
    RMS_NORM = "RMS normalization"
    ATTENTION = "attention"
    ROTARY = "rotary embedding"
    DYNAMIC_QUANTIZATION = "dynamic quantization"
    QUANTIZED_ARITHMETIC = "quantized sum or product"
    BIAS = "bias"
    ELEMENTWISE = "loop of elementwise operators"


@dataclass(frozen=True, eq=False)
class Idiom:
    """An idiom at one place of the model.

    Attributes:
        kind: its name.
        nodes: what it is made of and must stay as it is.
        outer: nodes at its end or beginning whose constants may take other values.
        products: linear operators that belong to it, whose weights are free and which must stay apart.
    """

    kind: Kind
    nodes: frozenset[ir.Node]
    outer: frozenset[ir.Node] = frozenset()
    products: frozenset[ir.Node] = frozenset()
