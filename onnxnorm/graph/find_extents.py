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

# What they make is asked for by an operand.
_ASKED = frozenset({"ConstantOfShape", "Reshape"})


def find_extents(model: ir.Model, facts: Facts) -> Extents:
    """Find the extents of every value of the main graph and its subgraphs; what contradicts them is forgotten."""
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
        if shape is None or (node.op_type not in _ASKED and all(isinstance(dim, int) for dim in shape)):
            continue
        origins = extents_after(node, index, len(shape), extents)
        # What the model says of a value can be out of date where inference does not see what is asked for.
        believed = [
            None if isinstance(dim, int) and isinstance(origin, int) and dim != origin else dim
            for dim, origin in zip(shape, origins, strict=True)
        ]
        if None in believed and believed != list(shape):
            value.shape = ir.Shape(believed)
        dims = tuple(
            dim if isinstance(dim, int) else origin if origin is not None else (value, axis)
            for axis, (dim, origin) in enumerate(zip(believed, origins, strict=True))
        )
        extents.note(value, dims=dims)
