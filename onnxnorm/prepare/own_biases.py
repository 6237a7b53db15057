"""Gives each linear operator a bias of its own, as quantizers take it for granted.

Before: a bias that a Conv and an Add read, or two Convs, such as the zeros of layers that have none to speak of. After:
a copy for each. onnxruntime's quantizer makes a bias int32 by the scales of one reader; what else reads it would get
these integers, or integers of another scale.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.edit import add_constant
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard

__all__ = ["own_biases"]

_BIAS = 2
_HAVE_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm", "LayerNormalization"})


def own_biases(model: ir.Model) -> int:
    """Copy each bias that something else reads as well; return how many copies were made."""
    facts, made = Facts(model), 0
    for node in model.graph:
        if node.op_type not in _HAVE_BIAS or not is_standard(node) or len(node.inputs) <= _BIAS:
            continue
        bias = node.inputs[_BIAS]
        if bias is None or not bias.is_initializer() or facts.overridable(bias) or bias.dtype is None:
            continue
        array = facts.constant(bias) if len(bias.uses()) > 1 else None
        if array is not None:
            name = facts.fresh_name(f"{bias.name}_of_{node.name or node.op_type}")
            node.replace_input_with(_BIAS, add_constant(model.graph, name, array, bias.dtype, facts))
            made += 1
    return made
