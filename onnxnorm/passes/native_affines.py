"""Reads channel affines that had to stay as the operator of this project that computes them in one pass.

Before: BatchNormalization at inference, which the folding also makes of a Mul and an Add that stay, and an activation
behind it. After: `ChannelAffine`. Algebra: y = scale * x + bias, with scale = gamma / sqrt(variance + epsilon) and
bias = beta - mean * scale. Conditions: all weights are constant, and the tensor is not the result of a convolution,
to which onnxruntime would give the affine, nor held in blocks of channels (`graph/blocked_layout.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.blocked_layout import is_blocked
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.passes.native_readers import TYPES, Native
from onnxnorm.recognize.batch_norm import batch_norm_weights

__all__ = ["batch_norm"]

_Array = npt.NDArray[np.float64]


def batch_norm(node: ir.Node, graph: ir.Graph, facts: Facts) -> Native | None:
    """Return the affine that a BatchNormalization is at inference."""
    x = node.inputs[0] if node.inputs else None
    weights = batch_norm_weights(node, facts)
    channels = None if x is None else _channels(x, facts)
    if x is None or weights is None or weights[0].size != channels:
        return None
    return _affine(node, node.op_type, x, node.outputs[0], *weights)


def _affine(node: ir.Node, kind: str, x: ir.Value, root: ir.Value, scale: _Array, bias: _Array) -> Native | None:
    dtype = ir.DataType.FLOAT if x.dtype is None else x.dtype
    with np.errstate(all="ignore"):
        rounded = [np.asarray(each.astype(dtype.numpy()), np.float64) for each in (scale, bias)]
    if not all(np.all(np.isfinite(each)) for each in rounded):
        return None
    return Native(node, kind, "ChannelAffine", x, root, scale, bias, {"axis": 1})


def _channels(x: ir.Value, facts: Facts) -> int | None:
    shape, producer = facts.shape(x), x.producer()
    if x.dtype not in TYPES or shape is None or len(shape) < 3 or not isinstance(shape[1], int) or shape[1] < 1:
        return None
    if producer is not None and is_standard(producer) and producer.op_type in ("Conv", "ConvTranspose"):
        return None
    return None if is_blocked(x, facts) else shape[1]
