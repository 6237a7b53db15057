"""Puts a model file in its place; what belonged to the one that stood there goes."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from onnxnorm.errors import OnnxNormError
from onnxnorm.files.folders import locked, mark, remove_temporaries, sync_folder, unfinished
from onnxnorm.files.new_file import NewFile

__all__ = ["clean", "locations", "outdated_data", "put_in_place", "target_of", "telling_why", "write_message"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ENDINGS = (".data", ".safetensors")


def write_message(data: bytes, path: str | os.PathLike[str]) -> None:
    """Write a serialized model that has everything in it to `path`, or leave what is there untouched.

    Raises:
        OnnxNormError: the folder is missing or cannot be written to, or the disk is full.
    """
    target = target_of(path)
    with telling_why(target, lambda: len(data)), NewFile(target.parent) as file:
        file.write(data, 0)
        put_in_place(file, target)


def target_of(path: str | os.PathLike[str]) -> Path:
    """Return the file to write: what a link points at.

    Raises:
        OnnxNormError: there is something that no model can replace.
    """
    # Not Path.resolve, which raises different errors at links in a circle from version to version of Python.
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OnnxNormError(f"{path}: is a link that leads in a circle; name another path")
    # A device or a pipe is no place to rename a file to.
    if target.exists() and not target.is_file():
        raise OnnxNormError(f"{path}: is not a regular file, so no model can take its place; name another path")
    return target


@contextlib.contextmanager
def telling_why(target: Path, weight_bytes: Callable[[], int]) -> Iterator[None]:
    """Turn a failure of the system to write a model into an `OnnxNormError` that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT and target.parent.is_dir():
            raise OnnxNormError(f"{target}: the system lets no file be made in the folder {target.parent}") from error
        if error.errno == errno.ENOENT and not target.parent.exists():
            raise OnnxNormError(
                f"{target}: cannot write the model: there is no folder {str(target.parent)!r}; make it first"
            ) from error
        room = f"; its weights take {weight_bytes() / 1e6:.0f} MB there" if error.errno in _FULL else ""
        raise OnnxNormError(f"{target}: cannot write the model: {error.strerror or error}{room}") from error


def put_in_place(file: NewFile, target: Path) -> None:
    """Let a model without data files take the place of whatever is at `target`."""
    file.sync()
    with locked(target.parent) as alone:
        outdated = outdated_data(target, alone=alone)
        file.replace(target)
        sync_folder(target.parent)
        clean(target, outdated, set(), alone=alone)


def _data_of(target: Path) -> set[str]:
    """Return the data files, by our naming, of the model that is about to be replaced."""
    return {name for name in locations(target) if name.startswith(f"{target.name}.") and name.endswith(_ENDINGS)}


def outdated_data(target: Path, *, alone: bool) -> set[str]:
    """Return the data files of the model that is about to be replaced, marked for whoever writes there next.

    A process that dies once its model is in place leaves them. Until the model is replaced it needs them; nobody but a
    process that replaces it removes what is marked.
    """
    names = _data_of(target)
    if alone:
        mark(target.parent, names)
    return names


def clean(target: Path, outdated: set[str], needed: set[str], *, alone: bool) -> None:
    """Remove the data files of the model that was replaced, and what processes left that did not come to their end.

    `alone`: the lock of the folder is held, so that none of what is found there is still in the making.
    """
    folder = target.parent
    stale = (outdated | unfinished(folder, f"{target.name}.") if alone else outdated) - needed
    if stale:
        # Others may share them.
        for other in folder.glob("*.onnx"):
            stale -= set() if other.name == target.name else locations(other)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    if alone:
        remove_temporaries(folder)


def locations(model: Path) -> set[str]:
    """Return the data files of a model, by their names from its folder; none where there is no model."""
    if not model.exists():
        return set()
    # A plain network is written without anything that this needs.
    from onnxnorm.io.read import data_locations

    try:
        return {os.path.normpath(name) for name in data_locations(model)}
    except (OSError, OnnxNormError):
        # Whatever is there is no model.
        return set()
