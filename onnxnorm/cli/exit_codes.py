"""Holds the ways in which a command ends other than well, and the check that spares it some of them."""

from __future__ import annotations

import os
from pathlib import Path

from onnxnorm.errors import OnnxNormError

__all__ = ["JobError", "UsageError", "check_output"]


class UsageError(OnnxNormError):
    """Raised where the command line itself is wrong: exit code 2."""


class JobError(OnnxNormError):
    """Raised where the input was fine, yet the job could not be done, or its result did not pass: exit code 1."""


def check_output(path: str) -> None:
    """Find out before the work whether its result can be written at all.

    Raises:
        UsageError: `path` is a folder or a device, or its folder is missing or read-only.
    """
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise UsageError(f"{path}: is a folder; name the file to write")
    if target.exists() and not target.is_file():
        # The result is renamed into place, which would put an end to a device such as /dev/null.
        raise UsageError(f"{path}: is no regular file, and is not overwritten")
    if not folder.is_dir():
        raise UsageError(f"{path}: the folder {str(folder)!r} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the folder {str(folder)!r} cannot be written to")
