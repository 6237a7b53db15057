"""Attaches to models the portable bodies that define the custom operators by standard ones.

    IntraChannelLRN(X) -> Y   kernel_shape: ints, alpha = 1e-4, beta = 0.75, bias = 1.0   X: (N, C, D1..Dk), k = 1, 2, 3
    InterChannelLRN(X) -> Y   size: int,          alpha = 1e-4, beta = 0.75, bias = 1.0   X: (N, C, ...)

    Y = X / (bias + alpha / prod(window) * S) ** beta,    S = sum of X^2 over the window, cut at the border

    GroupNorm, ChannelLayerNorm, ChannelRMSNorm, ChannelLpNorm, MeanVarianceNorm, GlobalResponseNorm and ChannelAffine
    (X, scale, bias, residual) -> Y: see custom_ops/README.md

A window of n reaches floor((n-1)/2) back and ceil((n-1)/2) ahead. The formula is that of ONNX `LRN`, for the
intra-channel operator over a spatial window (Caffe's WITHIN_CHANNEL). A model that uses the operators carries their
bodies as model-local functions, so that a runtime without the native library computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir as ir
from onnx import ModelProto, TensorProto, inliner
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from onnxnorm.model.domains import standard_opset
from onnxnorm.model.walk import graphs_within
from onnxnorm.ops.bodies import Precision, portable_body
from onnxnorm.ops.operators import DOMAIN, OPERATORS, VERSION
from onnxnorm.ops.schema import OP_TYPES, check_nodes, custom_nodes, input_elements
from onnxnorm.recognize.replace import IR_WITH_FUNCTIONS

__all__ = ["attach_bodies", "attach_bodies_in", "attach_body", "inline_bodies", "uses_ops"]


def uses_ops(model: ModelProto) -> bool:
    """Whether a node of the model is one of the custom operators."""
    return any(True for _ in custom_nodes(model))


def attach_bodies(model: ModelProto) -> None:
    """Give the model the bodies of the custom operators that it uses, and the opset import of their domain.

    Changes the model; doing it again changes nothing. Attributes that were left out are written out, because the ONNX
    reference evaluator does not fill in a function's defaults.

    Raises:
        OnnxNormError: a node's attributes or input are wrong, or the model's opset is older than 15.
    """
    used = [node.op_type for node in custom_nodes(model)]
    if not used:
        return
    check_nodes(model)
    opset = standard_opset(model.opset_import)
    precision = Precision.DOUBLE if TensorProto.DOUBLE in input_elements(model) else Precision.FLOAT
    bodies = {op: portable_body(op, opset=opset, precision=precision) for op in OP_TYPES if op in used}
    for node in custom_nodes(model):
        given = {attribute.name for attribute in node.attribute}
        node.attribute.extend(
            onnx.helper.make_attribute(name, value)
            for name, value in OPERATORS[node.op_type].defaults.items()
            if name not in given
        )
    others = [f for f in model.functions if not (f.domain == DOMAIN and f.name in OP_TYPES)]
    del model.functions[:]
    model.functions.extend([*others, *bodies.values()])
    importing = [model.opset_import, *(f.opset_import for f in others if any(n.domain == DOMAIN for n in f.node))]
    for imports in importing:
        if all(entry.domain != DOMAIN for entry in imports):
            imports.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    model.ir_version = max(model.ir_version, 8)  # the first with model-local functions


def inline_bodies(model: ModelProto) -> ModelProto:
    """Return the model with every custom operator replaced by its body, for runtimes that know no functions.

    Raises:
        OnnxNormError: as `attach_bodies`.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    if not uses_ops(copy):
        return copy
    attach_bodies(copy)
    inlined: ModelProto = inliner.inline_selected_functions(copy, [(DOMAIN, op) for op in OP_TYPES], exclude=False)
    kept = [entry for entry in inlined.opset_import if entry.domain != DOMAIN]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    return inlined


def attach_bodies_in(model: ir.Model) -> None:
    """Attach the bodies of this project's operators that the model uses and does not carry yet."""
    used: dict[str, list[ir.Node]] = {}
    for graph in graphs_within(model.graph):
        for node in graph:
            if node.domain == DOMAIN and node.op_type in OP_TYPES:
                used.setdefault(node.op_type, []).append(node)
    carried = {(function.domain, function.name) for function in model.functions.values()}
    missing = {op: nodes for op, nodes in used.items() if (DOMAIN, op) not in carried}
    if not missing:
        return
    for op_type, nodes in missing.items():
        attach_body(model, op_type, nodes)


def attach_body(model: ir.Model, op_type: str, nodes: Iterable[ir.Node]) -> None:
    """Attach the body of one of this project's operators, as precise as its `nodes` need it."""
    wide = any(node.inputs[0] is not None and node.inputs[0].dtype is ir.DataType.DOUBLE for node in nodes)
    precision = Precision.DOUBLE if wide else Precision.FLOAT
    body = portable_body(op_type, opset=model.graph.opset_imports[""], precision=precision)
    function = ir.serde.deserialize_function(body)
    model.functions[function.identifier()] = function
    model.graph.opset_imports[DOMAIN] = VERSION
    if (model.ir_version or 0) < IR_WITH_FUNCTIONS:
        # Their initializers had to be inputs; from IR version 4 on that would let a caller override them.
        if (model.ir_version or 0) < 4:
            RemoveInitializersFromInputsPass()(model)
        model.ir_version = IR_WITH_FUNCTIONS
