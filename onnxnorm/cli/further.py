"""Holds what `optimize` and `fold` do besides, where asked: write nothing, list the nodes that changed, measure."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnorm.cli.exit_codes import UsageError, check_output
from onnxnorm.cli.libraries import options_of
from onnxnorm.errors import naming
from onnxnorm.files.folders import temporary_folder

if TYPE_CHECKING:
    from onnxnorm.cli.latency import Latency
    from onnxnorm.cli.node_changes import NodeChange
    from onnxnorm.io.model_source import ModelSource
    from onnxnorm.journal import Rewrite

__all__ = [
    "add_further_arguments",
    "bench",
    "node_changes",
    "output_place",
    "print_further",
    "refuse_for_many",
    "refuse_in_place",
]

_SAMPLE = 1


def add_further_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    parser.add_argument(
        "--no-provenance",
        action="store_false",
        dest="provenance",
        help="do not write into the metadata of the result what made it",
    )
    parser.add_argument("--dry-run", action="store_true", help="do and tell everything, and write nothing")
    parser.add_argument(
        "--diff", action="store_true", help="list the nodes that are gone, have come or have changed, each with why"
    )
    parser.add_argument(
        "--bench", action="store_true", help="measure how long original and result take in onnxruntime, by turns"
    )


def refuse_for_many(arguments: argparse.Namespace) -> None:
    """Refuse the options where many models are given.

    Raises:
        UsageError: one of them is given.
    """
    given = {"--dry-run": arguments.dry_run, "--diff": arguments.diff, "--bench": arguments.bench}
    for option, asked in given.items():
        if asked:
            raise UsageError(f"{option}: takes one model at a time")


def refuse_in_place(arguments: argparse.Namespace, source: ModelSource) -> None:
    """Refuse what needs the original when the result is there, where that takes the place of its file.

    Raises:
        UsageError: one of the options is given.
    """
    given = {"--diff": arguments.diff, "--bench": arguments.bench}
    on_disk = isinstance(source.model, (str, os.PathLike)) and source.message is None
    if arguments.dry_run or not any(given.values()) or not on_disk:
        return
    output = Path(arguments.output)
    if output.exists() and output.samefile(arguments.input):
        option = next(option for option, asked in given.items() if asked)
        raise UsageError(f"{option}: the result takes the place of {arguments.input}; name another file for it")


@contextlib.contextmanager
def output_place(arguments: argparse.Namespace) -> Iterator[str]:
    """Have the result written where it belongs, or, where nothing is to be written, to a folder that goes again.

    Yields what to call the result.

    Raises:
        UsageError: the result cannot be written there.
    """
    wanted = arguments.output
    if not arguments.dry_run:
        check_output(wanted)
        yield wanted
        return
    with temporary_folder() as folder:
        arguments.output = str(folder / "out.onnx")
        try:
            yield f"{wanted} (not written)"
        finally:
            arguments.output = wanted


def node_changes(source: ModelSource, output: str, rewrites: Sequence[Rewrite]) -> tuple[NodeChange, ...]:
    """List what is different in the result."""
    from onnxnorm.cli.node_changes import changes_between
    from onnxnorm.io.load_and_save import load

    return changes_between(source.graph(), load(output), rewrites)


def bench(arguments: argparse.Namespace, source: ModelSource) -> Latency:
    """Measure original and result on the inputs given, or on random ones."""
    import onnx_ir as ir

    from onnxnorm.cli.latency import measure
    from onnxnorm.cli.tables import status
    from onnxnorm.runtime.inputs import input_specs
    from onnxnorm.runtime.random_samples import random_samples
    from onnxnorm.runtime.session import session

    given, shapes = arguments.samples
    graph = source.graph()
    draws = random_samples(input_specs(ir.to_proto(graph)), shapes or {}, seed=0, index=_SAMPLE)
    candidates = given if given is not None else (draw.feeds for draw in draws)
    # The path can be that of the result by now.
    in_place = Path(arguments.output).samefile(arguments.input)
    original = source.model if isinstance(source.model, str) and not in_place else graph
    with status("measuring original and result by turns"), naming(arguments.input):
        before, after = (session(model, sess_options=options_of(arguments)) for model in (original, arguments.output))
        return measure(before, after, candidates)


def print_further(changed: Sequence[NodeChange] | None, latency: Latency | None) -> None:
    """Print what was asked for besides."""
    from onnxnorm.cli.tables import Table, print_table

    if changed is not None:
        print("\nNodes:" if changed else "\nNo node is different.")
        if changed:
            print_table(Table.of("node change operator why", [(c.node, c.change, c.operator, c.why) for c in changed]))
    if latency is not None:
        print(f"\n{latency}")
