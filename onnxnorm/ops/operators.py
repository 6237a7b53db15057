"""Names the custom operators, their inputs and attributes, and what an attribute may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx import AttributeProto

from onnxnorm.model.domains import CUSTOM_DOMAIN

__all__ = ["ACTIVATIONS", "DOMAIN", "NORMS", "OPERATORS", "VERSION", "Operator"]

DOMAIN = CUSTOM_DOMAIN
VERSION = 1

ACTIVATIONS = ("", "Relu", "Silu", "Gelu", "GeluTanh", "LeakyRelu", "Clip", "HardSwish")
"""The activations that a normalization can end in, by the number that the attribute `activation` gives them.

`alpha` is the slope of LeakyRelu and the lower bound of Clip, `beta` the upper bound of Clip.
"""


@dataclass(frozen=True)
class Operator:
    """One custom operator.

    Attributes:
        inputs: how many it takes.
        required: attributes without a default, with their types.
        defaults: the others, with their defaults.
    """

    inputs: int
    required: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, int | float] = field(default_factory=dict)

    def kind(self, name: str) -> int:
        """Return the type that the attribute must have."""
        if name in self.required:
            return self.required[name]
        return int(AttributeProto.INT if isinstance(self.defaults[name], int) else AttributeProto.FLOAT)


_LRN: Mapping[str, int | float] = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
_BEND: Mapping[str, int | float] = {"activation": 0, "alpha": 0.0, "beta": 0.0}

NORMS: Mapping[str, Operator] = {
    "GroupNorm": Operator(4, {"num_groups": AttributeProto.INT}, {"epsilon": 1e-5, **_BEND}),
    "ChannelLayerNorm": Operator(4, {}, {"axis": 1, "epsilon": 1e-5, **_BEND}),
    "ChannelRMSNorm": Operator(4, {}, {"axis": 1, "epsilon": 1e-5, **_BEND}),
    "ChannelLpNorm": Operator(4, {}, {"axis": 1, "p": 2, "epsilon": 0.0, **_BEND}),
    "MeanVarianceNorm": Operator(4, {"axes": AttributeProto.INTS}, {"epsilon": 1e-9, **_BEND}),
    "GlobalResponseNorm": Operator(4, {}, {"axis": 1, "epsilon": 1e-6, **_BEND}),
    "ChannelAffine": Operator(4, {}, {"axis": 1, **_BEND}),
}
"""Operators of four inputs: X, scale, bias, residual. The last three may have one element, for all of X."""

OPERATORS: Mapping[str, Operator] = {
    "IntraChannelLRN": Operator(1, {"kernel_shape": AttributeProto.INTS}, _LRN),
    "InterChannelLRN": Operator(1, {"size": AttributeProto.INT}, _LRN),
    **NORMS,
}
"""All operators of the domain, by name."""
