"""Finds the torch module that `package.module:attribute` means."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from onnxnorm.cli.exit_codes import UsageError

__all__ = ["Target", "load_target"]


@dataclass(frozen=True)
class Target:
    """The target of an export.

    Attributes:
        module: the torch module, not yet in evaluation mode.
        example_inputs: its example inputs, where the target brings some.
        dynamic_shapes: its dynamic shapes, where the target brings some.
    """

    module: Any
    example_inputs: tuple[Any, ...] | None
    dynamic_shapes: Any


def load_target(spec: str) -> Target:
    """Import and build what `spec` names.

    `package.module:name` may name, through dots and keys of mappings, a torch module, a class or function that gives
    one when it is called without arguments, or an object with the methods `build()` and `example_inputs()` (and,
    where it likes, `dynamic_shapes`). A name that the module lacks is looked up in its mapping `MODELS`.

    Raises:
        UsageError: nothing of that name, or no torch module; an error inside the imported code, with its place.
    """
    module_name, colon, path = spec.partition(":")
    if not colon or not module_name or not path:
        raise UsageError(f"{spec!r} names no model: write package.module:factory")
    if "" not in sys.path:
        # The folder one stands in, as `python -m` has it: a console script starts with its own folder instead.
        sys.path.insert(0, "")
    try:
        holder: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(f"{spec}: no module {error.name!r} here or among the installed packages") from error
        raise _in_user_code(spec, error) from error
    except Exception as error:
        raise _in_user_code(spec, error) from error
    return _build(spec, _look_up(spec, holder, path))


def _look_up(spec: str, holder: Any, path: str) -> Any:
    found = holder
    for step in path.split("."):
        missing = object()
        below = found.get(step, missing) if isinstance(found, Mapping) else getattr(found, step, missing)
        if (below is missing or isinstance(below, ModuleType)) and found is holder:
            models = getattr(holder, "MODELS", None)
            below = models.get(step, below) if isinstance(models, Mapping) else below
        if below is missing:
            raise UsageError(f"{spec}: {_shown(found)} has no {step!r}{_choices(found)}")
        found = below
    return found


def _build(spec: str, found: Any) -> Target:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UsageError('export needs PyTorch: pip install "onnxnorm[torch]"') from error

    examples: tuple[Any, ...] | None = None
    dynamic_shapes: Any = None
    if callable(getattr(found, "build", None)) and callable(getattr(found, "example_inputs", None)):
        module = _call(spec, found.build)
        inputs = _call(spec, found.example_inputs)
        examples = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        dynamic_shapes = getattr(found, "dynamic_shapes", None)
        if callable(dynamic_shapes):
            dynamic_shapes = _call(spec, dynamic_shapes)
    elif isinstance(found, torch.nn.Module):
        module = found
    elif callable(found):
        module = _call(spec, found)
    else:
        module = found
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{spec} gives an object of type {type(module).__name__}, no torch.nn.Module")
    return Target(module, examples, dynamic_shapes)


def _call(spec: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except Exception as error:
        raise _in_user_code(spec, error) from error


def _in_user_code(spec: str, error: Exception) -> UsageError:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.relpath(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({os.path.relpath(error.filename)}:{error.lineno})"
    return UsageError(f"{spec}: {type(error).__name__}: {error}{place}")


def _shown(found: Any) -> str:
    return f"module {found.__name__}" if isinstance(found, ModuleType) else f"the {type(found).__name__}"


def _choices(found: Any) -> str:
    names = found if isinstance(found, Mapping) else getattr(found, "MODELS", None)
    return f"; it offers {', '.join(map(str, names))}" if isinstance(names, Mapping) else ""
