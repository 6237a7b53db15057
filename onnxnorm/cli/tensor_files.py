"""Reads numbers, shapes and arrays of the command line: `name:1,3,224,224`, `name:file.npy` and .npz files."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.files.foreign_formats import Family, foreign_format
from onnxnorm.files.similar_names import similar_name

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ShapeOption",
    "add_inputs_options",
    "add_sample_options",
    "fixed_shape",
    "growth",
    "listed",
    "positive",
    "read_npy",
    "read_npz",
    "shape_option",
    "shapes_by_name",
    "size",
    "split_name",
    "why",
    "write_npz",
]


_WRITERS = {"npy": "save", "npz": "savez"}


def add_sample_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for what a command verifies with: `arrays`, `inputs` and `shape` of its arguments."""
    parser.add_argument(
        "--input",
        dest="arrays",
        action="append",
        default=[],
        metavar="name:x.npy",
        help="verify with this array for the input, may be given several times; by default inputs are random",
    )
    add_inputs_options(parser, "verify")


def add_inputs_options(parser: argparse.ArgumentParser, does: str) -> None:
    """Add the options for what all inputs are; `does` is what the command does with them, for its help."""
    parser.add_argument("--inputs", metavar="x.npz", help=f"{does} with these arrays, by the inputs' names")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape_option,
        metavar="name:1,3,224,224",
        help=f"{does} with this shape of a random input (without the name where the model has one input)",
    )


@dataclass(frozen=True)
class ShapeOption:
    """A shape as given on the command line: for the input `name`, or for the only input where the name is None."""

    name: str | None
    dims: tuple[int, ...]

    def __str__(self) -> str:
        dims = ",".join(map(str, self.dims))
        return dims if self.name is None else f"{self.name}:{dims}"


def shape_option(text: str) -> ShapeOption:
    """Read `1,3,224,224` or `name:1,3,224,224`; a name may hold colons of its own."""
    name, colon, dims = text.rpartition(":")
    try:
        numbers = tuple(int(part) for part in dims.split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0 or (colon and not name):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape: write 1,3,224,224 or name:1,3,224,224")
    return ShapeOption(name or None, numbers)


def fixed_shape(text: str) -> tuple[str, tuple[int | str, ...]]:
    """Read `name:1,3,224,224`, in which a dimension may be a name; the name may hold colons of its own."""
    name, _, dims = text.rpartition(":")
    parts = tuple(part.strip() for part in dims.split(","))
    if not name or not all(part.isidentifier() or part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape of an input: write name:1,3,224,224 or name:N,3,224,224"
        )
    return name, tuple(int(part) if part.isdecimal() else part for part in parts)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def size(text: str) -> int:
    """Read a number of bytes, also as `500MB` or `2GB` (decimal)."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
    digits = text.rstrip("BKMGbkmg")
    factor = units.get(text[len(digits) :].upper())
    if factor is None or not digits.isdecimal() or int(digits) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500MB or 2GB")
    return int(digits) * factor


def growth(text: str) -> float:
    """Read a part of a whole, as `5%` or `0.05`."""
    digits, percent = text.removesuffix("%"), text.endswith("%")
    try:
        ratio = float(digits) / (100 if percent else 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no growth: write 5% or 0.05")
    return ratio


def shapes_by_name(options: Iterable[ShapeOption], inputs: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes given, by input name.

    Args:
        options: as parsed.
        inputs: the names of the model's inputs.

    Raises:
        UsageError: a name that the model does not have or that comes twice, or a nameless shape for several inputs.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for option in options:
        name = option.name
        if name is None:
            if len(inputs) != 1:
                raise UsageError(
                    f"the model has {len(inputs)} inputs ({listed(inputs)}): write --shape name:1,3,224,224"
                )
            name = inputs[0]
        if name not in inputs:
            raise UsageError(f"--shape: the model has no input {name!r}, its inputs are {listed(inputs)}")
        if name in shapes:
            raise UsageError(f"--shape: input {name!r} is given twice")
        shapes[name] = option.dims
    return shapes


def split_name(text: str, inputs: Sequence[str]) -> tuple[str, str]:
    """Split `name:file.npy` at the model's longest input name that fits, as names and paths may hold colons."""
    for name in sorted(inputs, key=len, reverse=True):
        if text.startswith(f"{name}:") and len(text) > len(name) + 1:
            return name, text[len(name) + 1 :]
    raise UsageError(f"--input {text}: write name:file.npy with one of the model's inputs, {listed(inputs)}")


def read_npy(path: str) -> np.ndarray:
    """Read one array; UsageError where the file is missing or no .npy file."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _no_array(path, "npy", error) from error
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path}: holds several arrays; give it with --inputs")
    return array


def read_npz(path: str) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file by name; UsageError where the file is missing or no .npz file."""
    import zipfile

    import numpy as np

    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise UsageError(f"{path}: holds one array, without a name; give it with --input name:{path}")
        with arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise _no_array(path, "npz", error) from error


def write_npz(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays under their names: the whole file or none, by a temporary file beside it that is renamed."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            _write_zip(temporary, arrays)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({why(error)})") from error


def _write_zip(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # numpy.savez takes the names as keyword arguments, so an array called "file" would break it.
    import zipfile

    import numpy as np

    with zipfile.ZipFile(path, "x") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)


def listed(names: Sequence[str]) -> str:
    """Return the names in quotes, with commas between, or "none"."""
    return ", ".join(map(repr, names)) or "none"


def _no_array(path: str, kind: str, error: Exception) -> UsageError:
    """Make the error for a file that holds no arrays, or none that are numbers."""
    if isinstance(error, OSError) and error.strerror:
        return UsageError(f"{path}: cannot be read as an .{kind} file ({why(error)}){_meant(path, error)}")
    found = foreign_format(Path(path))
    if "Object arrays" in str(error):
        return UsageError(f"{path}: holds Python objects, which are no input of a model; save arrays of numbers")
    if found is not None and found.family is Family.ARRAY:
        return UsageError(f"{path}: only a part of an .{kind} file is there; write it again")
    if found is not None and not (kind == "npz" and found.is_archive):
        is_picture = found.family is Family.PICTURE
        advice = "run --preprocess imagenet reads pictures" if is_picture else f"numpy.{_WRITERS[kind]} writes one"
        return UsageError(f"{path}: is no .{kind} file but {found.what}; {advice}")
    return UsageError(f"{path}: is no .{kind} file, or only a part of one; numpy.{_WRITERS[kind]} writes one")


def _meant(path: str, error: OSError) -> str:
    return similar_name(Path(path)) if isinstance(error, FileNotFoundError) else ""


def why(error: Exception) -> str:
    """Return why a file cannot be read or written, without its name."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
