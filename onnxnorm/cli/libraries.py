"""Takes libraries of custom operators from the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

__all__ = ["add_library_option", "options_of"]


def add_library_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names libraries of custom operators."""
    parser.add_argument(
        "--custom-ops-library",
        action="append",
        default=[],
        metavar="FILE",
        help="a library with operators of the model, as onnxruntime registers it; may be given several times",
    )


def options_of(arguments: argparse.Namespace) -> onnxruntime.SessionOptions | None:
    """Return the options for sessions with the libraries registered; None where none were named.

    Raises:
        OnnxNormError: a library is missing, or is none of custom operators.
    """
    if not arguments.custom_ops_library:
        return None
    from onnxnorm.runtime.foreign_ops import options_with

    return options_with(arguments.custom_ops_library)
