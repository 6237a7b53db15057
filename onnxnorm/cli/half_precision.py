"""Options that put the result into half precision, for `optimize` and `fold`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxnorm.optimizer.preparation import Half

__all__ = ["add_half_arguments", "half_of", "half_options"]


def add_half_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    group = parser.add_argument_group("half precision", "the result computes in a type of two bytes wherever it may")
    group.add_argument("--dtype", choices=("float16", "bfloat16"), help="the type; what stays in float32 is listed")
    group.add_argument("--keep-io-types", action="store_true", help="leave inputs and outputs in their types")


def half_of(arguments: argparse.Namespace) -> Half | None:
    """Return what the options ask for; None where they ask for nothing."""
    if arguments.dtype is None and not arguments.keep_io_types:
        return None
    from onnxnorm.optimizer.preparation import Half

    return Half.of(arguments.dtype, arguments.keep_io_types, arguments.keep)


def half_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options again, for the process of each of many models."""
    options = [] if arguments.dtype is None else ["--dtype", arguments.dtype]
    return options + (["--keep-io-types"] if arguments.keep_io_types else [])
