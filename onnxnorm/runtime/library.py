"""Finds the native library of the custom operators."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from onnxnorm.errors import OnnxNormError

__all__ = ["LIBRARY_FILE", "custom_ops_library_path", "find_library"]


_SUFFIX = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")


LIBRARY_FILE = f"libonnxnorm_custom_ops{_SUFFIX}"


def find_library() -> Path | None:
    """Find the native library: the file that ONNXNORM_LIBRARY names, else the one installed with the package, or None.

    Raises:
        OnnxNormError: ONNXNORM_LIBRARY names a file that is not there.
    """
    named = os.environ.get("ONNXNORM_LIBRARY")
    if named:
        if not Path(named).is_file():
            raise OnnxNormError(f"ONNXNORM_LIBRARY is {named!r}, and there is no such file")
        return Path(named).resolve()
    return next((path.resolve() for folder in _folders() if (path := folder / LIBRARY_FILE).is_file()), None)


def _folders() -> Iterator[Path]:
    """Yield the package's folder; then, for a package imported from its source tree, the folder it is installed in."""
    yield Path(__file__).resolve().parent.parent
    try:
        distribution = importlib.metadata.distribution("onnxnorm")
    except importlib.metadata.PackageNotFoundError:
        return
    yield Path(str(distribution.locate_file("onnxnorm")))


def custom_ops_library_path() -> str:
    """Return the native library's path, for `register_custom_ops_library` of any onnxruntime binding.

    Raises:
        OnnxNormError: the package was installed without its native library.
    """
    library = find_library()
    if library is None:
        raise OnnxNormError(
            "onnxnorm is installed without its native library, because there was no C++20 compiler (GCC or Clang) when "
            "it was installed; install one and then onnxnorm again"
        )
    return str(library)
