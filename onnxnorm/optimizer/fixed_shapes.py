"""Fixes extents of a model's inputs that its file leaves open, so that more can be told of what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.source import ModelLike
from onnxnorm.validate.choices import closest

__all__ = ["fix_shapes", "source_of"]


def source_of(model: ModelLike, shapes: Mapping[str, Sequence[int | str]] | None) -> ModelSource:
    """Open a model with inputs of these shapes; of those that are not named the shapes stay.

    Raises:
        OnnxNormError: a shape is for no input, or does not fit what the model says of it.
    """
    source = ModelSource(model)
    if not shapes:
        return source
    graph = source.graph()
    fix_shapes(graph, shapes, source.name)
    fixed = ModelSource(graph)
    fixed.name = source.name
    return fixed


def fix_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int | str]], name: str) -> None:
    """Give inputs these shapes, in place; a dimension that the model names has its extent wherever the name stands.

    Args:
        model: the model.
        shapes: for an input a number or a name for each axis.
        name: what errors call the model.

    Raises:
        OnnxNormError: a shape is for no input, or does not fit what the model says of it.
    """
    if not isinstance(shapes, Mapping):
        raise OnnxNormError(f'fix_shapes is a dictionary, such as {{"x": (1, 3, 224, 224)}}, not a {_kind(shapes)}')
    inputs = {value.name or "": value for value in model.graph.inputs if not value.is_initializer()}
    known: dict[str, int | str] = {}
    for wanted, dims in shapes.items():
        value = inputs.get(wanted)
        if value is None:
            listed = ", ".join(repr(each) for each in inputs)
            raise OnnxNormError(f"{name}: there is no input {wanted!r}{closest(wanted, inputs)}; there are: {listed}")
        if isinstance(dims, str) or not isinstance(dims, Iterable) or not all(map(_is_extent, dims)):
            raise OnnxNormError(
                f"{name}: the shape of input {wanted!r} is {dims!r}; it is a number or a name for each axis"
            )
        told = ",".join(map(str, dims))
        present = value.shape
        if present is not None and len(present) != len(dims):
            raise OnnxNormError(
                f"{name}: input {wanted!r} has {len(present)} axes, and the shape {told} has {len(dims)}"
            )
        for axis, (old, new) in enumerate(zip(present or (), dims, strict=False)):
            text = old if isinstance(old, int) else old.value
            if isinstance(text, int) and text != new:
                raise OnnxNormError(f"{name}: input {wanted!r} has the extent {text} along axis {axis}, not {new}")
            if isinstance(text, str) and known.setdefault(text, new) != new:
                raise OnnxNormError(f"{name}: the dimension {text!r} would have two extents, {known[text]} and {new}")
        value.shape = ir.Shape(list(dims))
    for value in (*model.graph.inputs, *model.graph.outputs, *_made_in(model.graph)):
        if value.shape is not None and any(not isinstance(dim, int) and dim.value in known for dim in value.shape):
            old_dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
            value.shape = ir.Shape([known.get(dim, dim) if isinstance(dim, str) else dim for dim in old_dims])


def _is_extent(dim: object) -> bool:
    """Whether it is a number of elements, or a name of one."""
    return (isinstance(dim, int) and dim >= 0) or (isinstance(dim, str) and dim != "")


def _kind(value: object) -> str:
    return type(value).__name__


def _made_in(graph: ir.Graph) -> list[ir.Value]:
    return [output for node in graph.all_nodes() for output in node.outputs]
