"""Limits how much may be computed for constants: a few bytes of a model can stand for terabytes.

Before an operator is evaluated, ONNX's shape inference says how large its result will be. No result has more elements
than `MAX_ELEMENTS`, or twice those it is made of; all results together have no more than `_MAX_BYTES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxnorm.numerics.arrays import MAX_ELEMENTS
from onnxnorm.validate.shape_inference import infer_shapes

__all__ = ["ConstantBudget", "foreseen_elements"]

_MAX_BYTES = 2**30
_LARGEST_READ = 2**10
# Operators whose results ONNX cannot foresee, yet which are no larger than what they are made of.
_NEVER_LARGER = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})


class ConstantBudget:
    """A budget of bytes that may still be computed for the constants of one model."""

    def __init__(self) -> None:
        self._left = _MAX_BYTES

    def allows(self, model: onnx.ModelProto, feeds: Mapping[str, object]) -> bool:
        """Whether the one node of the model may be evaluated with these inputs."""
        arrays = {name: array for name, array in feeds.items() if isinstance(array, np.ndarray)}
        given = sum(array.size for array in arrays.values())
        if model.graph.node[0].op_type in _NEVER_LARGER:
            return 8 * given <= self._left
        try:
            elements = foreseen_elements(model, arrays)
        except Exception:
            return False
        return elements is not None and self.allows_elements(elements, given)

    def allows_elements(self, elements: int, given: int) -> bool:
        """Whether a result of that many elements may be made of so many."""
        return elements <= max(MAX_ELEMENTS, 2 * given) and 8 * elements <= self._left

    def spend(self, array: np.ndarray) -> None:
        """Charge the budget for a result that is kept."""
        self._left -= array.nbytes


def foreseen_elements(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray]) -> int | None:
    """Count the elements that the first result of the one node will have, as ONNX infers it; None where it cannot tell.

    Raises:
        Exception: ONNX finds that the node does not take these inputs, or does not know their types.
    """
    if model.graph.node[0].op_type == "Tile":
        # ONNX multiplies in 64 bits; what overflows there would end the process in NumPy.
        data, repeats = [*arrays.values(), np.zeros(0)][:2]
        counts = [int(count) for count in repeats.ravel()[:64]]
        wide = [extent * count for extent, count in zip(data.shape, counts, strict=False)]
        return math.prod(max(extent, 1) for extent in wide) if all(count >= 0 for count in counts) else None
    small = [numpy_helper.from_array(array, name) for name, array in arrays.items() if array.nbytes <= _LARGEST_READ]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    node = model.graph.node[0]
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=node.output[0])], small)
    typed = helper.make_model(graph, opset_imports=model.opset_import)
    # Arrays have no negative extents, which are all that is wrong with the Slice of ONNX.
    infer = onnx.shape_inference.infer_shapes if node.op_type == "Slice" else infer_shapes
    result = infer(typed, strict_mode=True).graph.output[0].type.tensor_type
    extents = [int(dim.dim_value) if dim.HasField("dim_value") else -1 for dim in result.shape.dim]
    # What is negative went beyond 64 bits on its way.
    return math.prod(extents) if result.HasField("shape") and min(extents, default=0) >= 0 else None
