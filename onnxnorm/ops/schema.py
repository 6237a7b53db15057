"""Checks the custom operators of a model: attributes, rank and element type, each error with the node's name."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.protobuf import graphs_in, without_weights
from onnxnorm.ops.operators import ACTIVATIONS, DOMAIN, OPERATORS, VERSION, Operator
from onnxnorm.validate.shape_inference import infer_shapes

__all__ = ["DEFAULTS", "DOMAIN", "OP_TYPES", "VERSION", "check_nodes", "custom_nodes", "input_elements"]

OP_TYPES = tuple(OPERATORS)
DEFAULTS = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
"""The defaults of the two LRN operators."""

_INPUTS = {1: "one input", 4: "four inputs (X, scale, bias, residual)"}
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
    operator = OPERATORS[node.op_type]
    if len(node.input) != operator.inputs or not all(node.input) or len(node.output) != 1:
        return f"it takes {_INPUTS[operator.inputs]} and makes one output"
    attributes = {attribute.name: attribute for attribute in node.attribute}
    wrong = _wrong_attributes(attributes, operator)
    if wrong is not None:
        return wrong
    rank, element = types.of_value(node.input[0])
    if element is not None and element not in _ELEMENTS:
        return "the input must be of type float, double, float16 or bfloat16"
    if any(attribute.ref_attr_name for attribute in attributes.values()):
        return None
    if operator.inputs == 1:
        return _wrong_window(node.op_type, attributes, rank)
    return _wrong_norm(node.op_type, attributes, rank)


def _wrong_attributes(attributes: Mapping[str, AttributeProto], operator: Operator) -> str | None:
    names = [*operator.required, *operator.defaults]
    unknown = sorted(set(attributes) - set(names))
    if unknown:
        return f"it has no attribute {unknown[0]!r}, but {', '.join(names)}"
    missing = [name for name in operator.required if name not in attributes]
    if missing:
        return f"the attribute {missing[0]} is missing"
    for name, attribute in attributes.items():
        if attribute.ref_attr_name:
            continue
        kind = operator.kind(name)
        if attribute.type != kind:
            return f"the attribute {name} must be {'a float' if kind == AttributeProto.FLOAT else 'whole numbers'}"
        if kind == AttributeProto.FLOAT and not math.isfinite(attribute.f) and operator.inputs == 1:
            return f"the attribute {name} must be finite"
    return None


def _wrong_window(op_type: str, attributes: Mapping[str, AttributeProto], rank: int | None) -> str | None:
    if op_type == "InterChannelLRN":
        if attributes["size"].i < 1:
            return f"size must be at least 1, it is {attributes['size'].i}"
        if rank is not None and rank < 2:
            return f"the input must have a batch and a channel axis, it has rank {rank}"
        return None
    kernel = list(attributes["kernel_shape"].ints)
    if not 1 <= len(kernel) <= 3:
        return f"kernel_shape must have 1, 2 or 3 entries, it is {kernel}"
    if min(kernel) < 1:
        return f"every entry of kernel_shape must be at least 1, it is {kernel}"
    if rank is not None and rank != len(kernel) + 2:
        return f"kernel_shape {kernel} needs an input of rank {len(kernel) + 2}, the input has rank {rank}"
    return None


def _wrong_norm(op_type: str, attributes: Mapping[str, AttributeProto], rank: int | None) -> str | None:
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else 0.0
    if not (math.isfinite(epsilon) and epsilon >= 0):
        return f"epsilon must be a finite number that is not negative, it is {epsilon}"
    activation = attributes["activation"].i if "activation" in attributes else 0
    if not 0 <= activation < len(ACTIVATIONS):
        return f"activation must be one of 0 to {len(ACTIVATIONS) - 1}, it is {activation}"
    if any(math.isnan(attributes[name].f) for name in ("alpha", "beta") if name in attributes):
        return "alpha and beta must be numbers"
    if "num_groups" in attributes and attributes["num_groups"].i < 1:
        return f"num_groups must be at least 1, it is {attributes['num_groups'].i}"
    if "p" in attributes and attributes["p"].i not in (1, 2):
        return f"p must be 1 or 2, it is {attributes['p'].i}"
    if op_type == "MeanVarianceNorm" and not attributes["axes"].ints:
        return "axes must name at least one axis"
    return None if rank is None else _wrong_rank(op_type, attributes, rank)


def _wrong_rank(op_type: str, attributes: Mapping[str, AttributeProto], rank: int) -> str | None:
    if op_type == "MeanVarianceNorm":
        given = list(attributes["axes"].ints)
        if any(not -rank <= axis < rank for axis in given):
            return f"an entry of axes {given} is no axis of an input of rank {rank}"
        axes = sorted(axis % rank for axis in given)
        if axes != list(range(axes[0], axes[0] + len(axes))):
            return f"axes must be a run of axes that follow each other, they are {given}"
        return None
    if rank < 2:
        return f"the input must have a batch and a channel axis, it has rank {rank}"
    axis = attributes["axis"].i if "axis" in attributes else 1
    if not -rank <= axis < rank:
        return f"axis {axis} is no axis of an input of rank {rank}"
    if op_type == "GlobalResponseNorm" and axis % rank not in (1, rank - 1):
        return f"axis must be 1 or the last, it is {axis}"
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
