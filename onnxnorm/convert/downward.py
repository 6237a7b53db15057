"""A model at an older opset than its own, node by node.

The converters of the libraries know few operators on the way down, and some of those they change to something else
without a word (a Softmax over an axis that is not the last). Most need no conversion: between two versions nothing but
the types of tensors grew, or an attribute came that the node leaves at its default. `_REWORDED` lists the steps at
which only the words of the definition changed, or what it lets in; at every other step the two definitions have to
read the same. Operands that were attributes become attributes again, normalizations that the older opset has not are
written out. All else is an error that names the node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import onnx
import onnx_ir as ir

from onnxnorm.convert.rewording import ATTRIBUTES, REDUCTIONS, SOFT, put_plainly
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.edit import settle_casts
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.inline import inline
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.model.dtypes import type_string
from onnxnorm.model.walk import graphs_within
from onnxnorm.ops.attach import attach_bodies_in
from onnxnorm.ops.schema import DOMAIN
from onnxnorm.write_out.normalizations import write_out

__all__ = ["convert_down"]

_SINCE = {"LayerNormalization": 17, "GroupNormalization": 21, "RMSNormalization": 23}
_BODIES_SINCE = 15

# For each operator the versions that say no more than the one before, for nodes that the one before lets in.
_REWORDED: dict[str, frozenset[int]] = {
    op: frozenset(versions)
    for ops, versions in (
        ("Abs Ceil Floor", (13,)),
        ("Add Div Mul Sub", (14,)),
        ("ArgMax ArgMin", (12, 13)),
        ("AveragePool MaxPool", (10, 11, 12, 19, 22)),
        ("BatchNormalization", (9, 14, 15)),
        ("Cast", (9, 13, 19)),
        ("CastLike", (19,)),
        ("Clip Mod Pow LRN MeanVarianceNormalization", (13,)),
        ("Constant", (11, 12)),
        ("Conv ConvTranspose", (11,)),
        ("DepthToSpace Gemm", (11, 13)),
        ("DequantizeLinear QuantizeLinear", (19, 21, 23)),
        ("Dropout", (10, 22)),
        ("Gather GatherElements GatherND", (12, 13)),
        ("GRU LSTM RNN", (14, 22)),
        ("NonMaxSuppression OneHot", (11,)),
        ("Pad", (13, 18, 19)),
        ("ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceProd ReduceSumSquare", (13,)),
        ("ReduceMax ReduceMin", (12, 13, 20)),
        ("Reshape", (14,)),
        ("Resize", (13, 18, 19)),
        ("ScatterElements ScatterND", (16, 18)),
        ("Shape", (15,)),
        ("Slice TopK", (11, 13)),
        ("Split", (18,)),
        ("Squeeze Unsqueeze", (23,)),
        ("Transpose", (21,)),
    )
    for op in ops.split()
}
# The same, for nodes whose axes are counted from the front: until then there were no negative ones.
_COUNTED_FROM_THE_FRONT = REDUCTIONS | SOFT | {
    "ArgMax", "ArgMin", "Concat", "Flatten", "Split", "Squeeze", "Unsqueeze"
}  # fmt: skip
_NEGATIVE_SINCE = 11


def convert_down(model: ir.Model, opset: int, name: str) -> None:
    """Converts in place, to an opset before the model's own.

    Raises:
        OnnxNormError: a node has no form at `opset` that is known; `model` is then of no use.
    """
    infer_shapes(model)
    _write_out(model, opset)
    if opset >= _BODIES_SINCE:
        for key in [key for key in model.functions if key[0] == DOMAIN]:
            # They come again at the new opset.
            del model.functions[key]
    if model.functions:
        inline(model)
        model.opset_imports.pop(DOMAIN, None)
        if (left := next(iter(model.functions.values()), None)) is not None:
            raise OnnxNormError(
                f"{name}: the function {left.name!r} is of another opset than the model, so it cannot be put in "
                "place of its calls; export the model again"
            )
    infer_shapes(model)
    facts, own = Facts(model), model.opset_imports.get("", 0)
    for graph in model.graphs():
        settle_casts(graph)
        for node in graph:
            if node.domain in ("", "ai.onnx"):
                _convert(node, own, opset, facts, name)
    model.graph.opset_imports[""] = opset
    attach_bodies_in(model)
    infer_shapes(model)


def _convert(node: ir.Node, own: int, opset: int, facts: Facts, name: str) -> None:
    present, goal = _schema(node.op_type, own), _schema(node.op_type, opset)
    if present is not None and goal is not None:
        put_plainly(node, opset, facts)
        # A Dropout is an Identity now.
        present = _schema(node.op_type, own)
        assert present is not None
        if _has_attribute_again(node, opset, goal) or _stays(node, opset, present.since_version):
            return
    raise OnnxNormError(f"{name}: {node.op_type} {node.name!r} has no form at opset {opset} that is known")


def _write_out(model: ir.Model, opset: int) -> None:
    newer = {op for op, since in _SINCE.items() if since > opset}
    facts = Facts(model)
    for graph in graphs_within(model.graph):
        for node in list(graph):
            if node.op_type in newer and is_standard(node):
                write_out(node, graph, facts)
    if opset < _BODIES_SINCE and any(function.domain == DOMAIN for function in model.functions.values()):
        inline(model, lambda function: function.domain == DOMAIN)
        model.graph.opset_imports.pop(DOMAIN, None)


@cache
def _schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def _steps_down(op_type: str, since: int, opset: int) -> Iterator[tuple[onnx.defs.OpSchema, onnx.defs.OpSchema]]:
    """Each version of an operator with the one before it, from that of `since` to that of `opset`."""
    newer = _schema(op_type, since)
    while newer is not None and newer.since_version > opset:
        older = _schema(op_type, newer.since_version - 1)
        if older is None:
            return
        yield newer, older
        newer = older


def _stays(node: ir.Node, opset: int, since: int) -> bool:
    """Whether the node means the same at `opset`; attributes at defaults that came later are left out then."""
    needless: set[str] = set()
    for newer, older in _steps_down(node.op_type, since, opset):
        if not (_reads_the_same(newer, older) or _is_reworded(node, newer.since_version)):
            return False
        late = [a for a in node.attributes if a not in older.attributes and a not in needless]
        if any(not _is_default(node, a, newer) for a in late):
            return False
        needless.update(late)
        if not _lets_in(older, node):
            return False
        if any(
            name in newer.attributes and newer.attributes[name].default_value != attribute.default_value
            for name, attribute in older.attributes.items()
            if name not in node.attributes
        ):
            return False
    for name in needless:
        del node.attributes[name]
    return True


def _has_attribute_again(node: ir.Node, opset: int, goal: onnx.defs.OpSchema) -> bool:
    """Whether it is one of the operators that are told their axes or sizes as they were told before."""
    _, since = ATTRIBUTES.get(node.op_type, ("", 0))
    if opset >= since or len(node.inputs) != 1:
        return False
    if "noop_with_empty_axes" in node.attributes and node.attributes["noop_with_empty_axes"].as_int() == 0:
        del node.attributes["noop_with_empty_axes"]
    axis = node.attributes.get("axis")
    counted = opset >= _NEGATIVE_SINCE or axis is None or axis.as_int() >= 0
    return counted and all(name in goal.attributes for name in node.attributes) and _lets_in(goal, node)


def _rounds_up(node: ir.Node) -> bool:
    ceil = node.attributes.get("ceil_mode")
    return ceil is not None and (ceil.is_ref() or ceil.as_int() != 0)


def _is_reworded(node: ir.Node, version: int) -> bool:
    if node.op_type in ("AveragePool", "LpPool", "MaxPool") and version > 10 and _rounds_up(node):
        # At the border windows were counted in another way.
        return False
    if version == 13 and node.op_type in SOFT:
        shape, axis = node.inputs[0].shape if node.inputs[0] is not None else None, node.attributes.get("axis")
        return shape is not None and axis is not None and axis.as_int() == len(shape) - 1
    if version == _NEGATIVE_SINCE and node.op_type in _COUNTED_FROM_THE_FRONT:
        axes = [node.attributes[name] for name in ("axis", "axes") if name in node.attributes]
        return all(n >= 0 for a in axes for n in (a.as_ints() if a.type is ir.AttributeType.INTS else [a.as_int()]))
    return version in _REWORDED.get(node.op_type, ())


def _is_default(node: ir.Node, name: str, schema: onnx.defs.OpSchema) -> bool:
    attribute = node.attributes[name]
    if attribute.is_ref() or name not in schema.attributes:
        return False
    default = schema.attributes[name].default_value
    if default.type == onnx.AttributeProto.UNDEFINED:
        return False
    given = ir.to_proto(attribute)
    return bool(onnx.helper.get_attribute_value(given) == onnx.helper.get_attribute_value(default))


def _lets_in(schema: onnx.defs.OpSchema, node: ir.Node) -> bool:
    """Whether the number of operands and their types are those of the definition."""
    if not schema.min_input <= len(node.inputs) <= schema.max_input:
        return False
    if sum(1 for output in node.outputs if output.uses() or output.is_graph_output()) > schema.max_output:
        return False
    if schema.max_output < len(node.outputs):
        return False
    for parameters, values in ((schema.inputs, node.inputs), (schema.outputs, node.outputs)):
        for index, value in enumerate(values):
            parameter = parameters[min(index, len(parameters) - 1)]
            if value is None and parameter.option == onnx.defs.OpSchema.FormalParameterOption.Single:
                return False
            if value is None or value.type is None:
                continue
            types = parameter.types
            if not isinstance(value.type, ir.TensorType) or type_string(value.type.dtype) not in types:
                return False
    return True


@cache
def _reads_the_same(newer: onnx.defs.OpSchema, older: onnx.defs.OpSchema) -> bool:
    return _words(newer) == _words(older)


def _words(schema: onnx.defs.OpSchema) -> tuple[object, ...]:
    """All of a definition but the types of tensors."""

    def plain(text: str | None) -> str:
        return re.sub(r"\s+", " ", text or "").strip()

    def parameters(found: object) -> tuple[object, ...]:
        return tuple((p.name, plain(p.description), p.option, p.is_homogeneous) for p in found)  # type: ignore[attr-defined]

    attributes = tuple(
        (name, a.type, plain(a.description), a.required, a.default_value.SerializeToString())
        for name, a in sorted(schema.attributes.items())
    )
    counts = (schema.min_input, schema.max_input, schema.min_output, schema.max_output)
    return plain(schema.doc), parameters(schema.inputs), parameters(schema.outputs), attributes, counts
