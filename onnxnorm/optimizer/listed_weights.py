"""Decides whether weights that a file lists among the inputs of its graph are constants all the same.

From IR version 4 on an initializer that is also an input is a default value, which the caller of the model may replace.
Exporters went on to list every weight for years, out of the habit of earlier versions, where the letter asked for it.
`docs/decisions/listed-weights.md` argues the choice that is made here.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

__all__ = ["freeze_listed_weights"]

# Producers that listed all weights by default in some of their versions.
_PRODUCERS = frozenset(
    {"caffe2onnx", "chainer", "cntk", "coremltools", "keras2onnx", "mxnet", "onnx-caffe2", "pytorch", "tf2onnx"}
)

# Nobody passes so many weights to a model by hand.
_MANY = 16


def freeze_listed_weights(model: ir.Model, freeze: bool | None) -> str | None:
    """Take the initializers that are graph inputs from the inputs, in place, where they are constants.

    Args:
        model: the model; below IR version 4 it stays, since every runtime takes its initializers for constants.
        freeze: True takes them all, False takes none, None takes them where an exporter listed them all out of habit.

    Returns:
        A sentence about what was decided from the file alone; None where the caller decided, or nothing was listed.
    """
    listed = [value for value in model.graph.inputs if value.is_initializer()]
    if freeze is False or not listed or (model.ir_version or 4) < 4:
        return None
    if freeze is None and not _is_habit(model):
        return None
    RemoveInitializersFromInputsPass()(model)
    if freeze:
        return None
    return (
        f"{len(listed)} weights are also listed as inputs; they were taken as constants; --keep-overridable "
        "(freeze_inputs=False) leaves them overridable"
    )


def _is_habit(model: ir.Model) -> bool:
    """Whether every weight is listed, by an exporter that used to do so or in a number that no caller would replace."""
    weights = [value for value in model.graph.initializers.values() if _is_weight(value)]
    if not weights or not all(value.is_graph_input() for value in weights):
        return False
    return (model.producer_name or "").lower() in _PRODUCERS or len(weights) >= _MANY


def _is_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    return tensor is not None and tensor.dtype.is_floating_point()
