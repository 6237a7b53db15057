"""The IR version that a model needs: that of its opsets, and of what it holds."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from onnxnorm.model.walk import graphs_of

__all__ = ["ir_version_for", "lower_ir_version"]

_D = ir.DataType
# The IR version that brought a type of elements.
_TYPES = {
    **dict.fromkeys((_D.FLOAT8E4M3FN, _D.FLOAT8E4M3FNUZ, _D.FLOAT8E5M2, _D.FLOAT8E5M2FNUZ), 9),
    **dict.fromkeys((_D.INT4, _D.UINT4), 10),
    _D.FLOAT4E2M1: 11,
    _D.FLOAT8E8M0: 12,
    **dict.fromkeys((_D.INT2, _D.UINT2), 13),
}
_FUNCTIONS, _OVERLOADS, _DEVICES, _LOOSE_INITIALIZERS, _SPARSE, _OPTIONAL = 8, 10, 11, 4, 6, 8


def ir_version_for(model: ir.Model) -> int:
    """Return the least IR version that lets in the model as it is."""
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.graph.opset_imports.items()]
    return max(onnx.helper.find_min_ir_version_for(opsets, True), *_needed(model))


def lower_ir_version(model: ir.Model) -> None:
    """Give the model the least IR version that its contents need, so that older runtimes read it.

    Below 4 every initializer is an input that nobody may override, which would be another model.
    """
    opset = model.graph.opset_imports.get("", 1)
    if (model.ir_version or 0) > _LOOSE_INITIALIZERS and opset <= onnx.defs.onnx_opset_version():
        model.ir_version = min(model.ir_version or 0, max(_LOOSE_INITIALIZERS, ir_version_for(model)))


def _needed(model: ir.Model) -> Iterator[int]:
    yield 3
    if model.functions:
        yield _OVERLOADS if any(function.overload for function in model.functions.values()) else _FUNCTIONS
    for graph in graphs_of(model):
        inputs = set(graph.inputs)
        if any(value not in inputs for value in graph.initializers.values()):
            yield _LOOSE_INITIALIZERS
        for value in (*graph.inputs, *graph.initializers.values(), *graph.outputs):
            yield _of_type(value.type)
        for node in graph:
            if node.overload:
                yield _OVERLOADS
            if getattr(node, "device_configurations", None):
                yield _DEVICES
            for output in node.outputs:
                yield _of_type(output.type)
            for attribute in node.attributes.values():
                if attribute.type is ir.AttributeType.SPARSE_TENSOR:
                    yield _SPARSE
                elif attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield _TYPES.get(attribute.as_tensor().dtype, 3)


def _of_type(kind: ir.TypeProtocol | None) -> int:
    if isinstance(kind, ir.OptionalType):
        return _OPTIONAL
    if isinstance(kind, ir.SequenceType):
        return _of_type(kind.elem_type)
    return 3 if kind is None else _TYPES.get(kind.dtype, 3)
