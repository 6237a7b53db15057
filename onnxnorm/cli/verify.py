"""Runs `onnxnorm verify`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnxnorm.cli.exit_codes import UsageError, refuse_beside
from onnxnorm.cli.libraries import add_library_option, options_of
from onnxnorm.cli.tensor_files import add_sample_options, positive

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
    add_sample_options(parser)
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
    lossy = parser.add_argument_group(
        "for results that lose accuracy on purpose", "these decide alone where any is given, and prove nothing"
    )
    lossy.add_argument("--atol", type=float, metavar="X", help="each element may be off by X, plus what --rtol allows")
    lossy.add_argument("--rtol", type=float, metavar="X", help="each element may be off by X times its exact value")
    lossy.add_argument("--cosine", type=float, metavar="X", help="the least cosine similarity of each output")
    lossy.add_argument("--snr", type=float, metavar="DB", help="the least signal-to-noise ratio of each output")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="an output of the second model that has another name there; may be given several times",
    )
    parser.add_argument("--layers", action="store_true", help="print the errors of both models value by value")
    add_library_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from onnxnorm.cli.feeds import samples_for
    from onnxnorm.cli.tables import print_json, status
    from onnxnorm.verification.layers import errors_by_layer
    from onnxnorm.verification.verify import verify

    for name in ("atol", "rtol", "cosine", "snr"):
        if getattr(arguments, name) is not None:
            refuse_beside(f"--{name}", {"--bisect": arguments.bisect}, "a tolerance shows no place where it begins")
    options = options_of(arguments)
    inputs, shapes = samples_for(arguments.original, arguments.arrays, arguments.inputs, arguments.shape, options)
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
            atol=arguments.atol,
            rtol=arguments.rtol,
            cosine=arguments.cosine,
            snr=arguments.snr,
            renamed=dict(map(_renamed, arguments.map)),
        )
        errors = None
        if arguments.layers:
            errors = errors_by_layer(
                arguments.original,
                arguments.candidate,
                inputs,
                seed=arguments.seed,
                shapes=shapes,
                session_options=options,
            )
    if arguments.json:
        print_json(report.to_dict() if errors is None else {**report.to_dict(), "layers": errors})
    else:
        if errors is not None:
            _print_errors(errors)
            print()
        _print(report)
    return 0 if report.passed else 1


def _renamed(text: str) -> tuple[str, str]:
    old, separator, new = text.partition("=")
    if not (separator and old and new):
        raise UsageError(f"--map takes OLD=NEW, the names of an output in the two models, not {text!r}")
    return old, new


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
