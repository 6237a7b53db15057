"""Finds the torch module that `package.module:attribute` or `path/to/script.py:attribute` means."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.files.foreign_formats import Family, foreign_format
from onnxnorm.validate.choices import closest

__all__ = ["Target", "load_target"]


@dataclass(frozen=True)
class Target:
    """The target of an export.

    Attributes:
        module: the torch module, not yet in evaluation mode, or a traced program.
        example_inputs: its example inputs, where the target brings some.
        dynamic_shapes: its dynamic shapes, where the target brings some.
    """

    module: Any
    example_inputs: tuple[Any, ...] | None
    dynamic_shapes: Any

    @property
    def is_program(self) -> bool:
        """Whether it is a traced program, which brings its own inputs."""
        return self.module is not None and not hasattr(self.module, "eval")


def load_target(spec: str) -> Target:
    """Import and build what `spec` names.

    `package.module:name`, or `path/to/script.py:name`, may name, through dots and keys of mappings, a torch module, a
    class or function that gives one when it is called without arguments, or an object with the methods `build()` and
    `example_inputs()` (and, where it likes, `dynamic_shapes`). A name that the module lacks is looked up in its
    mapping `MODELS`. A path that ends in `.pt2` is a program that `torch.export.save` wrote.

    Raises:
        UsageError: nothing of that name, or no torch module; an error inside the imported code, with its place;
            PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError('export needs PyTorch: pip install "onnxnorm[torch]"') from error
    if spec.endswith(".pt2"):
        from onnxnorm.exporter.programs import load_program

        return Target(load_program(spec), None, None)
    module_name, colon, path = spec.rpartition(":")
    if spec.endswith(".py"):
        raise UsageError(f"{spec!r} names no model: write {spec}:factory, the class or function that makes it")
    if not colon or not module_name or not path:
        found = foreign_format(Path(spec))
        if found is not None and found.family is Family.CHECKPOINT:
            raise UsageError(
                f"{spec}: a PyTorch checkpoint has weights and no network: write path/to/script.py:factory --weights "
                f"{spec}"
            )
        if spec.endswith(".onnx"):
            raise UsageError(f"{spec}: is an ONNX model already; `onnxnorm optimize {spec} OUT` takes it from there")
        raise UsageError(f"{spec!r} names no model: write package.module:factory or path/to/script.py:factory")
    holder = _script(spec, Path(module_name)) if module_name.endswith(".py") else _package(spec, module_name)
    return _build(spec, _look_up(spec, holder, path))


def _package(spec: str, module_name: str) -> Any:
    if "" not in sys.path:
        # The folder one stands in, as `python -m` has it: a console script starts with its own folder instead.
        sys.path.insert(0, "")
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            file = Path(module_name.replace(".", os.sep) + ".py")
            script = f"; for a script write {file}:..." if file.is_file() else ""
            raise UsageError(
                f"{spec}: no module {error.name!r} here or among the installed packages{script}"
            ) from error
        raise _in_user_code(spec, error) from error
    except Exception as error:
        raise _in_user_code(spec, error) from error


def _script(spec: str, path: Path) -> Any:
    """Run a file as a module of its own; what lies beside it can be imported, as where it is run as a script."""
    if not path.is_file():
        raise UsageError(f"{spec}: there is no file {str(path)!r}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = path.stem if path.stem not in sys.modules else f"script_{path.stem}"
    try:
        found = importlib.util.spec_from_file_location(name, path)
        assert found is not None and found.loader is not None
        module = importlib.util.module_from_spec(found)
        # Classes of the script are found by the name of their module, such as by pickle.
        sys.modules[name] = module
        found.loader.exec_module(module)
        return module
    except Exception as error:
        sys.modules.pop(name, None)
        raise _in_user_code(spec, error) from error


def _look_up(spec: str, holder: Any, path: str) -> Any:
    found = holder
    for step in path.split("."):
        missing = object()
        below = found.get(step, missing) if isinstance(found, Mapping) else getattr(found, step, missing)
        if (below is missing or isinstance(below, ModuleType)) and found is holder:
            models = getattr(holder, "MODELS", None)
            below = models.get(step, below) if isinstance(models, Mapping) else below
        if below is missing:
            raise UsageError(f"{spec}: {_shown(found)} has no {step!r}{closest(step, dir(found))}{_choices(found)}")
        found = below
    return found


def _build(spec: str, found: Any) -> Target:
    import torch

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
        told = _in_user_code(spec, error)
        if isinstance(error, TypeError) and "required" in str(error) and "argument" in str(error):
            raise UsageError(f"{told}; it is called without arguments: name a function that makes the model") from error
        raise told from error


def _in_user_code(spec: str, error: Exception) -> UsageError:
    # The last line that is the user's own: what is installed was called wrongly, and we only call.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "site-packages" not in frame.filename and Path(frame.filename).is_file()
    ]
    place = f" ({os.path.relpath(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({os.path.relpath(error.filename)}:{error.lineno})"
    return UsageError(f"{spec}: {type(error).__name__}: {error}{place}")


def _shown(found: Any) -> str:
    return f"module {found.__name__}" if isinstance(found, ModuleType) else f"the {type(found).__name__}"


def _choices(found: Any) -> str:
    names = found if isinstance(found, Mapping) else getattr(found, "MODELS", None)
    return f"; it offers {', '.join(map(str, names))}" if isinstance(names, Mapping) else ""
