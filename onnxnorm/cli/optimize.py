"""Runs `onnxnorm optimize` and `onnxnorm fold`, which is the same with the folding passes alone."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from onnxnorm.cli.equalization import check_equalization, equalization_wanted
from onnxnorm.cli.exit_codes import JobError, UsageError, refuse_beside
from onnxnorm.cli.further import (
    bench,
    node_changes,
    output_place,
    print_further,
    refuse_for_many,
    refuse_in_place,
)
from onnxnorm.cli.half_precision import half_of
from onnxnorm.cli.image_input import preprocessing_of
from onnxnorm.cli.libraries import options_of
from onnxnorm.cli.model_paths import is_batch
from onnxnorm.cli.optimize_options import DESCRIPTIONS, add_arguments, chosen_passes, options_of_one
from onnxnorm.cli.summary import Changes, print_changes, print_explained
from onnxnorm.cli.trying import tried
from onnxnorm.errors import OnnxNormError
from onnxnorm.process.child import end_with_parent

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxnorm.io.model_source import ModelSource
    from onnxnorm.journal import Rewrite
    from onnxnorm.model.source import ModelLike
    from onnxnorm.optimizer.inspect import NormRecord
    from onnxnorm.optimizer.optimize import OptimizeResult
    from onnxnorm.optimizer.preparation import Half
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

_Done: TypeAlias = "tuple[Changes, VerifyReport | None]"


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    _refuse_contradictions(arguments)
    if arguments.summary:
        # A batch began this process, and nobody else wants its result.
        end_with_parent(signal.SIGTERM)
    if is_batch(arguments.input):
        if arguments.command == "fold":
            raise UsageError(f"{arguments.input[0]}: fold takes one model; `onnxnorm optimize` takes many")
        if arguments.bisect is not None:
            raise UsageError(f"--bisect {arguments.bisect}: takes one model at a time")
        refuse_for_many(arguments)
        from onnxnorm.cli.batch import run_batch

        return run_batch(arguments, options_of_one(arguments))
    (arguments.input,) = arguments.input
    with output_place(arguments) as told:
        return _optimize(arguments, told)


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if not arguments.verify:
        samples = {"--input": arguments.arrays, "--inputs": arguments.inputs, "--shape": arguments.shape}
        compared = {"--bisect": arguments.bisect, **({} if arguments.bench else samples)}
        refuse_beside("--no-verify", compared, "nothing is compared")
    if arguments.json:
        refuse_beside("--json", {"--explain": arguments.explain}, "the document tells all of every normalization")


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
    refuse_in_place(arguments, source)
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
    from onnxnorm.cli.tables import count_operators, model_size, status, steps, written_size
    from onnxnorm.optimizer.accounted import accounted
    from onnxnorm.optimizer.bias_corrected import bias_corrected
    from onnxnorm.optimizer.preparation import equalized, in_half
    from onnxnorm.optimizer.proved import without_disproved
    from onnxnorm.optimizer.provenance import provenance, sign
    from onnxnorm.passes import DEFAULT, FOLDING

    with status(f"reading {arguments.input}"):
        original = source.graph()
    if arguments.verify:
        from onnxnorm.verification.memory_needed import check_room

        with _unproved():
            check_room(original, arguments.input)
    size_before = model_size(arguments.input, original)
    before = count_operators(original.graph.all_nodes())
    passes = FOLDING if arguments.command == "fold" else chosen_passes(arguments.passes, arguments.skip)
    equalization = equalization_wanted(arguments)
    loaded = [original]
    # The original goes out of memory where it is transformed.
    del original
    begun, took = time.perf_counter(), 0.0
    options = _options_of_passes(arguments)

    def run(names: Sequence[str], kept: Collection[str]) -> tuple[OptimizeResult, tuple[NormRecord, ...]]:
        nonlocal took
        start = time.process_time()
        model = loaded.pop() if loaded else source.graph()
        with steps(f"optimizing {arguments.input}", len(names)) as advance:
            done, records = accounted(model, passes=names, on_pass=advance, kept=kept, **options)
        took = time.process_time() - start
        return equalized(
            done, equalization, arguments.input, target=arguments.target, calibration=arguments.calibration
        ), records

    prove = (lambda done: _proof_of(source, done[0].ir_model, arguments)) if arguments.verify else None
    (result, records), proof, notes = without_disproved(run, prove, lambda done: done[0].rewrites, passes, source.graph)
    if proof is not None:
        _refuse_unless_passed(proof, arguments)
    result, corrected = bias_corrected(
        replace(result, report=proof), equalization, arguments.input, calibration=arguments.calibration
    )
    proof = result.report
    given = arguments.calibration or arguments.samples[0]
    result = in_half(result, half, arguments.input, inputs=given, judge=arguments.verify)
    model = result.ir_model
    if arguments.provenance:
        ran = None if passes == DEFAULT else passes
        sign(model, provenance(ran, arguments.target, proof, corrected=corrected))
    if not arguments.summary:
        # A summary tells of no remedies. They are tried before the result may take the place of the original.
        seconds = (time.perf_counter() - begun) / 4
        records = tried(source, records, {**options, "passes": passes}, took=took, seconds=seconds)
    _write(model, arguments)
    after = count_operators(model.graph.all_nodes())
    sizes = (size_before, written_size(arguments.output))
    return _changes(arguments, (before, after), sizes, result.rewrites, records, result.notes + notes, proof), proof


def _options_of_passes(arguments: argparse.Namespace) -> dict[str, Any]:
    from onnxnorm.optimizer.for_runtime import target_for

    return {
        "target": target_for(arguments.runtime, arguments.target),
        "opset": arguments.opset,
        "runtime": arguments.runtime,
        "freeze_inputs": arguments.freeze_inputs,
        "max_growth": arguments.max_growth,
        "keep": arguments.keep,
        "workspace": Path(arguments.output).parent,
        "name": arguments.input,
    }


def _write(model: ir.Model, arguments: argparse.Namespace) -> None:
    from onnxnorm.cli.tables import transfer
    from onnxnorm.io.load_and_save import save
    from onnxnorm.model.walk import weight_bytes

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
