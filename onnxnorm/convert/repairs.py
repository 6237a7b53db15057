"""What the converters change without a word on the way to a newer opset: put right behind them, or refused before.

- Resize of opset 10 and Upsample lay their samples out from the first one on, and take the one before ("asymmetric",
  "floor"); Resize of opset 11 does otherwise unless it is told.
- Hardmax over all axes from one on became Hardmax over that axis alone.
- BatchNormalization told by its outputs that it trains, and does by an attribute from opset 14 on.
- Scan of opset 8 had a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.facts import Facts

__all__ = ["Remedies", "put_right", "remedies_for"]

Remedies = dict[str, dict[str, str]]
"""For the output of a Resize the attributes that it must have."""


def remedies_for(model: ir.Model, opset: int) -> Remedies:
    """What to put right after the conversion.

    Raises:
        OnnxNormError: a node has no form that means the same, or none that can be told.
    """
    facts, remedies, present = Facts(model), {}, model.opset_imports.get("", 0)
    for node in _standard_nodes(model):
        refused: str | None = None
        if node.op_type == "BatchNormalization" and present < 14 <= opset:
            if any(output.name for output in node.outputs[1:]):
                refused = "is in training mode; export the model in eval mode"
        elif node.op_type == "Scan" and present < 9 <= opset:
            refused = "goes over a batch, which Scan does not since opset 9"
        elif node.op_type == "Hardmax" and present < 13 <= opset:
            rank = None if node.inputs[0] is None else facts.rank(node.inputs[0])
            axis = node.attributes.get_int("axis", 1)
            if rank is None or axis not in (-1, rank - 1):
                refused = "chooses over several axes, which Hardmax does not since opset 13"
            else:
                node.attributes["axis"] = ir.AttrInt64("axis", rank - 1)
        elif node.op_type in ("Resize", "Upsample") and present < 11 <= opset:
            found = _layout(node, facts)
            if found is None:
                refused = "takes the nearest sample at scales that are not known, or both enlarges and reduces"
            elif node.outputs[0].name:
                remedies[node.outputs[0].name] = found
        if refused is not None:
            raise OnnxNormError(f"{node.op_type} {node.name!r} {refused}")
    return remedies


def put_right(model: ir.Model, remedies: Remedies) -> None:
    """After the conversion."""
    for node in _standard_nodes(model):
        if node.op_type == "Resize":
            for attribute, value in remedies.get(node.outputs[0].name or "", {}).items():
                node.attributes[attribute] = ir.AttrString(attribute, value)


def _standard_nodes(model: ir.Model) -> Iterator[ir.Node]:
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        for node in graph.all_nodes():
            if node.domain in ("", "ai.onnx"):
                yield node


def _layout(node: ir.Node, facts: Facts) -> dict[str, str] | None:
    """The attributes of a newer Resize that say what the node does; None where no attributes do."""
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "nearest"
    layout = {"coordinate_transformation_mode": "asymmetric"}
    if mode != "nearest":
        return layout
    if node.op_type == "Upsample":
        return {**layout, "nearest_mode": "floor"}
    known = facts.constant(node.inputs[1])
    if known is None:
        return None
    scales = np.asarray(known, np.float64)
    if np.all(scales >= 1):
        return {**layout, "nearest_mode": "floor"}
    return {**layout, "nearest_mode": "ceil"} if np.all(scales <= 1) else None
