"""Runs a model on every file of a folder, one after another."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.pictures import SUFFIXES, Favoured, favoured, read_labels
from onnxnorm.cli.tensor_files import split_name

if TYPE_CHECKING:
    from onnxnorm.runtime.inputs import InputSpec

__all__ = ["folder_among", "run_folder"]

_TOP = 5


@dataclass(frozen=True)
class _File:
    """The outcome for one file."""

    file: str
    favoured: tuple[Favoured, ...]


def folder_among(inputs: Sequence[str], names: Sequence[str]) -> tuple[str, Path] | None:
    """Return the input for which a folder is given, and the folder; None where every input is a file."""
    for text in inputs:
        name, path = split_name(text, names)
        if Path(path).is_dir():
            return name, Path(path)
    return None


def run_folder(arguments: argparse.Namespace, session: Any, specs: Sequence[InputSpec], name: str, folder: Path) -> int:
    """Run the model on each picture and array of the folder, and print what it favours; return the exit code.

    Raises:
        OnnxNormError: there is none, or one cannot be read or run.
    """
    from onnxnorm.cli.feeds import candidate_feeds
    from onnxnorm.cli.tables import Table, print_json, print_table
    from onnxnorm.runtime.turns import first_accepted

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (*SUFFIXES, ".npy"))
    if not files:
        raise UsageError(f"{folder}: holds no picture and no .npy file")
    if arguments.output is not None:
        raise UsageError("--output takes the outputs of one run, not those of a folder")
    labels, outputs = read_labels(arguments.labels), [entry.name for entry in session.get_outputs()]
    others = [text for text in arguments.input if split_name(text, [spec.name for spec in specs])[0] != name]
    done: list[_File] = []
    for path in files:
        one = copy.copy(arguments)
        one.input = [*others, f"{name}:{path}"]
        values = first_accepted([(f"{arguments.model} on {path}", session)], candidate_feeds(one, specs)).outputs
        done.append(_File(str(path), favoured(dict(zip(outputs, values, strict=True)), arguments.top or _TOP, labels)))
    if arguments.json:
        print_json({"model": arguments.model, "files": done})
        return 0
    print_table(
        Table.of("file output favoured", [(f.file, each.output, str(each)) for f in done for each in f.favoured])
    )
    return 0
