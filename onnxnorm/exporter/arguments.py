"""Arranges the example arguments of a module: flattened, named, and with their open axes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from onnxnorm.errors import OnnxNormError

__all__ = ["Arguments"]


class Arguments:
    """The example inputs of a module by the names of its parameters, and which of their axes stay open."""

    def __init__(
        self,
        module: torch.nn.Module,
        positional: tuple[Any, ...],
        named: dict[str, Any],
        dynamic_shapes: Mapping[str, Any] | Sequence[Any] | None,
    ) -> None:
        try:
            bound = inspect.signature(module.forward).bind(*positional, **named)
        except TypeError as error:
            taken = ", ".join(map(str, inspect.signature(module.forward).parameters.values())) or "nothing"
            raise OnnxNormError(
                f"{type(module).__name__} does not take these args: {error}; its forward takes {taken}"
            ) from None
        self.by_name: dict[str, Any] = dict(bound.arguments)
        self.positional, self.named = bound.args, bound.kwargs
        self.open_axes = self._by_name(dynamic_shapes)
        self._check_axes()

    def _by_name(self, dynamic_shapes: Mapping[str, Any] | Sequence[Any] | None) -> dict[str, Any] | None:
        names = list(self.by_name)
        if dynamic_shapes is None:
            return None
        if isinstance(dynamic_shapes, Mapping):
            unknown = [str(name) for name in dynamic_shapes if name not in names]
            if unknown:
                raise OnnxNormError(f"dynamic_shapes names {', '.join(unknown)}, but the inputs are {', '.join(names)}")
            return {name: dynamic_shapes.get(name) for name in names}
        if not isinstance(dynamic_shapes, Sequence) or isinstance(dynamic_shapes, str):
            raise OnnxNormError("dynamic_shapes must be a dictionary by input name or a sequence, one entry an input")
        if len(dynamic_shapes) > len(names):
            raise OnnxNormError(f"dynamic_shapes has {len(dynamic_shapes)} entries for {len(names)} inputs")
        return {name: dynamic_shapes[i] if i < len(dynamic_shapes) else None for i, name in enumerate(names)}

    def _check_axes(self) -> None:
        for name, value in self.by_name.items():
            for tensor, spec in _tensors(value, (self.open_axes or {}).get(name)):
                axes = spec if isinstance(spec, Mapping) else range(len(spec or ()))
                wrong = [axis for axis in axes if not isinstance(axis, int) or not 0 <= axis < tensor.ndim]
                if wrong:
                    raise OnnxNormError(
                        f"dynamic_shapes opens axis {wrong[0]!r} of {name}, which has shape {tuple(tensor.shape)}"
                    )

    def axis_names(self) -> list[dict[int, str]]:
        """Return, for each tensor among the inputs, in order, the names that the caller gave to its open axes."""
        specs = self.open_axes or {}
        return [_names_of(spec) for name, value in self.by_name.items() for _, spec in _tensors(value, specs.get(name))]

    def every_axis_name(self) -> list[dict[int, str]]:
        """Return the names of `axis_names`, with a name also for axes that the caller opened without one."""
        specs = self.open_axes or {}
        tensors = [entry for name, value in self.by_name.items() for entry in _tensors(value, specs.get(name))]
        names = self.tensor_names()
        return [
            _names_of(spec) | {axis: f"{name}_dim_{axis}" for axis in _open_without_name(spec)}
            for name, (_, spec) in zip(names, tensors, strict=True)
        ]

    def tensor_names(self) -> list[str]:
        """Return a name for each tensor among the inputs: that of its parameter, with a place where it holds
        several.
        """
        names = []
        for name, value in self.by_name.items():
            count = sum(1 for _ in _tensors(value, None))
            names += [name] if isinstance(value, torch.Tensor) else [f"{name}_{i}" for i in range(count)]
        return names


def _tensors(value: Any, spec: Any) -> Iterator[tuple[torch.Tensor, Any]]:
    """Yield the tensors among nested inputs, each with its part of dynamic_shapes."""
    if isinstance(value, torch.Tensor):
        if not isinstance(spec, (Mapping, list, tuple, type(None))):
            raise OnnxNormError(f"dynamic_shapes has {spec!r} where a dictionary from axis to name belongs")
        yield value, spec
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, spec.get(key) if isinstance(spec, Mapping) else None)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _tensors(item, spec[i] if isinstance(spec, (list, tuple)) and i < len(spec) else None)


def _names_of(spec: Any) -> dict[int, str]:
    entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec or ())
    names = {axis: dim if isinstance(dim, str) else getattr(dim, "__name__", None) for axis, dim in entries}
    return {axis: name for axis, name in names.items() if isinstance(axis, int) and name is not None}


def _open_without_name(spec: Any) -> list[int]:
    entries = spec.items() if isinstance(spec, Mapping) else enumerate(spec or ())
    hints = (torch.export.Dim.AUTO, torch.export.Dim.DYNAMIC)
    return [axis for axis, dim in entries if any(type(dim) is type(h) and dim.type == h.type for h in hints)]
