"""A model at another opset, by the libraries that convert: onnxscript's converter, and onnx's where that knows more.

Downwards they know few operators, and some wrongly: there each node is looked at by itself (`_convert_down`).
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from onnxnorm.convert.libraries import run_converters
from onnxnorm.errors import OnnxNormError

__all__ = ["convert_opset"]

# The IR version that came with an opset, or the next one after it; a newer opset in an older file fails the checker.
_IR_VERSIONS = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def convert_opset(model: ir.Model, opset: int, name: str) -> None:
    """Converts in place.

    Raises:
        OnnxNormError: the opset is out of range, or no converter knows the way; `model` is then of no use.
    """
    newest = onnx.defs.onnx_opset_version()
    if isinstance(opset, bool) or not isinstance(opset, int) or not 7 <= opset <= newest:
        raise OnnxNormError(f"opset must be a whole number from 7 to {newest}, not {opset!r}")
    present = model.opset_imports.get("", 0)
    if present == opset:
        return
    if (model.ir_version or 0) < 4 and opset >= 9:
        # Their initializers had to be inputs; from IR version 4 on that would let a caller override them.
        RemoveInitializersFromInputsPass()(model)
        model.ir_version = 4
    if opset < present:
        from onnxnorm.convert.downward import convert_down

        convert_down(model, opset, name)
        return
    try:
        run_converters(model, opset)
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise OnnxNormError(f"{name} cannot be converted from opset {present} to {opset}: {reason}") from error
    if model.opset_imports.get("", 0) != opset:
        raise OnnxNormError(
            f"{name} cannot be converted from opset {present} to {opset}: no converter knows all of its operators; "
            f"those that are others there: {_changed(model, present, opset)}"
        )
    model.ir_version = max(model.ir_version or 0, _IR_VERSIONS.get(opset, 10))


def _changed(model: ir.Model, present: int, opset: int) -> str:
    """The nodes, each operator once, whose definition is another one at the new opset, or is missing there."""
    found: dict[str, str] = {}
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx") or node.op_type in found:
            continue
        versions = []
        for at in (present, opset):
            try:
                schema = onnx.defs.get_schema(node.op_type, at, "")
            except onnx.defs.SchemaError:
                versions.append(0)
            else:
                versions.append(0 if schema.deprecated else schema.since_version)
        if versions[0] != versions[1]:
            found[node.op_type] = f"{node.op_type} {node.name!r}"
    shown = list(found.values())
    more = f" and {len(shown) - 5} more operators" if len(shown) > 5 else ""
    return ", ".join(shown[:5]) + more
