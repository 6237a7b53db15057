"""Adds the options of `onnxnorm optimize` and `onnxnorm fold`, and reads what they choose."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from onnxnorm.cli.equalization import add_equalization_arguments, equalization_options
from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.further import add_further_arguments
from onnxnorm.cli.half_precision import add_half_arguments, half_options
from onnxnorm.cli.image_input import add_image_arguments, image_options
from onnxnorm.cli.libraries import add_library_option
from onnxnorm.cli.tensor_files import add_sample_options, fixed_shape, growth, positive, size
from onnxnorm.validate.choices import closest, target_named
from onnxnorm.validate.runtimes import runtime_named

__all__ = ["DESCRIPTIONS", "add_arguments", "add_choices", "chosen_passes", "options_of_one"]

_TARGET_HELP = (
    "what the result has to run on: portable, onnxruntime, openvino, tensorrt or web (default: %(default)s); what it "
    "does not run well is written out"
)
_RESULT = """
The result is verified against the original before it is written; where it does not compute the same, nothing is
written and the exit code is 1. out.onnx may be in.onnx: the file is replaced whole or not at all."""

DESCRIPTIONS = {
    "optimize": f"remove, merge and speed up the normalizations of a model\n{_RESULT}",
    "fold": f"fold batch normalizations and other channel affines into their neighbours\n{_RESULT}",
}


class _ListPasses(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from onnxnorm.cli.tables import Table, print_table

        print_table(Table.of("pass what_it_does", _known_passes().items()))
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    is_fold = parser.prog.endswith(" fold")
    parser.add_argument("input", metavar="in.onnx", nargs="+", help="a model; a folder, a pattern or several for many")
    parser.add_argument("output", metavar="out.onnx", help="the result; for many models the folder for the results")
    if is_fold:
        parser.set_defaults(passes=None, skip=[], target="portable", opset=None, runtime=None)
    else:
        parser.add_argument("--target", type=target_named, default="portable", help=_TARGET_HELP)
        parser.add_argument(
            "--opset",
            type=int,
            help="convert to this opset first: LayerNormalization needs 17, GroupNormalization 21, RMSNormalization 23",
        )
        parser.add_argument(
            "--runtime",
            type=runtime_named,
            metavar="NAME==VERSION",
            help="what has to read the result, such as onnxruntime==1.16: opset and IR version are those that it "
            "reads, and --target is its own where it is not given",
        )
        parser.add_argument("--passes", metavar="A,B", help="run these passes alone, in this order")
        parser.add_argument("--skip", action="append", default=[], metavar="A", help="leave this pass out")
        parser.add_argument("--list-passes", action=_ListPasses, nargs=0, help="name the passes and exit")
    parser.add_argument(
        "--verify",
        action="store_true",
        default=True,
        help="compare the result with the original before it is written (the default)",
    )
    parser.add_argument("--no-verify", action="store_false", dest="verify", help="write the result unproved")
    add_sample_options(parser)
    parser.add_argument(
        "--bisect",
        metavar="DIR",
        help="where a result does not compute the same, write the smallest pair of models that differ, with the inputs",
    )
    add_library_option(parser)
    add_choices(parser)
    listed = parser.add_mutually_exclusive_group()
    listed.add_argument(
        "--freeze-inputs",
        action="store_true",
        default=None,
        help="take the values of initializers that are graph inputs too as fixed: such a model lets its caller replace "
        "them, so nothing may be folded into them otherwise (the default where an exporter listed all its weights)",
    )
    listed.add_argument(
        "--keep-overridable",
        action="store_false",
        dest="freeze_inputs",
        help="leave initializers that are graph inputs too to the caller of the model, whoever listed them",
    )
    parser.add_argument(
        "--max-growth",
        type=growth,
        default=0.05,
        metavar="5%",
        help="by how much the weights may grow where one that several nodes read is stored again for a fold, in "
        "percent or as a ratio (default: 5%%)",
    )
    parser.add_argument(
        "--external-data", action="store_true", help="write the weights to a second file, out.onnx.data"
    )
    parser.add_argument(
        "--safetensors",
        action="store_true",
        help="write the weights to out.onnx.safetensors, a file of that format",
    )
    parser.add_argument(
        "--shard-size", type=size, metavar="SIZE", help="write the weights to files of at most this size, such as 2GB"
    )
    parser.add_argument(
        "--share-data",
        action="store_true",
        help="leave weights that do not change in the data files of the original, beside which out.onnx has to lie",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document instead of tables; for many models one a line"
    )
    parser.add_argument(
        "--all", action="store_true", help="list every normalization that is left, also those of one reason"
    )
    parser.add_argument(
        "--explain", metavar="NODE", help="tell all that was done with this normalization, step by step, and why"
    )
    add_image_arguments(parser)
    add_half_arguments(parser)
    add_further_arguments(parser)
    add_equalization_arguments(parser)
    # How the process of one of many models says what it did.
    parser.add_argument("--summary", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(samples=(None, None))
    if is_fold:
        parser.set_defaults(jobs=None, scheduler=None)
    else:
        parser.add_argument("--jobs", type=positive, metavar="N", help="how many of many models at once")
        parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that works through many models")


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the choices of what is known of the model and what is left alone, which `inspect` has too."""
    parser.add_argument(
        "--fix-shape",
        action="append",
        default=[],
        type=fixed_shape,
        metavar="NAME:DIMS",
        help="the shape that this input will have, such as x:N,3,224,224, where the model leaves it open; may be given "
        "several times",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="NODE",
        help="leave this node alone, such as a normalization; a pattern such as 'head.*' means the normalizations that "
        "match, or other nodes where none does; may be given several times",
    )


def options_of_one(arguments: argparse.Namespace) -> list[str]:
    """Return the options again, for the process of each of many models."""
    options = ["--target", arguments.target, "--max-growth", str(arguments.max_growth)]
    if arguments.opset is not None:
        options += ["--opset", str(arguments.opset)]
    if arguments.runtime is not None:
        options += ["--runtime", f"{arguments.runtime.name}=={arguments.runtime.version}".removesuffix("==")]
    if arguments.passes is not None:
        options += ["--passes", arguments.passes]
    for name in arguments.skip:
        options += ["--skip", name]
    if arguments.shard_size is not None:
        options += ["--shard-size", str(arguments.shard_size)]
    for name in arguments.arrays:
        options += ["--input", name]
    if arguments.inputs is not None:
        options += ["--inputs", arguments.inputs]
    for shape in arguments.shape:
        options += ["--shape", str(shape)]
    options += image_options(arguments) + half_options(arguments) + equalization_options(arguments)
    for library in arguments.custom_ops_library:
        options += ["--custom-ops-library", library]
    for name, dims in arguments.fix_shape:
        options += ["--fix-shape", f"{name}:{','.join(map(str, dims))}"]
    for pattern in arguments.keep:
        options += ["--keep", pattern]
    flags = {
        "--no-verify": not arguments.verify,
        "--freeze-inputs": arguments.freeze_inputs is True,
        "--keep-overridable": arguments.freeze_inputs is False,
        "--external-data": arguments.external_data,
        "--safetensors": arguments.safetensors,
        "--share-data": arguments.share_data,
        "--no-provenance": not arguments.provenance,
    }
    return options + [flag for flag, given in flags.items() if given]


def _known_passes() -> dict[str, str]:
    """Return each pass with the first line of its module's docstring."""
    from onnxnorm.passes import PASSES, Journal, PassSettings

    journal, settings = Journal(), PassSettings()
    modules = {name: sys.modules[type(make(journal, settings)).__module__] for name, make in PASSES.items()}
    return {name: (module.__doc__ or "").strip().partition("\n")[0] for name, module in modules.items()}


def chosen_passes(passes: str | None, skip: Sequence[str]) -> tuple[str, ...]:
    """Return the passes of `--passes` without those of `--skip`.

    Raises:
        UsageError: there is no pass of one of these names.
    """
    from onnxnorm.passes import DEFAULT, PASSES

    chosen = DEFAULT if passes is None else tuple(filter(None, (name.strip() for name in passes.split(","))))
    skipped = [name.strip() for text in skip for name in text.split(",")]
    if not chosen:
        raise UsageError("--passes names no pass; --list-passes lists them")
    for name in [*chosen, *skipped]:
        if name not in PASSES:
            raise UsageError(f"there is no pass {name!r}{closest(name, PASSES)}; there are: {', '.join(PASSES)}")
    return tuple(name for name in chosen if name not in skipped)
