"""Remembers of which computed values a model said the type and shape before these were inferred.

Inferred types are for the passes. In the file they would say again what every runtime infers for itself, which takes up
to a tenth of a small or quantized model.
"""

from __future__ import annotations

from collections.abc import Set

import onnx_ir as ir

from onnxnorm.model.walk import graphs_within

__all__ = ["keep_inferred_types", "note_told_types", "told_types"]

_KEY = "onnxnorm.told_types"


def note_told_types(model: ir.Model) -> None:
    """Remember, the first time that it is asked, the names of the computed values whose types the model says."""
    if _KEY not in model.meta:
        nodes = (node for graph in graphs_within(model.graph) for node in graph)
        told = {value.name for node in nodes for value in node.outputs if value.type is not None and value.name}
        model.meta[_KEY] = frozenset(told)


def told_types(model: ir.Model) -> Set[str] | None:
    """Return the names of the values whose types are written; None where all are."""
    told: Set[str] | None = model.meta.get(_KEY)
    return told


def keep_inferred_types(model: ir.Model) -> None:
    """Let all types be written."""
    model.meta[_KEY] = None
