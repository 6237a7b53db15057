"""The table: for each operator the one entry that says what it can do with affines on its wires.

The solver knows no operator by name. An operator without an entry lets nothing pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.affine.rules import elementwise, layout, linear, normalizations, parts, pool, resample, sources
from onnxnorm.affine.site import Rule

__all__ = ["rule_for"]

_TABLE: Mapping[str, Rule] = {
    "Add": elementwise.add,
    "AveragePool": pool.average_pool,
    "BatchNormalization": sources.source,
    "Cast": elementwise.cast,
    "Clip": elementwise.clip,
    "Concat": parts.concat,
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Div": elementwise.multiply,
    "DepthToSpace": resample.depth_to_space,
    "Dropout": elementwise.dropout,
    "Expand": layout.expand,
    "Flatten": layout.reshape,
    "Gather": parts.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": pool.global_average_pool,
    "GlobalMaxPool": pool.global_max_pool,
    "GroupNormalization": normalizations.group_norm,
    "Identity": elementwise.identity,
    "InstanceNormalization": normalizations.instance_norm,
    "LayerNormalization": normalizations.layer_norm,
    "LeakyRelu": elementwise.rectifier,
    "LogSoftmax": normalizations.softmax,
    "MatMul": linear.matmul,
    "MaxPool": pool.max_pool,
    "Mul": elementwise.multiply,
    "Neg": sources.source,
    "PRelu": elementwise.prelu,
    "Pad": resample.pad,
    "RMSNormalization": normalizations.rms_norm,
    "ReduceMax": pool.reduction,
    "ReduceMean": pool.reduction,
    "ReduceMin": pool.reduction,
    "ReduceSum": pool.reduction,
    "Relu": elementwise.rectifier,
    "Reshape": layout.reshape,
    "Resize": resample.resize,
    "Shape": elementwise.shape,
    "Size": elementwise.shape,
    "Slice": parts.slice_,
    "Softmax": normalizations.softmax,
    "SpaceToDepth": resample.space_to_depth,
    "Split": parts.split,
    "Squeeze": layout.squeeze,
    "Sub": elementwise.add,
    "Sum": elementwise.add,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
    "Upsample": resample.resize,
}


def rule_for(node: ir.Node) -> Rule | None:
    """The entry for the node's operator; None for operators of other domains and for those without one."""
    return _TABLE.get(node.op_type) if node.domain in ("", "ai.onnx") else None
