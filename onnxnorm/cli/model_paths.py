"""Finds the models that the inputs of a command mean: one model, or those of folders, patterns and lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["is_batch", "models_in", "models_of"]


def is_batch(inputs: Sequence[str]) -> bool:
    """Whether the inputs are anything else than one file."""
    return len(inputs) > 1 or Path(inputs[0]).is_dir() or _is_pattern(inputs[0])


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not Path(text).exists()


def models_in(text: str, output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield models with their paths relative to what was asked for; those that are results themselves are left out."""
    path = Path(text)
    if path.is_dir():
        base, paths = path, sorted(path.rglob("*.onnx"))
    elif _is_pattern(text):
        fixed = Path(*_before_magic(path.parts))
        base, paths = fixed, sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207 - patterns may be absolute
    else:
        base, paths = path.parent, [path]
    inside = output != Path(os.path.realpath(base))
    for each in paths:
        if each.is_dir() or (inside and Path(os.path.realpath(each)).is_relative_to(output)):
            continue
        yield each.relative_to(base), each


def models_of(inputs: Sequence[str]) -> list[Path]:
    """Return the models that are named, each once, in order."""
    nowhere = Path(os.devnull)
    return list(dict.fromkeys(path for text in inputs for _, path in models_in(text, nowhere)))


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts[:-1]:
        if glob.has_magic(part):
            return
        yield part
