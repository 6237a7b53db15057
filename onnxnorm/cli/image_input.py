"""Options that put the preprocessing of an image in front of the result, for `optimize` and `export`."""

from __future__ import annotations

import argparse
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxnorm.prepare.preprocessing import Preprocessing

__all__ = ["add_image_arguments", "image_arguments", "image_options", "preprocessing_of"]


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    group = parser.add_argument_group(
        "preprocessing",
        "the result takes an image as it is and computes (x * scale - mean) / std itself, in its first operators",
    )
    for name, what in (("mean", "is taken off"), ("std", "divides")):
        group.add_argument(
            f"--{name}",
            type=_numbers,
            metavar="0.485,0.456,0.406",
            help=f"what {what}: a number, or one for each channel",
        )
    group.add_argument("--scale", type=_number, metavar="1/255", help="what every pixel is multiplied by first")
    group.add_argument("--input-layout", metavar="NHWC", help="the order of the axes of the image")
    group.add_argument("--input-dtype", metavar="uint8", help="the type of the image")
    group.add_argument(
        "--swap-rb", action="store_true", help="the image has its channels in reverse order, such as BGR"
    )
    group.add_argument("--image-input", metavar="NAME", help="which input it is, where a model has several images")


def image_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options as `onnxnorm.optimize` and `onnxnorm.export` take them."""
    named = {"mean": arguments.mean, "std": arguments.std, "scale": arguments.scale, "input": arguments.image_input}
    return {
        "normalize_input": {key: value for key, value in named.items() if value is not None} or None,
        "input_layout": arguments.input_layout,
        "input_dtype": arguments.input_dtype,
        "swap_rb": arguments.swap_rb,
    }


def preprocessing_of(arguments: argparse.Namespace) -> Preprocessing | None:
    """Return the preprocessing that the options ask for; None where they ask for none."""
    given = image_arguments(arguments)
    if not any(given.values()):
        return None
    from onnxnorm.prepare.preprocessing import Preprocessing

    return Preprocessing.of(**given)


def image_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options again, for the process of each of many models."""
    options = []
    for name in ("mean", "std"):
        if (numbers := getattr(arguments, name)) is not None:
            options.append(f"--{name}={','.join(map(repr, numbers))}")
    for name in ("scale", "input_layout", "input_dtype", "image_input"):
        if (value := getattr(arguments, name)) is not None:
            options.append(f"--{name.replace('_', '-')}={value}")
    return options + (["--swap-rb"] if arguments.swap_rb else [])


def _number(text: str) -> float:
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number such as 0.5 or 1/255") from None


def _numbers(text: str) -> list[float]:
    return [_number(part) for part in text.split(",")]
