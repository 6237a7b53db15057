"""The table of rules: for each operator the one entry that says what it can do with affines on its wires.

The solver knows no operator by name. An operator without an entry lets nothing pass. Other packages register rules for
operators of their own domains.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from onnxnorm.affine.interface import Cause, Declined, Rule
from onnxnorm.affine.rules import (
    changed_affines,
    concat_split_slice,
    control_flow,
    convolution,
    elementwise,
    layout,
    normalizations,
    pool,
    powers,
    products,
    quantize,
    repeat_and_mask,
    resample,
    select,
    terms_and_factors,
)
from onnxnorm.affine.rules.gather import gather, gather_elements, gather_nd, reverse_sequence
from onnxnorm.affine.rules.normalizations import lp_norm
from onnxnorm.affine.rules.recurrent import recurrent
from onnxnorm.affine.rules.reductions import reduction
from onnxnorm.affine.rules.resample import grid_sample
from onnxnorm.affine.rules.scatter import scatter_elements, scatter_nd
from onnxnorm.affine.rules.select import arg_extremum, sign
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.nodes import is_standard
from onnxnorm.journal.reasons import Code
from onnxnorm.model.domains import CUSTOM_DOMAIN, DISPROVED_DOMAIN, STANDARD_DOMAINS, kept_as

__all__ = ["refusal_of", "register", "rule_for", "unregister"]

_TABLE: Mapping[str, Rule] = {
    "Abs": powers.abs_,
    "Add": terms_and_factors.add,
    "ArgMax": arg_extremum,
    "ArgMin": arg_extremum,
    "AveragePool": pool.average_pool,
    "BatchNormalization": changed_affines.source,
    "Cast": elementwise.cast,
    "Clip": elementwise.clip,
    "Concat": concat_split_slice.concat,
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "CumSum": repeat_and_mask.cum_sum,
    "DeformConv": convolution.deform_conv,
    "DepthToSpace": resample.depth_to_space,
    "DequantizeLinear": quantize.dequantize,
    "Div": terms_and_factors.multiply,
    "Dropout": elementwise.dropout,
    "Einsum": products.einsum,
    "Expand": layout.expand,
    "Flatten": layout.reshape,
    "GRU": recurrent,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Gemm": products.gemm,
    "GlobalAveragePool": pool.global_average_pool,
    "GlobalLpPool": pool.lp_pool,
    "GlobalMaxPool": pool.global_max_pool,
    "GridSample": grid_sample,
    "GroupNormalization": normalizations.group_norm,
    "Identity": elementwise.identity,
    "If": control_flow.if_,
    "InstanceNormalization": normalizations.instance_norm,
    "LSTM": recurrent,
    "LayerNormalization": normalizations.layer_norm,
    "LeakyRelu": elementwise.rectifier,
    "LogSoftmax": normalizations.softmax,
    "Loop": control_flow.loop,
    "LpNormalization": lp_norm,
    "LpPool": pool.lp_pool,
    "MatMul": products.matmul,
    "Mean": terms_and_factors.add,
    "Max": select.extremum,
    "MaxPool": pool.max_pool,
    "MeanVarianceNormalization": normalizations.mean_variance_norm,
    "Min": select.extremum,
    "Mul": terms_and_factors.multiply,
    "Neg": changed_affines.source,
    "PRelu": elementwise.prelu,
    "Pad": resample.pad,
    "Pow": powers.pow_,
    "RMSNormalization": normalizations.rms_norm,
    "RNN": recurrent,
    "Reciprocal": powers.reciprocal,
    "ReduceL1": reduction,
    "ReduceL2": reduction,
    "ReduceMax": reduction,
    "ReduceMean": reduction,
    "ReduceMin": reduction,
    "ReduceSum": reduction,
    "ReduceSumSquare": reduction,
    "Relu": elementwise.rectifier,
    "Reshape": layout.reshape,
    "Resize": resample.resize,
    "ReverseSequence": reverse_sequence,
    "Scan": control_flow.scan,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Shape": elementwise.shape,
    "Sign": sign,
    "Size": elementwise.shape,
    "Slice": concat_split_slice.slice_,
    "Softmax": normalizations.softmax,
    "SpaceToDepth": resample.space_to_depth,
    "Split": concat_split_slice.split,
    "Sqrt": powers.sqrt,
    "Squeeze": layout.squeeze,
    "Sub": terms_and_factors.add,
    "Sum": terms_and_factors.add,
    "Tile": repeat_and_mask.tile,
    "Transpose": layout.transpose,
    "Trilu": repeat_and_mask.trilu,
    "Unsqueeze": layout.unsqueeze,
    "Upsample": resample.resize,
    "Where": select.where,
}


_REGISTERED: dict[tuple[str, str], Rule] = {}
_OWN_DOMAINS = STANDARD_DOMAINS | {CUSTOM_DOMAIN}


def register(domain: str, op_type: str, rule: Rule) -> None:
    """Enter the rule of an operator of another domain; it holds for every model of this process from now on.

    Args:
        domain: the operator's domain, such as "com.acme".
        op_type: the operator.
        rule: says what the operator can do with an affine; takes the place of one that was registered before.

    Raises:
        OnnxNormError: the domain is ONNX's own or this project's, whose operators have their rules here.
    """
    if domain in _OWN_DOMAINS:
        raise OnnxNormError(
            f"the rule of {op_type!r} cannot be registered for the domain {domain!r}: its operators have their rules "
            "in onnxnorm; register operators of a domain of your own"
        )
    if not callable(rule):
        raise OnnxNormError(f"a rule is a function that takes a Site and returns an Answer, not {rule!r}")
    _REGISTERED[domain, op_type] = rule


def unregister(domain: str, op_type: str) -> None:
    """Take the rule of an operator out again; without effect where there is none."""
    _REGISTERED.pop((domain, op_type), None)


def rule_for(node: ir.Node) -> Rule | None:
    """Return the entry for the node's operator; None where it has none, also among those that were registered."""
    if is_standard(node):
        return _TABLE.get(node.op_type)
    return _REGISTERED.get((node.domain, node.op_type))


def refusal_of(node: ir.Node) -> Declined:
    """Return the answer of a node without a rule."""
    if node.op_type in quantize.ROUNDING and (is_standard(node) or node.domain == "com.microsoft"):
        return quantize.rounds()
    kept = kept_as(node.domain)
    if kept == DISPROVED_DOMAIN:
        return Declined(
            "is left as it was, since rewriting it failed verification", Cause.ANYTHING, Code.FAILED_VERIFICATION
        )
    if kept is not None:
        return Declined("is kept, as was asked", Cause.ANYTHING, Code.KEPT)
    return Declined("lets no affine pass", Cause.ANYTHING)
