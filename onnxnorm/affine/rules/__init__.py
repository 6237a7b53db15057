"""The table: for each operator the one entry that says what it can do with affines on its wires.

The solver knows no operator by name. An operator without an entry lets nothing pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.affine.rules import (
    convolution,
    elementwise,
    layout,
    normalizations,
    parts,
    places,
    pool,
    powers,
    products,
    quantize,
    recurrent,
    resample,
    scope,
    select,
    sources,
)
from onnxnorm.affine.site import Rule

__all__ = ["rule_for"]

_TABLE: Mapping[str, Rule] = {
    "Abs": powers.abs_,
    "Add": elementwise.add,
    "ArgMax": places.arg_extremum,
    "ArgMin": places.arg_extremum,
    "AveragePool": pool.average_pool,
    "BatchNormalization": sources.source,
    "Cast": elementwise.cast,
    "Clip": elementwise.clip,
    "Concat": parts.concat,
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "CumSum": places.cum_sum,
    "DeformConv": convolution.deform_conv,
    "DepthToSpace": resample.depth_to_space,
    "DequantizeLinear": quantize.dequantize,
    "Div": elementwise.multiply,
    "Dropout": elementwise.dropout,
    "Einsum": products.einsum,
    "Expand": layout.expand,
    "Flatten": layout.reshape,
    "GRU": recurrent.recurrent,
    "Gather": parts.gather,
    "GatherElements": places.gather_elements,
    "GatherND": places.gather_nd,
    "Gemm": products.gemm,
    "GlobalAveragePool": pool.global_average_pool,
    "GlobalLpPool": pool.lp_pool,
    "GlobalMaxPool": pool.global_max_pool,
    "GridSample": places.grid_sample,
    "GroupNormalization": normalizations.group_norm,
    "Identity": elementwise.identity,
    "If": scope.if_,
    "InstanceNormalization": normalizations.instance_norm,
    "LSTM": recurrent.recurrent,
    "LayerNormalization": normalizations.layer_norm,
    "LeakyRelu": elementwise.rectifier,
    "LogSoftmax": normalizations.softmax,
    "Loop": scope.loop,
    "LpNormalization": places.lp_norm,
    "LpPool": pool.lp_pool,
    "MatMul": products.matmul,
    "Mean": elementwise.add,
    "Max": select.extremum,
    "MaxPool": pool.max_pool,
    "MeanVarianceNormalization": normalizations.mean_variance_norm,
    "Min": select.extremum,
    "Mul": elementwise.multiply,
    "Neg": sources.source,
    "PRelu": elementwise.prelu,
    "Pad": resample.pad,
    "Pow": powers.pow_,
    "RMSNormalization": normalizations.rms_norm,
    "RNN": recurrent.recurrent,
    "Reciprocal": powers.reciprocal,
    "ReduceL1": pool.reduction,
    "ReduceL2": pool.reduction,
    "ReduceMax": pool.reduction,
    "ReduceMean": pool.reduction,
    "ReduceMin": pool.reduction,
    "ReduceSum": pool.reduction,
    "ReduceSumSquare": pool.reduction,
    "Relu": elementwise.rectifier,
    "Reshape": layout.reshape,
    "Resize": resample.resize,
    "ReverseSequence": places.reverse_sequence,
    "Scan": scope.scan,
    "Shape": elementwise.shape,
    "Sign": places.sign,
    "Size": elementwise.shape,
    "Slice": parts.slice_,
    "Softmax": normalizations.softmax,
    "SpaceToDepth": resample.space_to_depth,
    "Split": parts.split,
    "Sqrt": powers.sqrt,
    "Squeeze": layout.squeeze,
    "Sub": elementwise.add,
    "Sum": elementwise.add,
    "Tile": places.tile,
    "Transpose": layout.transpose,
    "Trilu": places.trilu,
    "Unsqueeze": layout.unsqueeze,
    "Upsample": resample.resize,
    "Where": select.where,
}


def rule_for(node: ir.Node) -> Rule | None:
    """The entry for the node's operator; None for operators of other domains and for those without one."""
    return _TABLE.get(node.op_type) if node.domain in ("", "ai.onnx") else None
