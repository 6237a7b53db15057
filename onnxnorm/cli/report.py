"""Runs `onnxnorm report`: a page, an overlay for Model Explorer, or plain text about what becomes of a model."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnxnorm.cli.exit_codes import JobError, check_output, refuse_beside
from onnxnorm.cli.tensor_files import add_sample_options, positive
from onnxnorm.cli.trying import tried
from onnxnorm.errors import OnnxNormError
from onnxnorm.validate.choices import target_named

if TYPE_CHECKING:
    from onnxnorm.model.source import ModelLike
    from onnxnorm.optimizer.records import NormRecord
    from onnxnorm.optimizer.result import OptimizeResult
    from onnxnorm.report import ReportPage
    from onnxnorm.verification.layers import LayerError
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "report": """a page that shows what becomes of a model, as one HTML file

Of one model the page shows what optimizing makes of it, which is tried on a copy; of two it shows how they differ.
The graphs stand side by side; a click on a normalization shows where it went and the numbers, or what is in its way.
The file needs no network. The same facts are printed as text. The exit code is 1 where the models do not compute the
same; the page is written all the same.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("original", metavar="a.onnx")
    parser.add_argument("other", metavar="b.onnx", nargs="?", help="the model to compare it with")
    parser.add_argument(
        "-o", "--output", default="report.html", metavar="page.html", help="the page (default: %(default)s)"
    )
    parser.add_argument(
        "--node-data", metavar="fates.json", help="write the fate of each node for Model Explorer, as custom node data"
    )
    parser.add_argument(
        "--target", type=target_named, help="what the result is for, as for optimize (default: portable)"
    )
    parser.add_argument(
        "--no-verify", action="store_false", dest="verify", help="compare nothing: no verdict, no errors by layer"
    )
    parser.add_argument("--repeat", type=positive, metavar="N", help="measure the latency of both models, N runs each")
    add_sample_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if arguments.other is not None:
        refuse_beside("a second model", {"--target": arguments.target}, "nothing is optimized")
    if not arguments.verify and arguments.repeat is None:
        samples = {"--input": arguments.arrays, "--inputs": arguments.inputs, "--shape": arguments.shape}
        refuse_beside("--no-verify", samples, "nothing is compared or measured")
    for path in (arguments.output, arguments.node_data):
        if path is not None:
            check_output(path)
    page, passed = _compared(arguments) if arguments.other is not None else _optimized(arguments)
    page.save(arguments.output)
    if arguments.node_data is not None:
        page.save_node_data(arguments.node_data)
    print(page.summary, end="")
    print(f"\n{arguments.output}: {len(page.html.encode()) / 1e6:.2f} MB")
    return 0 if passed else 1


def _optimized(arguments: argparse.Namespace) -> tuple[ReportPage, bool]:
    from onnxnorm.cli.tables import status
    from onnxnorm.io.model_source import ModelSource
    from onnxnorm.optimizer.accounted import accounted
    from onnxnorm.optimizer.proved import without_disproved
    from onnxnorm.passes import DEFAULT
    from onnxnorm.report import report_page

    source, begun, took = ModelSource(arguments.original), time.perf_counter(), 0.0
    chosen: dict[str, Any] = {"target": arguments.target or "portable", "name": arguments.original}

    def run(names: Sequence[str], kept: Collection[str]) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
        nonlocal took
        start = time.process_time()
        done = accounted(source.graph(), passes=names, kept=kept, **chosen)
        took = time.process_time() - start
        return done

    # What optimize would leave out is left out here too.
    prove = (lambda done: _proof_of(arguments, done[0].ir_model)) if arguments.verify else None
    with status(f"optimizing a copy of {arguments.original}"):
        (result, records), proof, notes = without_disproved(
            run, prove, lambda done: done[0].rewrites, DEFAULT, source.graph
        )
    result = replace(result, notes=result.notes + notes)
    records = tried(source, records, chosen, took=took, seconds=(time.perf_counter() - begun) / 2)
    layers, latency = _measured(arguments, result.ir_model)
    page = report_page(arguments.original, result, records=records, verification=proof, layers=layers, latency=latency)
    return page, proof is None or proof.passed


def _compared(arguments: argparse.Namespace) -> tuple[ReportPage, bool]:
    from onnxnorm.cli.tables import status
    from onnxnorm.report import compared_page

    with status("comparing both models"):
        proof = _proof_of(arguments, arguments.other) if arguments.verify else None
    layers, latency = _measured(arguments, arguments.other)
    page = compared_page(arguments.original, arguments.other, verification=proof, layers=layers, latency=latency)
    return page, proof is None or proof.passed


def _proof_of(arguments: argparse.Namespace, other: ModelLike) -> VerifyReport:
    from onnxnorm.cli.feeds import samples_for
    from onnxnorm.verification.verify import verify

    inputs, shapes = samples_for(arguments.original, arguments.arrays, arguments.inputs, arguments.shape)
    try:
        return verify(arguments.original, other, inputs, shapes=shapes)
    except OnnxNormError as error:
        if arguments.other is not None:
            raise
        raise JobError(f"{error}; --no-verify makes the page without comparing anything") from error


def _measured(
    arguments: argparse.Namespace, other: ModelLike
) -> tuple[tuple[LayerError, ...], tuple[float, float] | None]:
    """Measure the errors of the two by layer and their latency, as far as that is asked for and can be done."""
    from onnxnorm.cli.feeds import samples_for
    from onnxnorm.cli.tables import status
    from onnxnorm.report.latency import latencies
    from onnxnorm.verification.layers import errors_by_layer

    inputs, shapes = samples_for(arguments.original, arguments.arrays, arguments.inputs, arguments.shape)
    layers: tuple[LayerError, ...] = ()
    if arguments.verify:
        # A model of which the values inside cannot be taken has a verdict all the same.
        with status("comparing both models layer by layer"), contextlib.suppress(OnnxNormError):
            layers = errors_by_layer(arguments.original, other, inputs, shapes=shapes)
    if arguments.repeat is None:
        return layers, None
    with status("measuring latency"):
        return layers, latencies(arguments.original, other, arguments.repeat, inputs=inputs, shapes=shapes)
