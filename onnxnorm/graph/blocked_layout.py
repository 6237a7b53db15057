"""Tells which values onnxruntime holds in blocks of channels.

It keeps the results of convolutions of float in such blocks, and goes on so through pooling, sums and activations. A
BatchNormalization there is a convolution itself, or part of the one before; a sum or a product with a constant, and any
other node, has its input put in order and its result in blocks again, and takes the convolution the sum and the
activation that it would have run too (onnxruntime/core/optimizer/nchwc_transformer.cc).
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard

__all__ = ["is_blocked", "needs_batch_norm"]

# What onnxruntime computes in blocks where its input is in blocks.
_STAYS_BLOCKED = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Dropout", "Gelu", "GlobalAveragePool",
        "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mul", "Relu", "Resize",
        "Sigmoid", "Sum", "Swish", "Tanh", "Upsample",
    }
)  # fmt: skip
_FARTHEST = 64
_CHANNELS = 4


def is_blocked(x: ir.Value, facts: Facts) -> bool:
    """Whether onnxruntime may hold the tensor in blocks of channels: a convolution is where it comes from."""
    if x.dtype is not ir.DataType.FLOAT or facts.rank(x) != 4:
        return False
    waiting, seen = [x], {x}
    for value in waiting:
        node = value.producer()
        if node is None or not is_standard(node):
            continue
        if node.op_type == "Conv" or len(seen) > _FARTHEST:
            return True
        if node.op_type in _STAYS_BLOCKED:
            new = [each for each in node.inputs if each is not None and each not in seen]
            waiting.extend(new)
            seen.update(new)
    return False


def needs_batch_norm(x: ir.Value, facts: Facts) -> bool:
    """Whether an affine for each channel of the tensor is best a BatchNormalization, be it a scale or a shift alone."""
    shape = facts.shape(x)
    return shape is not None and len(shape) == 4 and _fills_blocks(shape[1]) and is_blocked(x, facts)


def _fills_blocks(channels: object) -> bool:
    # Convolutions to other numbers of channels run as they are written.
    return isinstance(channels, int) and channels % _CHANNELS == 0
