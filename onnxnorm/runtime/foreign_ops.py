"""Registers libraries of custom operators that others wrote."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.library import find_library
from onnxnorm.runtime.session import reason_of

__all__ = ["options_with"]


def options_with(
    libraries: Sequence[str | os.PathLike[str]], options: onnxruntime.SessionOptions | None = None
) -> onnxruntime.SessionOptions | None:
    """Return session options with these libraries registered; None where there are neither libraries nor options.

    Args:
        libraries: shared libraries of custom operators, as `register_custom_ops_library` takes them. This project's
            own is left out: `session` registers it.
        options: the options to register them on.

    Raises:
        OnnxNormError: a library is missing, or is none of custom operators.
    """
    if not libraries:
        return options
    own = find_library()
    if options is None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
    for library in dict.fromkeys(Path(each).resolve() for each in libraries):
        if not library.is_file():
            raise OnnxNormError(f"{library}: there is no such file")
        if own is not None and library.samefile(own):
            continue
        try:
            options.register_custom_ops_library(str(library))
        except Exception as error:
            raise OnnxNormError(f"{library}: is no library of custom operators: {reason_of(error)}") from error
    return options
