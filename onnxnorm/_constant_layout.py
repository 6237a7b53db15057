"""Operators that only lay a constant out anew, computed at once.

Exporters leave them by the hundred around constants of a few elements, and for each the evaluator of the package onnx
builds a model first, which takes a hundred times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm._arrays import MAX_RANK

__all__ = ["laid_out"]

_Array = npt.NDArray[np.generic]


def laid_out(node: ir.Node, arrays: Sequence[object]) -> _Array | None:
    """The result of the node of ONNX's own domain; None where it is left to the evaluator.

    Args:
        node: any node with one output.
        arrays: its inputs, None for those that are left out.
    """
    if not arrays or not isinstance(arrays[0], np.ndarray):
        return None
    data: _Array = arrays[0]
    try:
        if node.op_type == "Identity":
            return data
        if node.op_type == "Transpose":
            order = node.attributes.get("perm")
            return np.transpose(data, None if order is None else tuple(order.as_ints()))
        wanted = _integers(node, arrays)
        if wanted is None:
            return None
        if node.op_type == "Unsqueeze":
            return np.expand_dims(data, wanted)
        if node.op_type == "Squeeze":
            return np.squeeze(data, wanted)
        # A zero may mean two things.
        if node.op_type == "Reshape" and 0 not in wanted:
            return data.reshape(wanted)
    except (TypeError, ValueError):
        # The evaluator says what is wrong.
        return None
    return None


def _integers(node: ir.Node, arrays: Sequence[object]) -> tuple[int, ...] | None:
    """Axes or extents: the second input, or in older opsets an attribute."""
    if len(arrays) > 1:
        second = arrays[1]
        # More axes than any tensor has are no axes; as a tuple, millions of them would take their time.
        if not isinstance(second, np.ndarray) or second.ndim != 1 or second.size > MAX_RANK:
            return None
        return tuple(second.tolist())
    attribute = node.attributes.get("axes")
    return None if attribute is None else tuple(attribute.as_ints())
