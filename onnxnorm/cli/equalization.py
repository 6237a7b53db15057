"""Options that equalize the channels of the result before it is quantized, for `optimize`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from onnxnorm.errors import OnnxNormError
from onnxnorm.validate.choices import INT8_SCALES

if TYPE_CHECKING:
    from onnxnorm.passes import Equalization

__all__ = ["add_equalization_arguments", "check_equalization", "equalization_options", "equalization_wanted"]


def add_equalization_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    group = parser.add_argument_group("quantization", "channels are scaled so that quantizing the result loses less")
    group.add_argument("--prepare", choices=("int8",), help="for what: int8")
    group.add_argument("--calibration", metavar="x.npz", help="samples of inputs: activations are made even as well")
    group.add_argument(
        "--strength", type=float, metavar="0.5", help="from 0, weights alone, to 1, activations alone (default: 0.5)"
    )
    group.add_argument("--powers-of-two", action="store_true", help="scale by powers of two, which rounds nothing")
    group.add_argument(
        "--correct-biases",
        choices=INT8_SCALES,
        help="take the mean error of int8 weights, with one scale for the tensor or each channel, off the biases",
    )


def equalization_wanted(arguments: argparse.Namespace) -> Equalization | None:
    """Return the choices that the options stand for; None where they ask for nothing."""
    if arguments.prepare is None:
        return None
    from onnxnorm.passes import Equalization

    strength = 0.5 if arguments.strength is None else arguments.strength
    return Equalization(
        strength=strength, powers_of_two=arguments.powers_of_two, correct_biases=arguments.correct_biases
    )


def check_equalization(arguments: argparse.Namespace) -> None:
    """Check that no option says how to even out channels that are to stay as they are, or wants samples without any.

    Raises:
        OnnxNormError: one does.
    """
    if arguments.prepare is not None:
        if arguments.correct_biases is not None and arguments.calibration is None:
            raise OnnxNormError("--correct-biases goes by what samples show: give --calibration x.npz as well")
        return
    given = {"--strength": arguments.strength is not None, "--powers-of-two": arguments.powers_of_two}
    given["--correct-biases"] = arguments.correct_biases is not None
    # Half precision is judged on the same samples.
    given["--calibration"] = arguments.calibration is not None and getattr(arguments, "dtype", None) is None
    for option, there in given.items():
        if there:
            raise OnnxNormError(f"{option} says how channels are made even: give --prepare int8 as well")


def equalization_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options again, for the process of each of many models."""
    options: list[str] = []
    for name in ("prepare", "calibration", "strength", "correct_biases"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name.replace('_', '-')}", str(value)]
    return options + (["--powers-of-two"] if arguments.powers_of_two else [])
