"""Takes networks that PyTorch has traced already: an `ExportedProgram`, a `.pt2` file that holds one."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree

from onnxnorm.errors import OnnxNormError, first_line
from onnxnorm.files.foreign_formats import foreign_format

__all__ = ["is_program", "load_program", "module_of", "open_axes_of"]


def is_program(given: object) -> bool:
    """Whether this is a traced program, or the path of one."""
    return isinstance(given, (torch.export.ExportedProgram, str, os.PathLike))


def load_program(given: torch.export.ExportedProgram | str | os.PathLike[str]) -> torch.export.ExportedProgram:
    """Return the program, read from its file where a path is given.

    Raises:
        OnnxNormError: the file is missing or holds no program.
    """
    if isinstance(given, torch.export.ExportedProgram):
        return given
    path = Path(given)
    if not path.is_file():
        raise OnnxNormError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):
        # PyTorch would tell of it at length.
        what = foreign_format(path)
        raise OnnxNormError(
            f"{path}: is no program that torch.export.save wrote{f' but {what}' if what else ''}; export takes a "
            "torch.nn.Module or such a program, and `optimize` a model that is exported already"
        )
    try:
        return torch.export.load(path)
    except Exception as error:
        raise OnnxNormError(
            f"{path}: is no program that torch.export.save wrote ({first_line(error)}); weights alone have no network: "
            "export the torch module that they belong to"
        ) from error


def module_of(program: torch.export.ExportedProgram) -> torch.nn.Module:
    """Return the program as a module that runs, in evaluation mode; what it computes was fixed when it was traced."""
    module = program.module()
    for part in module.modules():
        part.training = False
    return module


def open_axes_of(program: torch.export.ExportedProgram) -> list[Any]:
    """Return, for each example input, which of its axes the program leaves open."""
    shapes = {
        node.name: node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
    }
    names = list(program.graph_signature.user_inputs)
    positional, named = program.example_inputs or ((), {})
    leaves, spec = _pytree.tree_flatten((positional, named))
    opened: list[Any] = []
    for name, leaf in zip(names, leaves, strict=True):
        shape = shapes.get(str(name), ()) if isinstance(leaf, torch.Tensor) else ()
        axes = {axis: torch.export.Dim.DYNAMIC for axis, extent in enumerate(shape) if not isinstance(extent, int)}
        opened.append(axes or None)
    by_place, by_name = _pytree.tree_unflatten(opened, spec)
    return [*by_place, *by_name.values()]
