"""Holds the ways in which a command ends other than well, and the checks that spare it some of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from onnxnorm.errors import OnnxNormError

__all__ = ["JobError", "UsageError", "check_output", "refuse_beside"]


class UsageError(OnnxNormError):
    """Raised where the command line itself is wrong: exit code 2."""


class JobError(OnnxNormError):
    """Raised where the input was fine, yet the job could not be done, or its result did not pass: exit code 1."""


def refuse_beside(what: str, options: Mapping[str, object], why: str) -> None:
    """Refuse options that would do nothing beside another one, so that nobody waits for what does not come.

    Args:
        what: that other option, or what else there is on the command line.
        options: what was given for each of the options; nothing where it is None, false or empty.
        why: why they would do nothing.

    Raises:
        UsageError: one of them is given.
    """
    for option, given in options.items():
        if given:
            raise UsageError(f"{option} does nothing beside {what}: {why}; leave one of the two out")


def check_output(path: str) -> None:
    """Find out before the work whether its result can be written at all.

    Raises:
        UsageError: `path` is a folder, a device or a link in a circle, or its folder is missing or read-only.
    """
    # Every start would pay for it.
    import tempfile

    target = Path(path)
    folder = target.parent
    if target.is_symlink():
        # What a link points at is written.
        target = Path(os.path.realpath(target))
        folder = target.parent
        if target.is_symlink():
            raise UsageError(f"{path}: is a link that leads in a circle; name another file")
    if str(path) == "-":
        raise UsageError("-: what is written goes to a file, not to stdout; name one, or ./- for a file of that name")
    if target.is_dir():
        raise UsageError(f"{path}: is a folder; name the file to write")
    if target.exists() and not target.is_file():
        # The result is renamed into place, which would put an end to a device such as /dev/null.
        raise UsageError(f"{path}: is no regular file, and is not overwritten")
    if not folder.is_dir():
        raise UsageError(f"{path}: the folder {str(folder)!r} does not exist; make it first")
    try:
        # Whether the system lets a file be made is not to be seen from the rights of the folder alone.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{path}: the folder {str(folder)!r} cannot be written to; name another") from error
