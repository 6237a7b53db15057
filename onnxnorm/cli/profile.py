"""Runs `onnxnorm profile`: what each node of a model takes in onnxruntime, before and after optimizing."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from onnxnorm.cli.exit_codes import JobError, check_output, refuse_beside
from onnxnorm.cli.libraries import options_of
from onnxnorm.cli.run_options import add_run_options, providers_of
from onnxnorm.cli.tensor_files import positive
from onnxnorm.errors import UnprovedError, naming
from onnxnorm.files.folders import temporary_folder
from onnxnorm.validate.choices import target_named

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

    from onnxnorm.runtime.profile import Profile

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "profile": """time, multiply-adds and bytes of each node and operator in onnxruntime

Of one model it compares the model with what optimizing makes of it, which is tried on a copy; of two it compares them;
with --alone it tells of the one model. The nodes are those that onnxruntime makes of a model (see --as-written), and
run under its profiler, which costs time of its own: `optimize --bench` measures without it. Inputs that are not given
are random.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("original", metavar="a.onnx")
    parser.add_argument("other", metavar="b.onnx", nargs="?", help="the model to compare it with")
    parser.add_argument("--alone", action="store_true", help="profile the one model, and optimize nothing")
    parser.add_argument(
        "--target", type=target_named, help="what the result is for, as for optimize (default: portable)"
    )
    parser.add_argument(
        "--no-verify", action="store_false", dest="verify", help="profile the optimized copy without proving it"
    )
    parser.add_argument(
        "--as-written",
        action="store_true",
        help="profile the nodes of the file, with onnxruntime's own optimizations off",
    )
    parser.add_argument(
        "--top",
        type=positive,
        default=15,
        metavar="N",
        help="list the N nodes that take the most time (default: %(default)s)",
    )
    parser.add_argument(
        "--trace", metavar="trace.json", help="write all events as a trace that Chrome and Perfetto show"
    )
    parser.add_argument("--repeat", type=positive, default=10, metavar="N", help="runs of each (default: %(default)s)")
    parser.add_argument("--input", action="append", default=[], metavar="name:x.npy", help="the array for an input")
    add_run_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    optimizing = {"--target": arguments.target, "--no-verify": not arguments.verify}
    if arguments.other is not None:
        refuse_beside("a second model", {"--alone": arguments.alone, **optimizing}, "the two are compared as they are")
    if arguments.alone:
        refuse_beside("--alone", optimizing, "nothing is optimized")
    if arguments.trace is not None:
        check_output(arguments.trace)
    from onnxnorm.cli.profile_tables import document, print_profiles
    from onnxnorm.cli.tables import print_json
    from onnxnorm.io.replace import write_message
    from onnxnorm.runtime.profile import trace

    with _models(arguments) as models:
        names, profiles = [name for name, _ in models], _profiles([path for _, path in models], arguments)
    if arguments.trace is not None:
        told = json.dumps(trace(zip(names, profiles, strict=True)))
        write_message(told.encode(), arguments.trace)
    if arguments.json:
        print_json(document(names, profiles))
    else:
        print_profiles(names, profiles, arguments.top)
        if arguments.trace is not None:
            print(f"{arguments.trace}: open it at chrome://tracing or ui.perfetto.dev")
    return 0


@contextlib.contextmanager
def _models(arguments: argparse.Namespace) -> Iterator[list[tuple[str, str]]]:
    """Yield what each model is called, and its path; an optimized copy goes again when all is done."""
    models = [(arguments.original, arguments.original)]
    if arguments.alone:
        yield models
        return
    if arguments.other is not None:
        yield [*models, (arguments.other, arguments.other)]
        return
    from onnxnorm.cli.tables import status
    from onnxnorm.optimizer.optimize import optimize

    with temporary_folder() as folder:
        path = folder / "optimized.onnx"
        with _unproved(), status(f"optimizing a copy of {arguments.original}"):
            options = options_of(arguments) if arguments.verify else None
            result = optimize(
                arguments.original,
                target=arguments.target or "portable",
                verify=arguments.verify,
                session_options=options,
            )
            result.save(path)
        yield [*models, ("optimized", str(path))]


@contextlib.contextmanager
def _unproved() -> Iterator[None]:
    try:
        yield
    except UnprovedError as error:
        raise JobError(f"{error.why}; --no-verify profiles the optimized copy unproved") from error


def _profiles(paths: Sequence[str], arguments: argparse.Namespace) -> tuple[Profile, ...]:
    import onnx_ir as ir

    from onnxnorm.cli.feeds import candidate_feeds
    from onnxnorm.cli.tables import status
    from onnxnorm.io.load_and_save import load
    from onnxnorm.runtime.inputs import input_specs
    from onnxnorm.runtime.profile import profiled

    with status(f"profiling {arguments.original}"), naming(arguments.original):
        candidates = candidate_feeds(arguments, input_specs(ir.to_proto(load(arguments.original))))
        return profiled(
            paths,
            candidates,
            arguments.repeat,
            make_options=_options(arguments),
            portable=arguments.portable or None,
            providers=providers_of(arguments.provider),
        )


def _options(arguments: argparse.Namespace) -> Callable[[], onnxruntime.SessionOptions]:
    import onnxruntime

    def made() -> onnxruntime.SessionOptions:
        options = options_of(arguments) or onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised and told in one line of our own
        if arguments.threads is not None:
            options.intra_op_num_threads = arguments.threads
        if arguments.as_written:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return options

    return made
