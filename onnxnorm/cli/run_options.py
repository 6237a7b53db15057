"""Holds the options of commands that run models in onnxruntime: the inputs, and how the sessions are made."""

from __future__ import annotations

import argparse

from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.libraries import add_library_option
from onnxnorm.cli.tensor_files import add_inputs_options, positive
from onnxnorm.validate.choices import closest

__all__ = ["add_run_options", "providers_of"]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command; that for single inputs it has by itself."""
    add_inputs_options(parser, "run")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (default: %(default)s)")
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads within an operator (default: onnxruntime's)"
    )
    parser.add_argument(
        "--provider", metavar="NAME", help="the execution provider of onnxruntime, such as cuda (default: cpu)"
    )
    add_library_option(parser)
    parser.add_argument("--portable", action="store_true", help="run the portable bodies, not the native library")


def providers_of(name: str | None) -> list[str] | None:
    """Return the execution provider of that name, with or without its ending.

    Raises:
        UsageError: this onnxruntime has none of that name.
    """
    if name is None:
        return None
    import onnxruntime  # type: ignore[import-untyped]

    there = {each.removesuffix("ExecutionProvider"): each for each in onnxruntime.get_available_providers()}
    found = {short.lower(): each for short, each in there.items()}.get(name.lower().removesuffix("executionprovider"))
    if found is None:
        raise UsageError(
            f"--provider: this onnxruntime has no {name!r}{closest(name.lower(), map(str.lower, there))}; it has "
            f"{', '.join(short.lower() for short in there)}"
        )
    return [found]
