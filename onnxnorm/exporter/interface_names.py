"""Gives the inputs and outputs of a model the names that a caller wants for them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxnorm.errors import OnnxNormError

__all__ = ["rename"]


def rename(model: ir.Model, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> None:
    """Rename the inputs and outputs of the model, in order, in place.

    Raises:
        OnnxNormError: there is another number of them, or a name is taken.
    """
    for what, values, names in (("input", model.graph.inputs, inputs), ("output", model.graph.outputs, outputs)):
        if names is None:
            continue
        if len(names) != len(values):
            own = ", ".join(repr(value.name) for value in values)
            raise OnnxNormError(
                f"{what}_names has {len(names)} names for the {len(values)} {what}s of the model ({own})"
            )
        others = _names_but(model, {id(value) for value in values})
        for name in names:
            if not name or name in others:
                raise OnnxNormError(f"{what}_names: the name {name!r} is {'taken' if name else 'empty'}")
            others.add(name)
        for value, name in zip(values, names, strict=True):
            value.name = name


def _names_but(model: ir.Model, those: set[int]) -> set[str]:
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [output for node in model.graph.all_nodes() for output in node.outputs]
    return {value.name for value in values if value.name and id(value) not in those}
