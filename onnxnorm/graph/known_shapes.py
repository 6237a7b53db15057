"""The shapes of a model's values: those written down, and those that constants and weights tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.constant_nodes import array_of_constant_node
from onnxnorm.graph.nodes import is_standard
from onnxnorm.numerics.arrays import MAX_ELEMENTS

__all__ = ["RANK_OF_INPUT", "Dim", "KnownShapes", "within_reach"]

Dim: TypeAlias = "int | str | None"

_CHANNELS_OF_WEIGHT = frozenset({"Conv", "ConvTranspose", "Gemm"})
_OTHER_EXTENTS = frozenset({"AveragePool", "Concat", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
RANK_OF_INPUT = frozenset(
    [
        "Swish",
        "Erf",
        "Abs",
        "Sqrt",
        "Exp",
        "PRelu",
        "Mish",
        "Gelu",
        "Tanh",
        "Softplus",
        "Celu",
        "Selu",
        "Elu",
        "HardSwish",
        "HardSigmoid",
        "LogSoftmax",
        "Softmax",
        "MeanVarianceNormalization",
        "LpNormalization",
        "RMSNormalization",
        "LayerNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Concat",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LRN",
        "LeakyRelu",
        "MaxPool",
        "Neg",
        "Relu",
        "Sigmoid",
    ]
)


class KnownShapes:
    """Answers about the shapes of one model's values."""

    def __init__(self, constants: Mapping[ir.Value, object]) -> None:
        """
        Args:
            constants: the arrays of values that have been found to be constant, as far as they are known by now.
        """
        self._constants = constants

    def shape(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """Return extents, names of symbolic ones, None for unknown ones.

        None as a whole where the rank is not known.
        """
        if value.shape is not None:
            return tuple([dim if isinstance(dim, int) else dim.value for dim in value.shape])
        if isinstance(array := self._constants.get(value), np.ndarray):
            return tuple(array.shape)
        node = value.producer()
        # Shape inference does not reach the bodies of functions, where constants are nodes.
        if node is not None and node.op_type == "Constant" and is_standard(node):
            array = array_of_constant_node(node)
            if isinstance(array, np.ndarray):
                return tuple(array.shape)
        return self._shape_by_weights(value)

    def rank(self, value: ir.Value) -> int | None:
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def elements(self, value: ir.Value) -> int:
        """Count the elements of the value, unknown extents counted as one."""
        return math.prod([dim if isinstance(dim, int) else 1 for dim in self.shape(value) or ()])

    def _shape_by_weights(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """Return the rank, and the extents that a weight tells, where the producers in front of the value keep them."""
        keeps_extents = True
        # A chain of operators that keep the rank ends at a weight, a known shape, or nowhere.
        for _ in range(64):
            known = self._own_shape(value)
            if known is not None:
                return known if keeps_extents else (None,) * len(known)
            node = value.producer()
            if node is None or not is_standard(node) or not node.inputs or node.inputs[0] is None:
                return None
            keeps_extents &= node.op_type not in _OTHER_EXTENTS
            if node.op_type not in RANK_OF_INPUT:
                return None
            value = node.inputs[0]
        return None

    def _own_shape(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """Return the shape that is written down for the value, or that follows from the weight of its producer."""
        if value.shape is not None:
            return tuple([dim if isinstance(dim, int) else dim.value for dim in value.shape])
        if isinstance(array := self._constants.get(value), np.ndarray):
            return tuple(array.shape)
        node = value.producer()
        if node is None or not is_standard(node) or node.op_type not in _CHANNELS_OF_WEIGHT:
            return None
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        shape = None if weight is None else self._own_shape(weight)
        if shape is None:
            return (None, None) if node.op_type == "Gemm" else None
        channels: Dim = None
        if node.op_type == "Conv":
            channels = shape[0]
        elif node.op_type == "Gemm" and len(shape) == 2:
            transposed = node.attributes.get("transB")
            channels = shape[0 if transposed is not None and transposed.as_int() else 1]
        return (None, channels, *(None,) * (len(shape) - 2))


def within_reach(shape: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """Return the shape, with extents along which no constant could vary as unknown ones."""
    for dim in shape or ():
        if isinstance(dim, int) and dim > MAX_ELEMENTS:
            return tuple(None if isinstance(each, int) and each > MAX_ELEMENTS else each for each in shape or ())
    return shape
