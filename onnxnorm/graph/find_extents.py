"""Finds, in one walk over a model, the extents of its values and the elements of its shapes."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.graph.extent_rules import extents_after
from onnxnorm.graph.extents import INTEGERS, Extents
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.shape_values import elements_after
from onnxnorm.model.walk import graphs_within

__all__ = ["find_extents"]


def find_extents(model: ir.Model, facts: Facts) -> Extents:
    """Find the extents of every value of the main graph and the graphs in it."""
    extents = Extents(facts)
    for graph in graphs_within(model.graph):
        for node in graph:
            if is_standard(node) and node.outputs:
                _note(node, extents)
    return extents


def _note(node: ir.Node, extents: Extents) -> None:
    first = node.outputs[0]
    if first.dtype in INTEGERS:
        extents.note(first, elements=elements_after(node, extents))
    for index, value in enumerate(node.outputs):
        shape = extents.facts.shape(value)
        if shape is None or all(isinstance(dim, int) for dim in shape):
            continue
        origins = extents_after(node, index, len(shape), extents)
        dims = tuple(
            dim if isinstance(dim, int) else origin if origin is not None else (value, axis)
            for axis, (dim, origin) in enumerate(zip(shape, origins, strict=True))
        )
        extents.note(value, dims=dims)
