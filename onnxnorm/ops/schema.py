"""Checks the custom operators of a model: attributes, rank and element type, each error with the node's name."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.onnx_shape_inference import infer_shapes
from onnxnorm.model.protobuf import graphs_in, without_weights

__all__ = ["DEFAULTS", "DOMAIN", "OP_TYPES", "VERSION", "check_nodes", "custom_nodes", "input_elements"]

DOMAIN = "onnxnorm"
VERSION = 1
OP_TYPES = ("IntraChannelLRN", "InterChannelLRN")
DEFAULTS = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}

_WINDOW = {"IntraChannelLRN": ("kernel_shape", AttributeProto.INTS), "InterChannelLRN": ("size", AttributeProto.INT)}
_ELEMENTS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def check_nodes(model: ModelProto) -> None:
    """Check every custom operator in the model: its attributes, the rank and the element type of its input.

    Raises:
        OnnxNormError: with the node's name and what is wrong.
    """
    nodes = list(custom_nodes(model))
    if not nodes:
        return
    types = _Types.of(model)
    for node in nodes:
        wrong = _wrong(node, types)
        if wrong is not None:
            name = node.name or f"without a name that makes {', '.join(node.output)!r}"
            raise OnnxNormError(f"{model.graph.name or 'the model'}: {node.op_type} node {name!r}: {wrong}")


def _wrong(node: NodeProto, types: _Types) -> str | None:
    if node.op_type not in OP_TYPES:
        return f"domain {DOMAIN} has the operators {', '.join(OP_TYPES)}"
    if len(node.input) != 1 or len(node.output) != 1:
        return "it takes one input and makes one output"
    window, kind = _WINDOW[node.op_type]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    unknown = sorted(set(attributes) - {window, *DEFAULTS})
    if unknown:
        return f"it has no attribute {unknown[0]!r}, but {window}, {', '.join(DEFAULTS)}"
    if window not in attributes:
        return f"the attribute {window} is missing"
    for name, attribute in attributes.items():
        if attribute.ref_attr_name:
            continue
        if attribute.type != (kind if name == window else AttributeProto.FLOAT):
            return f"the attribute {name} must be {'whole numbers' if name == window else 'a float'}"
        if name != window and not math.isfinite(attribute.f):
            return f"the attribute {name} must be finite"
    rank, element = types.of_value(node.input[0])
    if element is not None and element not in _ELEMENTS:
        return "the input must be of type float, double, float16 or bfloat16"
    if attributes[window].ref_attr_name:
        return None
    if node.op_type == "InterChannelLRN":
        if attributes[window].i < 1:
            return f"size must be at least 1, it is {attributes[window].i}"
        if rank is not None and rank < 2:
            return f"the input must have a batch and a channel axis, it has rank {rank}"
        return None
    kernel = list(attributes[window].ints)
    if not 1 <= len(kernel) <= 3:
        return f"kernel_shape must have 1, 2 or 3 entries, it is {kernel}"
    if min(kernel) < 1:
        return f"every entry of kernel_shape must be at least 1, it is {kernel}"
    if rank is not None and rank != len(kernel) + 2:
        return f"kernel_shape {kernel} needs an input of rank {len(kernel) + 2}, the input has rank {rank}"
    return None


def input_elements(model: ModelProto) -> set[int]:
    """Return the element types (of TensorProto) that the custom operators of the model take, as far as known."""
    types = _Types.of(model)
    found = (types.of_value(node.input[0])[1] for node in custom_nodes(model) if node.input)
    return {element for element in found if element is not None}


def custom_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Yield every node of the domain, in subgraphs and functions too."""
    for graph in graphs_in(model):
        for node in graph.node:
            if node.domain == DOMAIN:
                yield node


@dataclass(frozen=True)
class _Types:
    """The rank and element type of values by name, as far as the model says or shape inference finds."""

    known: dict[str, tuple[int | None, int | None]]

    @classmethod
    def of(cls, model: ModelProto) -> _Types:
        known = _declared(model)
        wanted = [node.input[0] for node in custom_nodes(model) if node.input]
        if any(None in known.get(name, (None, None)) for name in wanted):
            with contextlib.suppress(Exception):  # an aid alone: what stays unknown here, the runtime checks
                known = {**_declared(infer_shapes(_of_our_version(model))), **known}
        return cls(known)

    def of_value(self, name: str) -> tuple[int | None, int | None]:
        return self.known.get(name, (None, None))


def _declared(model: ModelProto) -> dict[str, tuple[int | None, int | None]]:
    known: dict[str, tuple[int | None, int | None]] = {}
    for graph in graphs_in(model):
        values = [*graph.value_info]
        if isinstance(graph, GraphProto):
            values += [*graph.input, *graph.output]
            known |= {tensor.name: (len(tensor.dims), tensor.data_type) for tensor in graph.initializer}
        for value in values:
            if value.type.HasField("tensor_type"):
                tensor_type = value.type.tensor_type
                rank = len(tensor_type.shape.dim) if tensor_type.HasField("shape") else None
                known[value.name] = (rank, tensor_type.elem_type or None)
    return known


def _of_our_version(model: ModelProto) -> ModelProto:
    """Return the model without its large constants and without bodies of the custom operators, for shape inference."""
    slim = without_weights(model)
    imports = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    functions = [function for function in model.functions if function.domain != DOMAIN]
    del slim.opset_import[:], slim.functions[:]
    slim.opset_import.extend([*imports, onnx.helper.make_opsetid(DOMAIN, VERSION)])
    slim.functions.extend(functions)
    return slim
