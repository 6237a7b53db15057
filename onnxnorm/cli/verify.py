"""Runs `onnxnorm verify`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnxnorm.cli.libraries import add_library_option, options_of
from onnxnorm.cli.tensor_files import positive, shape_option

if TYPE_CHECKING:
    from onnxnorm.verification.layers import LayerError
    from onnxnorm.verification.verify import VerifyReport

_SHOWN = 20

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "verify": """does one model compute what another does?

Both run in onnxruntime, and their errors are measured against a float64 run of the first. The exit code is 0 where the
second is as accurate as the first, 1 where it is not.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("original", metavar="a.onnx")
    parser.add_argument("candidate", metavar="b.onnx")
    parser.add_argument(
        "--input", action="append", default=[], metavar="name:x.npy", help="the array for an input; others are random"
    )
    parser.add_argument("--inputs", metavar="x.npz", help="the arrays for the inputs, by their names")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape_option,
        metavar="name:1,3,224,224",
        help="the shape of a random input (without the name where the model has one input)",
    )
    parser.add_argument(
        "--samples", type=positive, default=3, metavar="N", help="how many random inputs (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (default: %(default)s)")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail where no input reaches a part of the first model: a branch of If, a Loop, a side of Where",
    )
    parser.add_argument(
        "--bisect", metavar="DIR", help="where they differ, write the smallest pair of models that do, with the inputs"
    )
    add_library_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from onnxnorm.cli.feeds import samples_for
    from onnxnorm.cli.tables import print_json, status
    from onnxnorm.verification.verify import verify

    options = options_of(arguments)
    inputs, shapes = samples_for(arguments.original, arguments.input, arguments.inputs, arguments.shape, options)
    with status("running both models"):
        report = verify(
            arguments.original,
            arguments.candidate,
            inputs,
            seed=arguments.seed,
            samples=arguments.samples,
            shapes=shapes,
            strict=arguments.strict,
            bisect=arguments.bisect,
            session_options=options,
        )
    if arguments.json:
        print_json(report.to_dict())
    else:
        _print(report)
    return 0 if report.passed else 1


def _print(report: VerifyReport) -> None:
    from onnxnorm.cli.tables import Table, format_shape, print_table

    rows = [
        (
            output.name,
            "passed" if output.passed else "failed",
            f"{output.error_original:.3g}",
            f"{output.error_result:.3g}",
            f"{output.excess:.2g}",
            f"{output.least_absolute_tolerance:.2g}",
            f"{output.least_relative_tolerance:.2g}",
        )
        for output in report.outputs
    ]
    headings = "output verdict >error_of_a >error_of_b >share_of_allowed >least_absolute_tolerance >least_relative"
    print_table(Table.of(headings, rows))
    for number, shapes in enumerate(report.samples):
        inputs = ", ".join(f"{name}:{format_shape(shape)}" for name, shape in shapes.items())
        print(f"sample {number}: {inputs or 'no inputs'}")
    for note in (*report.notes, *report.unreached):
        print(f"note: {note}")
    if report.place is not None:
        print("\nfrom the first value that is off to the output:")
        _print_errors(report.place.growth[:_SHOWN])
    print(report)


def _print_errors(errors: Iterable[LayerError]) -> None:
    from onnxnorm.cli.tables import Table, print_table

    rows = [
        (
            error.value,
            error.node,
            error.op_type,
            f"{error.size:.3g}",
            f"{error.error_original:.3g}",
            f"{error.error_result:.3g}",
            f"{error.relative_error:.2g}",
            f"{error.snr:.1f}",
        )
        for error in errors
    ]
    print_table(Table.of("value node operator >size >error_of_a >error_of_b >relative >SNR_in_dB", rows))
