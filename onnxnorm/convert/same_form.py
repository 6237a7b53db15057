"""Tells from ONNX's definitions whether a node means the same at another opset, and leaves out what that one lacks.

Between two versions of an operator mostly nothing but types of tensors or attributes with a default came or went. Then
the node stays as it is, whatever the words of the two definitions. Where the meaning changed although the definition
lets the node in, `onnxnorm.convert.changes` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import onnx
import onnx_ir as ir

from onnxnorm.model.definitions import types_of
from onnxnorm.model.dtypes import type_string

__all__ = ["fits", "says_more", "schema_of", "version_at", "versions_between"]

_SINGLE = onnx.defs.OpSchema.FormalParameterOption.Single
# What an attribute had to be so that a later definition, which has it no more, says the same.
_GONE = {("BatchNormalization", "is_test"): 1, ("Dropout", "is_test"): 1}
# Attributes without a default that say what is so without them where all their numbers are these.
_NEUTRAL = {"dilations": 1}
# Of attributes whose values are words: those that came later than the attribute and that runtimes do not know before.
_LATE_WORDS = {("GridSample", "mode", b"linear"): 20, ("GridSample", "mode", b"cubic"): 20}
# Those that a later opset has no more.
_GONE_WORDS = {
    ("GridSample", "mode", b"bilinear"): 20,
    ("GridSample", "mode", b"bicubic"): 20,
    ("Resize", "coordinate_transformation_mode", b"tf_half_pixel_for_nn"): 13,
}


@cache
def schema_of(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    """Return the definition that holds at `opset`; None where there is none, or a deprecated one."""
    try:
        schema = onnx.defs.get_schema(op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


@cache
def version_at(op_type: str, opset: int) -> int | None:
    """Return the version of the definition that holds at `opset`, a deprecated one too; None where there is none."""
    try:
        return onnx.defs.get_schema(op_type, opset, "").since_version
    except onnx.defs.SchemaError:
        return None


@cache
def versions_between(op_type: str, low: int, high: int) -> tuple[int, ...]:
    """Return the versions of an operator above `low`, up to `high`, in order."""
    found, schema_at = [], high
    while schema_at > low:
        version = version_at(op_type, schema_at)
        if version is None or version <= low:
            break
        found.append(version)
        schema_at = version - 1
    return tuple(reversed(found))


def says_more(node: ir.Node, own: int, opset: int) -> bool:
    """Tell whether the node has operands, results or attributes for which its definition at `opset` has no place."""
    now, then = schema_of(node.op_type, own), schema_of(node.op_type, opset)
    if now is None or then is None:
        return False
    return (
        _count(node.inputs) > then.max_input
        or _count(node.outputs) > then.max_output
        or any(name not in then.attributes and not _may_go(node, name, now) for name in node.attributes)
    )


def fits(node: ir.Node, own: int, opset: int) -> bool:
    """Make the attributes of `node` those of its definition at `opset`; tell whether it then means the same there.

    Attributes that the definition lacks are left out where they are at their default; a default that differs is
    written down.
    """
    now, then = schema_of(node.op_type, own), schema_of(node.op_type, opset)
    if then is None or not _lets_in(then, node):
        return False
    needless, missing = [], {}
    for name, attribute in node.attributes.items():
        if name not in then.attributes:
            if not _may_go(node, name, now):
                return False
            needless.append(name)
        elif int(attribute.type) != int(cast(Any, then.attributes[name].type).value):
            return False
        elif not attribute.is_ref() and attribute.type is ir.AttributeType.STRING:
            key = (node.op_type, name, attribute.as_string().encode())
            if _LATE_WORDS.get(key, 0) > opset or opset >= _GONE_WORDS.get(key, 99):
                return False
    for name, wanted in then.attributes.items():
        if name in node.attributes:
            continue
        old = now.attributes[name].default_value if now is not None and name in now.attributes else None
        if old is not None and old.type != onnx.AttributeProto.UNDEFINED:
            if old != wanted.default_value:
                missing[name] = old
        elif wanted.required:
            return False
    for name in needless:
        del node.attributes[name]
    for name, default in missing.items():
        node.attributes[name] = ir.serde.deserialize_attribute(default)
    return True


def _may_go(node: ir.Node, name: str, schema: onnx.defs.OpSchema | None) -> bool:
    """Whether the node means the same without an attribute."""
    attribute = node.attributes[name]
    if name == "consumed_inputs":
        # It told a runtime of long ago what it may overwrite.
        return True
    if attribute.is_ref() or schema is None or name not in schema.attributes:
        return False
    if (node.op_type, name) in _GONE:
        return attribute.as_int() == _GONE[node.op_type, name]
    if name in _NEUTRAL and attribute.type is ir.AttributeType.INTS:
        return all(number == _NEUTRAL[name] for number in attribute.as_ints())
    default = schema.attributes[name].default_value
    if default.type == onnx.AttributeProto.UNDEFINED:
        return False
    given = ir.to_proto(attribute)
    return bool(onnx.helper.get_attribute_value(given) == onnx.helper.get_attribute_value(default))


def _count(values: Sequence[ir.Value | None]) -> int:
    """Count the values up to the last one that is not left out."""
    return max((index + 1 for index, value in enumerate(values) if value is not None and value.name), default=0)


def _lets_in(schema: onnx.defs.OpSchema, node: ir.Node) -> bool:
    """Whether the number of operands and results and their types are those of the definition."""
    inputs, outputs = node.inputs[: _count(node.inputs)], node.outputs[: _count(node.outputs)]
    if not schema.min_input <= len(inputs) <= schema.max_input or len(outputs) > schema.max_output:
        return False
    bound: dict[str, str] = {}
    for parameters, values in ((schema.inputs, inputs), (schema.outputs, outputs)):
        for index, value in enumerate(values):
            parameter = parameters[min(index, len(parameters) - 1)]
            if value is None:
                if parameter.option == _SINGLE:
                    return False
            elif value.type is not None and (kind := _type_of(value.type)):
                if kind not in types_of(schema, parameter):
                    return False
                # All operands and results under one name of a type have the same one.
                if parameter.is_homogeneous and bound.setdefault(parameter.type_str, kind) != kind:
                    return False
    if node.op_type in ("Cast", "CastLike", "Constant"):
        # What they make is told by an attribute, whether or not types were inferred.
        to = node.attributes.get("to")
        if to is not None and not to.is_ref() and to.type is ir.AttributeType.INT:
            return type_string(ir.DataType(to.as_int())) in types_of(schema, schema.outputs[0])
    return True


def _type_of(type_: ir.TypeProtocol) -> str | None:
    """Return the type as definitions name it; None where an element type is not known."""
    if isinstance(type_, ir.TensorType):
        return None if type_.dtype is ir.DataType.UNDEFINED else type_string(type_.dtype)
    for kind, word in ((ir.SequenceType, "seq"), (ir.OptionalType, "optional")):
        if isinstance(type_, kind):
            inner = _type_of(type_.elem_type)
            return None if inner is None else f"{word}({inner})"
    return None
