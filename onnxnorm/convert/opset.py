"""Takes a model to another opset.

Each node is looked at by itself (`onnxnorm.convert.nodes`). For models from before opset 7, whose broadcasting and
shapes as attributes nothing newer has, onnx's converter is asked first where our rules know a node not.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from onnxnorm.convert.ir_version import ir_version_for, lower_ir_version
from onnxnorm.convert.libraries import run_converter
from onnxnorm.convert.nodes import convert_nodes
from onnxnorm.convert.same_form import fits
from onnxnorm.errors import OnnxNormError, first_line
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.walk import graphs_of

__all__ = ["convert_opset"]

_BROADCASTS_SINCE = 7


def convert_opset(model: ir.Model, opset: int, name: str) -> None:
    """Convert the model in place; one that uses nothing of ONNX's own domain stays as it is.

    Raises:
        OnnxNormError: the opset is out of range, or nodes have no form there; `model` is then of no use.
    """
    newest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int) or not 7 <= opset <= newest:
        raise OnnxNormError(f"opset must be a whole number from 7 to {newest}, not {opset!r}")
    present = model.graph.opset_imports.get("")
    own = [function.graph.opset_imports.get("", opset) for function in model.functions.values()]
    if (present is None or present == opset) and all(each == opset for each in own):
        return
    if (model.ir_version or 0) < 4 and opset >= 9:
        # Their initializers had to be inputs; from IR version 4 on that would let a caller override them.
        RemoveInitializersFromInputsPass()(model)
        model.ir_version = 4
    if present is not None and present < _BROADCASTS_SINCE:
        _convert_old(model, present, opset, name)
    else:
        convert_nodes(model, opset, name)
    # A newer opset in an older file fails the checker.
    model.ir_version = max(model.ir_version or 0, ir_version_for(model))
    lower_ir_version(model)


def _convert_old(model: ir.Model, present: int, opset: int, name: str) -> None:
    """Convert by our own rules where they know all nodes, otherwise up to opset 7 by onnx's converter first."""
    attempt = model.clone()
    try:
        convert_nodes(attempt, opset, name)
    except OnnxNormError:
        if _trains(model) or _nests(model):
            # onnx's converter makes inference of it without a word, and looks into no graph within a node.
            raise
        try:
            done = run_converter(model, _BROADCASTS_SINCE)
        except Exception as error:
            reason = first_line(error.__cause__ or error)
            raise OnnxNormError(f"{name} cannot be converted from opset {present} to {opset}: {reason}") from error
        standard = [node for node in model.graph if is_standard(node)]
        if not done or not all(fits(node, _BROADCASTS_SINCE, _BROADCASTS_SINCE) for node in standard):
            # It leaves some of what it does not know as it was.
            raise
    if model.graph.opset_imports.get("") != opset:
        convert_nodes(model, opset, name)


def _nests(model: ir.Model) -> bool:
    return bool(model.functions) or any(graph is not model.graph for graph in graphs_of(model))


def _trains(model: ir.Model) -> bool:
    """Tell whether a BatchNormalization or Dropout from before opset 7 trains, as it does without is_test = 1."""
    return any(
        node.op_type in ("BatchNormalization", "Dropout")
        and ("is_test" not in node.attributes or node.attributes["is_test"].as_int() == 0)
        for graph in graphs_of(model)
        for node in graph
        if is_standard(node)
    )
