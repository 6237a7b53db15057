"""Decides which nodes compute in a type of two bytes, and why the others stay in float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import onnx
import onnx_ir as ir

from onnxnorm.convert.same_form import schema_of
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.dtypes import type_string
from onnxnorm.model.walk import graphs_within, subgraphs_of
from onnxnorm.prepare.bodies import is_control_flow
from onnxnorm.prepare.digits import needing_digits
from onnxnorm.prepare.islands import islands
from onnxnorm.prepare.masks import Masks, find_masks
from onnxnorm.prepare.observe import Observed

__all__ = ["Choice", "choose", "data_variables", "limit_of"]

_FLOAT = ir.DataType.FLOAT
_INTEGERS = frozenset(
    ["ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
     "QuantizeLinear"]
)  # fmt: skip
# They sum squares and have no attribute for the type to do it in.
_STATISTICS = frozenset({"InstanceNormalization", "LRN", "LpNormalization", "MeanVarianceNormalization"})
# Keys and values of an attention, and its mask; the scale of a norm, whose type its result has.
_FURTHER_VARIABLES: Mapping[str, tuple[str, ...]] = {"Attention": ("T2", "U"), "RMSNormalization": ("V",)}
# Values of samples say little of those to come: half of the range stays free.
_ROOM = 2.0
_LARGEST = {ir.DataType.FLOAT16: 65504.0, ir.DataType.BFLOAT16: 3.3895314e38}


def limit_of(dtype: ir.DataType) -> float:
    """Return the largest finite number of the type."""
    return _LARGEST[dtype]


@dataclass(eq=False)
class Choice:
    """The choice for each node of a graph.

    Attributes:
        half: the nodes that compute in the type of two bytes.
        reasons: why a node that works on float32 stays there; none for nodes that merely stand between such.
        masks: the constants that the type holds as smaller ones.
    """

    masks: Masks
    half: set[ir.Node] = field(default_factory=set)
    reasons: dict[ir.Node, str] = field(default_factory=dict)


def choose(
    graph: ir.Graph, facts: Facts, dtype: ir.DataType, keep: Collection[str], observed: Mapping[str, Observed]
) -> Choice:
    """Choose for each node that has float32 among its operands or results, in the bodies of others too."""
    graphs = graphs_within(graph)
    choice = Choice(find_masks(graphs, facts, limit_of(dtype), observed))
    digits = needing_digits(graphs, facts, _name(dtype))
    for node in (node for each in graphs for node in each):
        if is_control_flow(node):
            continue
        reason = _reason(node, facts, dtype, keep)
        if reason is None:
            reason = digits.get(node)
        if reason is None:
            reason = _too_large(node, facts, dtype, observed, choice.masks)
        if reason is not None:
            if reason:
                choice.reasons[node] = reason
        elif _works_on_floats(node):
            choice.half.add(node)
    choice.half -= islands(choice.half, facts)
    choice.half -= {node for node in choice.half if node.op_type == "Cast" and not _is_for_half(node, choice)}
    return choice


def _is_for_half(cast: ir.Node, choice: Choice) -> bool:
    """Whether whatever reads the Cast would have its result in the type of two bytes in any case."""
    readers = cast.outputs[0].consumers()
    return bool(readers) and choice.half.issuperset(readers) and not cast.outputs[0].is_graph_output()


def _name(dtype: ir.DataType) -> str:
    return dtype.name.lower()


def _works_on_floats(node: ir.Node) -> bool:
    return any(value is not None and value.dtype is _FLOAT for value in (*node.inputs, *node.outputs))


def _type_in_the_way(node: ir.Node, schema: onnx.defs.OpSchema | None) -> str | None:
    """Say what of the types of the node's values makes it unclear which it has after a conversion."""
    for value in (*node.inputs, *node.outputs):
        if value is None or not value.name:
            continue
        if value.type is None:
            return f"the type of {value.name!r} is not known"
        if not isinstance(value.type, ir.TensorType):
            return "it works on sequences, or on values that may be missing"
    if schema is not None and "dtype" in schema.attributes and node.outputs[0].dtype is _FLOAT:
        return "the type of its result is one of its attributes, or follows its input"
    return None


def _reason(node: ir.Node, facts: Facts, dtype: ir.DataType, keep: Collection[str]) -> str | None:
    """Return why the operator stays in float32; empty where nobody asks, None where it need not."""
    if not _works_on_floats(node) or node.op_type == "Constant":
        return ""
    if any(fnmatchcase(node.name or "", pattern) for pattern in keep):
        return "that was asked for"
    if any(subgraphs_of(node)):
        return "it has a graph of its own, of which it is not known what it does with it"
    if not is_standard(node):
        return f"what it takes is not known: it is no operator of ONNX but of {node.domain}"
    if node.op_type in _INTEGERS:
        return "it works on integers, whose scales stay as they are"
    stash = node.op_type == "GroupNormalization" and facts.opset(node) < 21
    if node.op_type in _STATISTICS or stash:
        return f"its statistics would be summed in {_name(dtype)}, since it has no stash_type"
    if node.op_type in ("Cast", "CastLike"):
        return None if node.op_type == "Cast" and node.outputs[0].dtype is _FLOAT else ""
    if not any(value is not None and value.dtype is _FLOAT for value in node.inputs):
        return ""
    schema = schema_of(node.op_type, facts.opset(node))
    if schema is None:
        return f"there is no definition of it at opset {facts.opset(node)}"
    if (unclear := _type_in_the_way(node, schema)) is not None:
        return unclear
    allowed = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}
    variables = data_variables(node, schema)
    if not variables or any(type_string(dtype) not in allowed.get(each, ()) for each in variables):
        return f"its definition at opset {facts.opset(node)} takes no {_name(dtype)}"
    return None


def data_variables(node: ir.Node, schema: onnx.defs.OpSchema) -> frozenset[str]:
    """Return the variables that the definition has for the type of the node's data: of its first float32 operand.

    Further ones are those that definitions tell apart from it without a need.
    """
    for place, value in enumerate(node.inputs):
        if value is not None and value.dtype is _FLOAT and schema.inputs:
            first = schema.inputs[min(place, len(schema.inputs) - 1)].type_str
            return frozenset({first, *_FURTHER_VARIABLES.get(node.op_type, ())})
    return frozenset()


def _too_large(
    node: ir.Node, facts: Facts, dtype: ir.DataType, observed: Mapping[str, Observed], masks: Masks
) -> str | None:
    """Return which of the node's values the type does not hold; None where it holds them all."""
    limit = limit_of(dtype)
    for value in node.inputs:
        if value is None or value.dtype is not _FLOAT or not facts.is_constant(value) or value in masks.constants:
            continue
        array = facts.constant(value)
        finite = None if array is None else np.abs(array[np.isfinite(array)]).max(initial=0.0)
        if finite is not None and finite > limit:
            return f"its constant {value.name!r} has {finite:.3g} in it, more than {_name(dtype)} holds"
    for value in (*node.inputs, *node.outputs):
        if value is None or value.dtype is not _FLOAT or facts.is_constant(value):
            continue
        if (seen := observed.get(value.name or "")) is None:
            continue
        largest = seen.highest if value in masks.values else seen.largest
        if largest * _ROOM > limit:
            return f"{value.name!r} comes to {largest:.3g}, and {_name(dtype)} ends at {limit:.3g}"
    return None
