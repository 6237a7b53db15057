"""The table: for each operator the one entry that says what it can do with affines on its wires.

The solver knows no operator by name. An operator without an entry lets nothing pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.affine.rules import elementwise, layout, linear, pool, sources
from onnxnorm.affine.site import Rule

__all__ = ["rule_for"]

_TABLE: Mapping[str, Rule] = {
    "Add": elementwise.add,
    "AveragePool": pool.average_pool,
    "BatchNormalization": sources.source,
    "Clip": elementwise.clip,
    "Concat": layout.concat,
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Div": elementwise.multiply,
    "Dropout": elementwise.dropout,
    "Expand": layout.expand,
    "Flatten": layout.reshape,
    "Gemm": linear.gemm,
    "GlobalAveragePool": pool.global_average_pool,
    "GlobalMaxPool": pool.global_max_pool,
    "Identity": elementwise.identity,
    "LeakyRelu": elementwise.rectifier,
    "MatMul": linear.matmul,
    "MaxPool": pool.max_pool,
    "Mul": elementwise.multiply,
    "Neg": sources.source,
    "PRelu": elementwise.prelu,
    "Pad": layout.pad,
    "ReduceMax": pool.reduction,
    "ReduceMean": pool.reduction,
    "ReduceMin": pool.reduction,
    "ReduceSum": pool.reduction,
    "Relu": elementwise.rectifier,
    "Reshape": layout.reshape,
    "Shape": elementwise.shape,
    "Size": elementwise.shape,
    "Slice": layout.slice_,
    "Split": layout.split,
    "Squeeze": layout.squeeze,
    "Sub": elementwise.add,
    "Sum": elementwise.add,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
}


def rule_for(node: ir.Node) -> Rule | None:
    """The entry for the node's operator; None for operators of other domains and for those without one."""
    return _TABLE.get(node.op_type) if node.domain in ("", "ai.onnx") else None
