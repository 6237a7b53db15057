"""The face that two models show to a caller: names, types and shapes of inputs and outputs."""

from __future__ import annotations

from typing import Any

import onnx

__all__ = ["difference"]


def difference(original: onnx.ModelProto, result: onnx.ModelProto) -> str | None:
    """Why a caller of the original cannot call the result in its place, or None.

    Inputs that are initializers as well may come or go: no caller needs to give them.
    """
    for what, before, after in (
        ("inputs", _inputs(original), _inputs(result)),
        ("outputs", list(original.graph.output), list(result.graph.output)),
    ):
        names, other = [v.name for v in before], [v.name for v in after]
        if names != other:
            return f"the {what} are {other}, the original's {names}"
        for old, new in zip(before, after, strict=True):
            problem = _type_difference(old.type, new.type, fixed_allowed=what == "outputs")
            if problem is not None:
                return f"{what[:-1]} {old.name!r} {problem}"
    return None


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _type_difference(old: onnx.TypeProto, new: onnx.TypeProto, *, fixed_allowed: bool) -> str | None:
    if not old.WhichOneof("value") or not new.WhichOneof("value"):
        return None
    if old.WhichOneof("value") != new.WhichOneof("value"):
        return f"is a {new.WhichOneof('value')}, the original's a {old.WhichOneof('value')}"
    if not old.HasField("tensor_type"):
        return None
    before, after = old.tensor_type, new.tensor_type
    if before.elem_type and after.elem_type and before.elem_type != after.elem_type:
        name = onnx.TensorProto.DataType.Name
        return f"has the type {name(after.elem_type)}, the original's {name(before.elem_type)}"
    if not before.HasField("shape") or not after.HasField("shape"):
        return None
    one, two = _dims(before.shape), _dims(after.shape)
    if len(one) != len(two):
        return f"has rank {len(two)}, the original's {len(one)}"
    for axis, (size, other) in enumerate(zip(one, two, strict=True)):
        if isinstance(other, int) and size != other and (isinstance(size, int) or not fixed_allowed):
            was = size if isinstance(size, int) else "is free"
            return f"has the size {other} along axis {axis}, the original's {was}"
    return None


def _dims(shape: Any) -> list[int | str]:
    # A negative extent is an unknown one to runtimes.
    return [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param for d in shape.dim]
