"""`onnxnorm run`."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxnorm._cli.outcome import JobFailed, UsageError, check_output
from onnxnorm._cli.tensors import read_npy, read_npz, shape_option, shapes_by_name, split_name, write_npz

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "run": """run a model in onnxruntime on given or random inputs

Inputs that are not given are random and seeded; a dimension the model leaves open is 1 unless --shape says otherwise.""",
}


@dataclass(frozen=True)
class _Tensor:
    """An input or output; the statistics leave NaN out, and are None where no number is left."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    mean: float | None
    nans: int


@dataclass(frozen=True)
class _Outcome:
    """What there is to report; latencies in milliseconds, over `repeat` runs after one that warms up."""

    model: str
    native_library: str | None
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    repeat: int
    latency_median_ms: float
    latency_min_ms: float
    latency_max_ms: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="model.onnx")
    parser.add_argument("--input", action="append", default=[], metavar="name:file.npy", help="the array for an input")
    parser.add_argument("--inputs", metavar="x.npz", help="the arrays for inputs, by their names")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=shape_option,
        metavar="name:1,3,224,224",
        help="the shape of a random input (without the name where the model has one input)",
    )
    parser.add_argument("--output", metavar="out.npz", help="write the outputs to this file, by their names")
    parser.add_argument(
        "--repeat",
        type=positive,
        default=10,
        metavar="N",
        help="timed runs, after one that warms up (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads within an operator (default: onnxruntime's)"
    )
    parser.add_argument("--portable", action="store_true", help="run the portable bodies, not the native library")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the random inputs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    raise NotImplementedError
