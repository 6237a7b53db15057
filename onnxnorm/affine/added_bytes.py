"""Counts the bytes by which a region makes the weights of its model larger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.interface import Constant
from onnxnorm.affine.parties import Outside
from onnxnorm.affine.region import Region
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.size_budget import freed_bytes, same_bits

__all__ = ["growth_of"]


def growth_of(
    region: Region,
    tensors: Mapping[Constant, ir.TensorProtocol],
    operands: Sequence[Sequence[npt.NDArray[np.generic]]],
    facts: Facts,
) -> int:
    """Count the bytes that the region adds, less those of constants that nobody reads after it.

    Args:
        region: what is to be changed.
        tensors: its new constants.
        operands: those of its insertions.
        facts: what is known of the model.
    """
    made = sum(array.nbytes for arrays in operands for array in arrays)
    distinct: dict[tuple[ir.Graph | None, ir.DataType, tuple[int, ...]], list[ir.TensorProtocol]] = {}
    for node, edit in region.edits.items():
        for item in edit.inputs:
            if not isinstance(item, Constant):
                continue
            tensor = tensors[item]
            alike = distinct.setdefault((node.graph, tensor.dtype, tuple(tensor.shape.numpy())), [])
            if any(same_bits(each, tensor) for each in alike):
                continue
            alike.append(tensor)
            if node.graph is None or facts.size_budget.twin(tensor, node.graph) is None:
                made += tensor.nbytes
    inputs_are_weights = facts.initializers_are_inputs
    return made - freed_bytes(Counter(_lost(region)), (), inputs_are_weights=inputs_are_weights, fills_are_weights=True)


def _lost(region: Region) -> Iterable[ir.Value]:
    """Yield the values that lose a reader, once for each of their uses."""
    for node, edit in region.edits.items():
        kept = Counter(item for item in edit.inputs[: 1 if edit.removed else None] if isinstance(item, int))
        for index, value in enumerate(node.inputs):
            if value is not None and index not in kept:
                yield value
    for insertion in region.insertions:
        if insertion.op_types:
            continue
        for reader in insertion.readers:
            if not isinstance(reader, Outside):
                yield from (value for value in reader.inputs if value is insertion.value)
