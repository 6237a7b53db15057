"""Shapes and types for every value of a model, by ONNX's own inference.

Only the structure goes to the inference, without its weights, and only shapes and types come back: onnx-ir's pass takes
time quadratic in the number of initializers and builds the whole model anew.
"""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.graph.declared_shapes import (
    depends_on_claims,
    dims_of,
    merge_claims,
    pairs_of,
    set_type,
    with_trial_extents,
    without_claims,
)
from onnxnorm.model.to_protobuf import Place, structure
from onnxnorm.model.told_types import note_told_types
from onnxnorm.model.walk import bytes_of, graphs_of, graphs_within, tensor_in, tensors_of
from onnxnorm.validate import shape_inference

__all__ = ["infer_shapes"]


# Inference reads constants that are shapes, axes and the like; weights it does not.
_LARGEST_READ = 1000


_LARGEST_DATA = 10**7


# ONNX writes down the numbers of a vector one by one, however long it is.
_LARGEST_EXTENT = 10**6


_MAKERS = frozenset({"ConstantOfShape", "Expand", "Range", "Resize", "Tile"})


_FOLLOWED = frozenset(
    {"Add", "Cast", "Concat", "Gather", "Identity", "Mul", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze"}
)


def infer_shapes(model: ir.Model) -> bool:
    """Give every value of the graphs its shape and type; tells whether any was new."""
    modified = _infer_once(model)
    if modified and _lacks_ranks_within(model):
        # What a graph says of its inputs stood against what the node gives it, and is mended now.
        modified |= _infer_once(model)
    return modified


def _lacks_ranks_within(model: ir.Model) -> bool:
    return any(
        value.name and value.shape is None
        for graph in graphs_within(model.graph)[1:]
        for node in graph
        for value in node.outputs
    )


def _infer_once(model: ir.Model) -> bool:
    note_told_types(model)
    places = {
        id(holder.tensor): Place("weights", 0, 0)
        for holder in tensors_of(model)
        if bytes_of(holder.tensor) > _LARGEST_READ
    }
    modified = False
    try:
        small = _data_stay_small(model)
        follow = small and _computes_shapes(model)
        message = without_claims(structure(model, places, annotated=False))
        found, tried = _infer(message, small, follow=follow), None
        if depends_on_claims(model.graph, found.graph):
            with contextlib.suppress(onnx.shape_inference.InferenceError):
                tried = _infer(with_trial_extents(message), small, follow=follow).graph
        modified, claims = merge_claims(model.graph, found.graph, tried)
        if claims and not _is_known(model):
            # From what the model says of some values, more may follow of others.
            found = _infer(structure(model, places, annotated=False), small, follow=follow)
            for value, tensor_type in pairs_of(model.graph, found.graph):
                if tensor_type is not None:
                    modified |= set_type(value, tensor_type.elem_type, dims_of(tensor_type))
    except Exception:
        # ONNX cannot say more about this model than what it says of itself.
        pass
    return modified


def _infer(message: onnx.ModelProto, small: bool, *, follow: bool) -> onnx.ModelProto:
    if follow:
        # Where it takes too much to follow the values of shapes, there may be something to say without.
        with contextlib.suppress(onnx.shape_inference.InferenceError):
            return shape_inference.infer_shapes(message, data_prop=True)
    return shape_inference.infer_shapes(message, suspicious=not small)


def _computes_shapes(model: ir.Model) -> bool:
    """Whether there may be values of shapes to follow: out of Shape or Size, from the caller, or out of constants."""
    if any(value.dtype is ir.DataType.INT64 for graph in graphs_of(model) for value in graph.inputs):
        return True
    return any(
        node.op_type in ("Shape", "Size") or (node.op_type in _FOLLOWED and all(map(_is_constant, node.inputs)))
        for graph in graphs_of(model)
        for node in graph
    )


def _is_constant(value: ir.Value | None) -> bool:
    if value is None or value.const_value is not None:
        return True
    node = value.producer()
    return node is not None and node.op_type == "Constant"


def _data_stay_small(model: ir.Model) -> bool:
    """Whether ONNX can follow the values of shapes through the model, which it does without any limit of its own.

    Joining a value with itself sixty times over makes 2^60 of one; no other operator that it follows makes more.
    """
    known: dict[ir.Value, int] = {}
    total = 0
    for graph in graphs_of(model):
        # A shape that the caller gives has as many elements as another value has dimensions.
        if any(_extent(value) > _LARGEST_READ for value in graph.inputs if value.dtype is ir.DataType.INT64):
            return False
        if any(_extent(value) > _LARGEST_EXTENT for value in graph.inputs):
            return False
        for node in graph:
            makes_vector = node.op_type in _MAKERS or (node.op_type == "Reshape" and _extent(node.inputs[-1]) == 1)
            if makes_vector and any(_largest(value) > _LARGEST_EXTENT for value in node.inputs):
                return False
            if node.op_type not in _FOLLOWED:
                continue
            counts = [known.get(value, _own_data(value)) for value in node.inputs if value is not None]
            count = sum(counts) if node.op_type == "Concat" else max(counts, default=0)
            for value in node.outputs:
                known[value] = count
            total += count
            if total > _LARGEST_DATA:
                return False
    return True


def _extent(value: ir.Value | None) -> int:
    """Return the extent of a vector, 0 for any other value or where it is not known."""
    if value is None or value.shape is None or len(value.shape) != 1 or not isinstance(extent := value.shape[0], int):
        return 0
    return extent


def _own_data(value: ir.Value) -> int:
    """Estimate how many numbers ONNX may know of a value that no operator computes."""
    if value.const_value is not None:
        return min(bytes_of(value.const_value), _LARGEST_READ)
    node = value.producer()
    if node is not None and node.op_type == "Constant":
        return max(
            (len(each.value) for each in node.attributes.values() if each.type is ir.AttributeType.INTS), default=1
        )
    return 1 if node is not None and node.op_type == "Shape" else 0


def _largest(value: ir.Value | None) -> float:
    """Return the largest number in a small constant, 0 for all other values."""
    if value is None:
        return 0.0
    tensor, node = value.const_value, value.producer()
    if node is not None and node.op_type == "Constant":
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                tensor = tensor_in(attribute)
            elif attribute.type in (ir.AttributeType.INT, ir.AttributeType.INTS) and not attribute.is_ref():
                return float(np.max(np.abs(np.asarray(attribute.value, np.float64)), initial=0.0))
    if tensor is None or not 0 < bytes_of(tensor) <= _LARGEST_READ or tensor.dtype.bitwidth < 16:
        return 0.0
    try:
        return float(np.max(np.abs(tensor.numpy().astype(np.float64)), initial=0.0))
    except (OSError, TypeError, ValueError):
        return 0.0


def _is_known(model: ir.Model) -> bool:
    return all(
        value.name == "" or (value.shape is not None and value.dtype is not None and value.shape.is_static())
        for graph in graphs_of(model)
        for node in graph
        for value in node.outputs
    )
