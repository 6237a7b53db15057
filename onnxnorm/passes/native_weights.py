"""Takes the weights behind a native normalization into its node.

Before: a normalization whose result goes to one BatchNormalization, as the folding makes of the Mul and the Add that
PyTorch writes behind a GroupNorm. After: the same normalization with scale * s and bias * s + b for each channel.
Conditions: channels are the second axis, the weights of both are constant, and nobody else reads what is between.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard, read_once
from onnxnorm.passes.native_readers import Native, Weight
from onnxnorm.recognize.batch_norm import batch_norm_weights

__all__ = ["with_weights_behind"]

_WITH_WEIGHTS = frozenset({"ChannelLayerNorm", "ChannelLpNorm", "ChannelRMSNorm", "GroupNorm"})


def with_weights_behind(native: Native, graph: ir.Graph, facts: Facts) -> Native:
    """Return the normalization with the weights of a BatchNormalization behind it, or as it is where there is none."""
    if native.op_type not in _WITH_WEIGHTS or native.attributes.get("axis", 1) != 1 or not read_once(native.root):
        return native
    (user,) = native.root.consumers()
    if not is_standard(user) or user.op_type != "BatchNormalization" or user.graph is not graph:
        return native
    behind = batch_norm_weights(user, facts) if user.inputs[0] is native.root else None
    if behind is None or native.x.dtype is not native.root.dtype:
        return native
    own = [_for_channels(weight, behind[0].size, facts) for weight in (native.scale, native.bias)]
    if own[0] is None or own[1] is None:
        return native
    scale, bias = own[0] * behind[0], own[1] * behind[0] + behind[1]
    if not (np.all(np.isfinite(scale)) and np.all(np.isfinite(bias))):
        return native
    return replace(native, root=user.outputs[0], scale=scale, bias=bias)


def _for_channels(weight: Weight, channels: int, facts: Facts) -> npt.NDArray[np.float64] | None:
    """Return a constant weight for each channel; that of a group counts for each of its channels."""
    constant = facts.constant(weight) if isinstance(weight, ir.Value) else weight
    if constant is None:
        return None
    vector = np.asarray(constant, np.float64).ravel()
    return None if vector.size == 0 or channels % vector.size else np.repeat(vector, channels // vector.size)
