"""`onnxnorm verify`."""

from __future__ import annotations

import argparse

from onnxnorm._cli.tensors import read_npz, shape_option, shapes_by_name

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "verify": """does one model compute what another does?

Both run in onnxruntime, and their errors are measured against a float64 run of the first. The exit code is 0 where the
second is as accurate as the first, 1 where it is not.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("original", metavar="a.onnx")
    parser.add_argument("candidate", metavar="b.onnx")
    parser.add_argument("--inputs", metavar="x.npz", help="the arrays for the inputs, by their names")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape_option,
        metavar="name:1,3,224,224",
        help="the shape of a random input (without the name where the model has one input)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def run(arguments: argparse.Namespace) -> int:
    raise NotImplementedError
