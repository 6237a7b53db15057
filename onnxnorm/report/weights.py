"""Weights of linear operators by channel: where they stand among the inputs, and which axis counts the channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.model.domains import STANDARD_DOMAINS

__all__ = ["Weights", "weights_of"]

_LARGEST = 1 << 24
_SCALED = frozenset(
    ["BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"]
)


class _Places(NamedTuple):
    """The places of weight and bias among the inputs, and the axes of the weight that count outputs and inputs."""

    weight: int
    bias: int | None
    outputs: int
    inputs: int | None


_FIXED = {"Conv": _Places(1, 2, 0, 1), "ConvTranspose": _Places(1, 2, 1, 0)}


@dataclass(frozen=True)
class Weights:
    """The first weight of each channel of one operator, in float64.

    Attributes:
        by_channel: one for each output.
        by_input: one for each input; None where the operator mixes no channels.
        bias: one for each output, None where it has none.
    """

    by_channel: npt.NDArray[np.float64]
    by_input: npt.NDArray[np.float64] | None
    bias: npt.NDArray[np.float64] | None


def weights_of(node: ir.Node, facts: Facts) -> Weights | None:
    """Return what a node's constant weight begins with; None where it has none, or one too large to look through."""
    places = _places(node, facts)
    if places is None:
        return None
    array = _constant(node, places.weight, facts)
    if array is None or not array.size or array.ndim <= max(places.outputs, places.inputs or 0):
        return None
    if node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) != 1:
        return None
    own = None if places.bias is None else _constant(node, places.bias, facts)
    rows = _first(array, places.outputs)
    return Weights(
        rows,
        None if places.inputs is None else _first(array, places.inputs),
        own.reshape(-1).astype(np.float64) if own is not None and own.size == len(rows) else None,
    )


def _places(node: ir.Node, facts: Facts) -> _Places | None:
    if node.domain not in STANDARD_DOMAINS:
        return None
    if node.op_type in _FIXED:
        return _FIXED[node.op_type]
    if node.op_type == "Gemm":
        return _Places(1, 2, 0, 1) if node.attributes.get_int("transB", 0) else _Places(1, 2, 1, 0)
    if node.op_type == "MatMul" and len(node.inputs) == 2 and node.inputs[1] is not None:
        rank = facts.rank(node.inputs[1])
        return _Places(1, None, 1, 0) if rank == 2 else None
    return _Places(1, 2, 0, None) if node.op_type in _SCALED else None


def _constant(node: ir.Node, place: int, facts: Facts) -> npt.NDArray[Any] | None:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None:
        return None
    tensor = value.const_value
    if tensor is not None and tensor.size > _LARGEST:
        return None
    array = facts.constant(value)
    if array is None or (array.dtype.kind != "f" and array.dtype.name != "bfloat16") or array.size > _LARGEST:
        return None
    return array


def _first(array: npt.NDArray[Any], axis: int) -> npt.NDArray[np.float64]:
    return array[tuple(slice(None) if each == axis else 0 for each in range(array.ndim))].astype(np.float64)
