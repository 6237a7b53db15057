"""Compares the signatures that two models show to a caller: names, types and shapes of inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.random_samples import Draw, Ways
from onnxnorm.runtime.unoptimized import LEVELS, open_session
from onnxnorm.verification.drawn_samples import DrawnSample
from onnxnorm.verification.runs import Outputs, run_once
from onnxnorm.verification.survivable import unguarded_nodes

__all__ = ["as_a_run_shows", "as_onnxruntime_sees", "difference"]

_REAL = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
)


def difference(original: onnx.ModelProto, result: onnx.ModelProto, *, any_real: bool = False) -> str | None:
    """Give the reason why a caller of the original cannot call the result in its place, or None.

    Inputs that are initializers as well may come or go: no caller needs to give them. With `any_real` one type of real
    numbers is as good as another.
    """
    for what, before, after in (
        ("inputs", _inputs(original), _inputs(result)),
        ("outputs", list(original.graph.output), list(result.graph.output)),
    ):
        names, other = [v.name for v in before], [v.name for v in after]
        if names != other:
            return f"the {what} are {other}, the original's {names}"
        for old, new in zip(before, after, strict=True):
            problem = _type_difference(old.type, new.type, fixed_allowed=what == "outputs", any_real=any_real)
            if problem is not None:
                return f"{what[:-1]} {old.name!r} {problem}"
    return None


def as_onnxruntime_sees(
    original: onnx.ModelProto, result: onnx.ModelProto, options: Any = None
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return both without their nodes, and with the types and shapes of inputs and outputs that onnxruntime finds.

    What a model says of its outputs may be out of date, which onnxruntime forgives.

    Raises:
        OnnxNormError: it does not even load the original: then nobody can call anything in its place.
    """
    faces = []
    for model in (original, result):
        errors = {}
        for level in LEVELS:
            try:
                faces.append(_face(model, open_session(model, level, options)))
                break
            except OnnxNormError as error:
                errors[str(error)] = level
        else:
            if model is original:
                raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}")
            faces.append(result)
    return faces[0], faces[1]


def as_a_run_shows(
    original: onnx.ModelProto, face: onnx.ModelProto, draws: Callable[[], Iterable[Draw]], options: Any = None
) -> onnx.ModelProto:
    """Return the face of the original with free extents of the true rank where a run contradicts what it declares.

    Args:
        original: the model with its nodes.
        face: its inputs and outputs, as onnxruntime finds them.
        draws: gives ways to fill the inputs; the first that the original takes is run.
        options: the caller's for sessions.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(face)
    outputs = _first_outputs(original, draws, options)
    for value in shown.graph.output:
        found, tensor = outputs.get(value.name), value.type.tensor_type
        if isinstance(found, np.ndarray) and tensor.HasField("shape") and not _fits(found.shape, tensor.shape):
            free: list[None] = [None] * found.ndim
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, tensor.elem_type, free))
    return shown


def _first_outputs(model: onnx.ModelProto, draws: Callable[[], Iterable[Draw]], options: Any) -> Outputs:
    """Return the outputs for the first inputs that the model takes; none where it takes none or may end the process."""
    if unguarded_nodes(model):
        return {}
    for level in LEVELS:
        try:
            opened = open_session(model, level, options)
        except OnnxNormError:
            continue
        accepted = DrawnSample(Ways(draws, optional=True)).first_run(partial(run_once, opened))
        if accepted is not None:
            return accepted[1]
    return {}


def _fits(shape: tuple[int, ...], declared: onnx.TensorShapeProto) -> bool:
    sizes = _dims(declared)
    return len(shape) == len(sizes) and all(
        not isinstance(size, int) or size == extent for extent, size in zip(shape, sizes, strict=True)
    )


def _face(model: onnx.ModelProto, opened: Any) -> onnx.ModelProto:
    face = onnx.ModelProto()
    for ours, theirs, found in (
        (model.graph.input, face.graph.input, opened.get_inputs()),
        (model.graph.output, face.graph.output, opened.get_outputs()),
    ):
        shapes = {value.name: value.shape for value in found}
        for value in ours:
            new = theirs.add()
            new.CopyFrom(value)
            if value.name in shapes and value.type.HasField("tensor_type"):
                element = value.type.tensor_type.elem_type
                # An empty list stands for a scalar and for what is not known.
                new.CopyFrom(onnx.helper.make_tensor_value_info(value.name, element, shapes[value.name] or None))
    face.graph.initializer.extend(onnx.TensorProto(name=tensor.name) for tensor in model.graph.initializer)
    return face


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _type_difference(old: onnx.TypeProto, new: onnx.TypeProto, *, fixed_allowed: bool, any_real: bool) -> str | None:
    if not old.WhichOneof("value") or not new.WhichOneof("value"):
        return None
    if old.WhichOneof("value") != new.WhichOneof("value"):
        return f"is a {new.WhichOneof('value')}, the original's a {old.WhichOneof('value')}"
    if not old.HasField("tensor_type"):
        return None
    before, after = old.tensor_type, new.tensor_type
    alike = before.elem_type == after.elem_type or (any_real and {before.elem_type, after.elem_type} <= _REAL)
    if before.elem_type and after.elem_type and not alike:
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
