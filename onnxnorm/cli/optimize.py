"""Runs `onnxnorm optimize` and `onnxnorm fold`, which is the same with the folding passes alone."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from onnxnorm.cli.equalization import (
    add_equalization_arguments,
    check_equalization,
    equalization_options,
    equalization_wanted,
)
from onnxnorm.cli.exit_codes import JobError, UsageError
from onnxnorm.cli.further import (
    add_further_arguments,
    bench,
    node_changes,
    output_place,
    print_further,
    refuse_for_many,
)
from onnxnorm.cli.half_precision import add_half_arguments, half_of, half_options
from onnxnorm.cli.image_input import add_image_arguments, image_options, preprocessing_of
from onnxnorm.cli.libraries import add_library_option, options_of
from onnxnorm.cli.model_paths import is_batch
from onnxnorm.cli.summary import Changes, print_changes, print_explained
from onnxnorm.cli.tensor_files import add_sample_options, fixed_shape, growth, positive, size
from onnxnorm.errors import OnnxNormError
from onnxnorm.validate.choices import closest, target_named
from onnxnorm.validate.runtimes import runtime_named

if TYPE_CHECKING:
    from onnxnorm.io.model_source import ModelSource
    from onnxnorm.journal import Rewrite
    from onnxnorm.model.source import ModelLike
    from onnxnorm.optimizer.inspect import NormRecord
    from onnxnorm.optimizer.optimize import OptimizeResult
    from onnxnorm.optimizer.preparation import Half
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["DESCRIPTIONS", "add_arguments", "add_choices", "run"]

_Done: TypeAlias = "tuple[Changes, VerifyReport | None]"

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
        help="leave this normalization alone; a pattern such as 'head.*' means all that match; may be given several "
        "times",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if is_batch(arguments.input):
        if arguments.command == "fold":
            raise UsageError(f"{arguments.input[0]}: fold takes one model; `onnxnorm optimize` takes many")
        if arguments.bisect is not None:
            raise UsageError(f"--bisect {arguments.bisect}: takes one model at a time")
        refuse_for_many(arguments)
        from onnxnorm.cli.batch import run_batch

        return run_batch(arguments, _options(arguments))
    (arguments.input,) = arguments.input
    with output_place(arguments) as told:
        return _optimize(arguments, told)


def _optimize(arguments: argparse.Namespace, told: str) -> int:
    """Optimize one model; `told` is what the result is called."""
    arguments.session_options = options_of(arguments) if arguments.verify or arguments.bench else None
    if (arguments.verify or arguments.bench) and (arguments.arrays or arguments.inputs or arguments.shape):
        from onnxnorm.cli.feeds import samples_for

        arguments.samples = samples_for(
            arguments.input, arguments.arrays, arguments.inputs, arguments.shape, arguments.session_options
        )
    from onnxnorm.io.model_source import ModelSource

    check_equalization(arguments)
    source = ModelSource(arguments.input)
    if arguments.fix_shape:
        from onnxnorm.optimizer.fixed_shapes import source_of

        source = source_of(arguments.input, dict(arguments.fix_shape))
    if (preprocessing := preprocessing_of(arguments)) is not None:
        from onnxnorm.optimizer.preparation import with_preprocessing

        source = with_preprocessing(source, preprocessing)
    half = half_of(arguments)
    plain = None if half is not None or arguments.prepare is not None else _plainly(arguments, source)
    changes, proof = plain or _by_passes(arguments, source, half)
    changes = replace(changes, output=told)
    changed = node_changes(source, arguments.output, changes.rewrites) if arguments.diff else None
    latency = bench(arguments, source) if arguments.bench else None
    if arguments.summary or arguments.json:
        from onnxnorm.cli.tables import print_json

        further = {key: value for key, value in (("diff", changed), ("latency", latency)) if value is not None}
        print_json(changes.summary() if arguments.summary else {**changes.document(), **further})
    else:
        speed = None if latency is None else latency.ratio
        print_changes(changes, proof, list_all=arguments.all, speed=speed)
        if arguments.explain is not None:
            print_explained(changes, arguments.explain)
        print_further(changed, latency)
    return 0


def _plainly(arguments: argparse.Namespace, source: ModelSource) -> _Done | None:
    """Take the fast path, for a plain network; None where that is closed, or more is asked for than it gives."""
    weights_apart = arguments.external_data or arguments.safetensors or arguments.share_data or arguments.shard_size
    chosen = arguments.passes is not None or arguments.skip or arguments.opset is not None
    chosen = chosen or arguments.keep or arguments.fix_shape or arguments.runtime is not None
    if weights_apart or chosen or arguments.json:
        return None
    from onnxnorm.cli.tables import count_operators, status
    from onnxnorm.io.replace import write_message
    from onnxnorm.optimizer.fast_path import folded
    from onnxnorm.optimizer.provenance import provenance, sign
    from onnxnorm.optimizer.records import absorbed

    with status(f"optimizing {arguments.input}"):
        original = source.message
        done = None if original is None else folded(original)
        if original is None or done is None:
            return None
        size_before = Path(arguments.input).stat().st_size
        before = count_operators(original.graph.node)
        message, rewrites = done
    proof = _proof_of(source, message, arguments) if arguments.verify else None
    if proof is not None and not proof.passed:
        # The passes can be left out one by one.
        return None
    if arguments.provenance:
        sign(message, provenance(None, arguments.target, proof))
    data = message.SerializeToString()
    write_message(data, arguments.output)
    after = count_operators(message.graph.node)
    records = absorbed(rewrites)
    return _changes(arguments, (before, after), (size_before, len(data)), rewrites, records, (), proof), proof


def _by_passes(arguments: argparse.Namespace, source: ModelSource, half: Half | None) -> _Done:
    from onnxnorm.cli.tables import count_operators, model_size, status, steps, transfer, written_size
    from onnxnorm.io.load_and_save import save
    from onnxnorm.model.walk import weight_bytes
    from onnxnorm.optimizer.for_runtime import target_for
    from onnxnorm.optimizer.inspect import account
    from onnxnorm.optimizer.optimize import transform
    from onnxnorm.optimizer.preparation import equalized, in_half
    from onnxnorm.optimizer.proved import without_disproved
    from onnxnorm.optimizer.provenance import provenance, sign
    from onnxnorm.passes import DEFAULT, FOLDING
    from onnxnorm.verification.memory_needed import check_room

    with status(f"reading {arguments.input}"):
        original = source.graph()
    if arguments.verify:
        with _unproved():
            check_room(original, arguments.input)
    size_before = model_size(arguments.input, original)
    before = count_operators(original.graph.all_nodes())
    passes = FOLDING if arguments.command == "fold" else _chosen_passes(arguments.passes, arguments.skip)
    loaded = [original]
    # The original goes out of memory where it is transformed.
    del original

    def run(names: Sequence[str], kept: Collection[str]) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
        model = loaded.pop() if loaded else source.graph()
        with steps(f"optimizing {arguments.input}", len(names)) as advance:
            done, records = account(
                model,
                lambda model: transform(
                    model,
                    passes=names,
                    target=target_for(arguments.runtime, arguments.target),
                    opset=arguments.opset,
                    runtime=arguments.runtime,
                    freeze_inputs=arguments.freeze_inputs,
                    max_growth=arguments.max_growth,
                    keep=arguments.keep,
                    workspace=Path(arguments.output).parent,
                    name=arguments.input,
                    on_pass=advance,
                    kept=kept,
                ),
            )
        samples = arguments.calibration
        wanted = equalization_wanted(arguments)
        return equalized(done, wanted, arguments.input, target=arguments.target, calibration=samples), records

    prove = (lambda done: _proof_of(source, done[0].ir_model, arguments)) if arguments.verify else None
    (result, records), proof, notes = without_disproved(run, prove, lambda done: done[0].rewrites, passes, source.graph)
    if proof is not None:
        _refuse_unless_passed(proof, arguments)
    given = arguments.calibration or arguments.samples[0]
    result = in_half(result, half, arguments.input, inputs=given, judge=arguments.verify)
    model = result.ir_model
    if arguments.provenance:
        sign(model, provenance(None if passes == DEFAULT else passes, arguments.target, proof))
    with transfer(f"writing {arguments.output}", weight_bytes(model)) as on_bytes:
        save(
            model,
            arguments.output,
            external_data=arguments.external_data or None,
            shard_size=arguments.shard_size,
            share_data=arguments.share_data,
            safetensors=arguments.safetensors,
            on_bytes=on_bytes,
        )
    after = count_operators(model.graph.all_nodes())
    sizes = (size_before, written_size(arguments.output))
    return _changes(arguments, (before, after), sizes, result.rewrites, records, result.notes + notes, proof), proof


def _changes(
    arguments: argparse.Namespace,
    operators: tuple[Mapping[str, int], Mapping[str, int]],
    sizes: tuple[int, int],
    rewrites: tuple[Rewrite, ...],
    records: tuple[NormRecord, ...],
    notes: tuple[str, ...],
    proof: VerifyReport | None,
) -> Changes:
    verification = None if proof is None else proof.to_dict()
    return Changes(arguments.input, arguments.output, *operators, *sizes, rewrites, records, notes, verification)


def _options(arguments: argparse.Namespace) -> list[str]:
    """Return the options again, for the process of each model."""
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


def _chosen_passes(passes: str | None, skip: Sequence[str]) -> tuple[str, ...]:
    from onnxnorm.passes import DEFAULT, PASSES

    chosen = DEFAULT if passes is None else tuple(filter(None, (name.strip() for name in passes.split(","))))
    skipped = [name.strip() for text in skip for name in text.split(",")]
    for name in [*chosen, *skipped]:
        if name not in PASSES:
            raise UsageError(f"there is no pass {name!r}{closest(name, PASSES)}; there are: {', '.join(PASSES)}")
    return tuple(name for name in chosen if name not in skipped)


@contextlib.contextmanager
def _unproved() -> Iterator[None]:
    try:
        yield
    except OnnxNormError as error:
        raise JobError(f"{error}; nothing was written, --no-verify writes the result unproved") from error


def _proof_of(source: ModelSource, result: ModelLike, arguments: argparse.Namespace) -> VerifyReport:
    from onnxnorm.cli.tables import status
    from onnxnorm.verification.verify import verify_source

    inputs, shapes = arguments.samples
    with _unproved(), status("verifying the result against the original"):
        # The original first: it says what is in the way where the models are too large.
        report = verify_source(
            source,
            result,
            inputs,
            shapes=shapes,
            bisect=arguments.bisect,
            session_options=arguments.session_options,
            is_checked=True,
        )
    if not report.passed and arguments.bisect is not None:
        print(f"onnxnorm: note: {report.notes[-1]}" if report.notes else "", file=sys.stderr)
        # What is tried after the first failure is another result.
        arguments.bisect = None
    return report


def _refuse_unless_passed(report: VerifyReport, arguments: argparse.Namespace) -> None:
    if not report.passed:
        raise JobError(f"{arguments.input}: the verification {report}; nothing was written")
