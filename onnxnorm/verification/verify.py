"""Measures whether a transformed model computes what the original computed.

Both models run in onnxruntime with its own optimizations off and on. Their errors are taken against a float64 run of
the original, and the result passes where it is as accurate as the original was; `onnxnorm.verification.accuracy` says
what that means.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onnxnorm.errors import OnnxNormError, naming
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.held import HeldWeights, size_of
from onnxnorm.model.source import ModelLike
from onnxnorm.runtime.inputs import GivenInputs, given_samples, input_specs
from onnxnorm.runtime.random_samples import Ways, random_samples
from onnxnorm.validate.arguments import check_count, check_flags, check_path, check_session_options, check_shapes
from onnxnorm.verification.collect import collect
from onnxnorm.verification.compared_inputs import deciding_samples
from onnxnorm.verification.judge import judge, worst_output
from onnxnorm.verification.memory_needed import lack_of_room
from onnxnorm.verification.message import message_of
from onnxnorm.verification.piecewise import Verdict, in_pieces, is_large
from onnxnorm.verification.random_draws import OtherDrawsError
from onnxnorm.verification.report import OutputError, VerifyReport
from onnxnorm.verification.runs import Runs
from onnxnorm.verification.signature import as_a_run_shows, as_onnxruntime_sees, difference
from onnxnorm.verification.smallest import pairs_that_differ, write_pair
from onnxnorm.verification.tolerance import Tolerance, with_outputs_named
from onnxnorm.verification.unknown_ops import completed, cut_around_unknown

if TYPE_CHECKING:
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

__all__ = ["OutputError", "VerifyReport", "verify", "verify_source"]


def verify(
    a: ModelLike,
    b: ModelLike,
    inputs: GivenInputs | None = None,
    *,
    seed: int = 0,
    samples: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    strict: bool = False,
    bisect: str | os.PathLike[str] | None = None,
    session_options: onnxruntime.SessionOptions | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    cosine: float | None = None,
    snr: float | None = None,
    renamed: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Check that `b` computes what `a` computes, as accurately as `a` does.

    For a `b` that loses accuracy on purpose, such as a quantized model, there are tolerances: where any is given, they
    alone decide, and it is no proof.

    Args:
        a: the original: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one.
        b: the result, in any of these forms or as `optimize` returns it.
        inputs: arrays by input name, a list of such mappings, or the path of a .npz file; random where None.
        seed: of the random inputs.
        samples: how many random inputs, by default 3 where dimensions are free, which get another size in each, else 2.
            Others follow where the original compares inputs with constants, or takes them for masks.
        shapes: for random inputs, the shape of some or all of them by name.
        strict: fail where the inputs leave a part of the original unreached: see `VerifyReport.unreached`.
        bisect: a folder for the smallest pair of models that still differ, with their inputs, where `b` fails.
        session_options: the options of onnxruntime's sessions, such as with libraries of custom operators registered;
            the level of optimizations in them is ours, and `session.disable_quant_qdq` is set. Operators that
            onnxruntime does not know are left out of the comparison otherwise, with what they give made up, and a note.
        atol, rtol: let each element be off by atol + rtol * |exact value|.
        cosine: the least cosine similarity of each output with the exact one.
        snr: the least signal-to-noise ratio of each output in decibels.
        renamed: the names of outputs in `b`, by their names in `a`, where they differ.

    Raises:
        OnnxNormError: a model or an input file cannot be read, the inputs do not fit the original, or onnxruntime
            cannot run the original.
    """
    check_flags(strict=strict)
    check_count("samples", samples)
    check_count("seed", seed, least=0)
    check_shapes("shapes", shapes)
    check_session_options("session_options", session_options)
    if bisect is not None:
        check_path("bisect", bisect)
    return verify_source(
        ModelSource(a),
        b,
        inputs,
        seed=seed,
        samples=samples,
        shapes=shapes,
        strict=strict,
        bisect=bisect,
        session_options=session_options,
        tolerance=Tolerance(atol, rtol, cosine, snr),
        renamed=renamed,
    )


def verify_source(
    source: ModelSource,
    b: ModelLike,
    inputs: GivenInputs | None = None,
    *,
    seed: int = 0,
    samples: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    strict: bool = False,
    bisect: str | os.PathLike[str] | None = None,
    session_options: onnxruntime.SessionOptions | None = None,
    is_checked: bool = False,
    tolerance: Tolerance | None = None,
    renamed: Mapping[str, str] | None = None,
) -> VerifyReport:
    """Do as `verify` does, for an original that other stages read too.

    Args:
        source: the original.
        b, inputs, seed, samples, shapes, strict, bisect, session_options, renamed: see `verify`.
        is_checked: the original has been read as a graph already, so that it is known to be well-formed.
        tolerance: what `verify` takes for lossy changes.
    """
    held = HeldWeights()
    original, result = message_of(source, held, is_checked), message_of(ModelSource(b), held)
    with naming(source.name):
        if renamed:
            result = with_outputs_named(original, result, renamed)
        different = difference(original, result, any_real=bool(tolerance))
        cut = cut_around_unknown(original, result, session_options)
        original, result = cut.original, cut.result
        if different is not None:
            seen, theirs = as_onnxruntime_sees(original, result, session_options)
            different = difference(seen, theirs, any_real=bool(tolerance))
        candidates = _ways_to_fill(original, inputs, cut.made_up, shapes or {}, samples, seed)
        if different is not None:
            shown = as_a_run_shows(original, seen, candidates[0].draws, session_options)
            different = difference(shown, theirs, any_real=bool(tolerance))
        if different is not None:
            return VerifyReport(False, different, "none: the models were not run")
        try:
            verdict = _judged(original, result, candidates, seed, session_options, tolerance)
        except OtherDrawsError as error:
            return VerifyReport(False, str(error), "none: the models were not run")
        except MemoryError:
            raise OnnxNormError("verifying it takes more memory than there is; give smaller shapes or inputs") from None
        report, runs = replace(verdict.report, notes=(*cut.notes, *verdict.report.notes)), verdict.runs
        if bisect is not None and runs is not None and not report.passed and not tolerance:
            report = _with_smallest_pair(report, runs, Path(bisect), seed)
        if strict and report.passed and report.unreached:
            more = f"; {len(report.unreached) - 1} more parts are not reached" if len(report.unreached) > 1 else ""
            return replace(report, passed=False, reason=f"{report.unreached[0]}{more}; give inputs that do")
        return report


def _ways_to_fill(
    original: onnx.ModelProto,
    inputs: GivenInputs | None,
    made_up: Collection[str],
    shapes: Mapping[str, Sequence[int]],
    samples: int | None,
    seed: int,
) -> list[Ways]:
    """Return for each sample the ways to fill the inputs: what the caller gave, or random numbers of these shapes.

    The inputs `made_up` stand for what an unknown operator gives; the caller knows nothing of them.

    Raises:
        OnnxNormError: what is given does not fit the model, or there would be no sample.
    """
    specs = input_specs(original, takes_bfloat16=True)
    if inputs is not None:
        if shapes:
            raise OnnxNormError("give inputs or shapes, not both: the inputs have shapes of their own")
        constants = {tensor.name for tensor in original.graph.initializer}
        overridable = [value.name for value in original.graph.input if value.name in constants]
        given = given_samples(inputs, [spec for spec in specs if spec.name not in made_up], overridable)
        return [Ways(partial(completed, specs, feeds, seed)) for feeds in given]
    if samples is None:
        samples = 3 if any(isinstance(dim, str) for spec in specs for dim in spec.dims or ()) else 2
    if samples < 1:
        raise OnnxNormError(f"samples must be at least 1, not {samples}")
    draws = [Ways(partial(random_samples, specs, dict(shapes), seed=seed, index=i)) for i in range(samples)]
    return [*draws, *deciding_samples(original, specs, dict(shapes), seed=seed)]


def _judged(
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    candidates: Sequence[Ways],
    seed: int,
    options: onnxruntime.SessionOptions | None,
    tolerance: Tolerance | None,
) -> Verdict:
    """Compare two models, large ones in pieces first; what fails in a piece is compared as a whole.

    The piece shows the place then where the whole does not, and decides where there is no room for the whole.

    Raises:
        OnnxNormError: there is no room, and no piece was compared.
    """
    failed = None
    if not tolerance and is_large(original, result):
        failed = in_pieces(original, result, candidates, seed=seed, options=options)
        if failed is not None and failed.report.passed:
            return failed
    lack = lack_of_room(size_of(original))
    if lack is not None:
        if failed is None:
            raise OnnxNormError(lack)
        return failed
    runs = collect(original, result, candidates, seed=seed, options=options)
    if failed is None:
        return Verdict(judge(runs, seed=seed, tolerance=tolerance), runs)
    report = judge(runs, seed=seed, locate=failed.report.place is None)
    if report.passed or report.place is not None:
        return Verdict(report, runs)
    return Verdict(replace(report, place=failed.report.place), failed.runs)


def _with_smallest_pair(report: VerifyReport, runs: Runs, folder: Path, seed: int) -> VerifyReport:
    """Write the smallest pair of models that still differ, and say so in the notes."""
    worst = worst_output(report, runs)
    if worst is None:
        return report
    for pair in pairs_that_differ(runs, report.place, *worst):
        try:
            differs = not verify(pair.original, pair.result, pair.feeds, seed=seed, session_options=runs.options)
        except OnnxNormError:
            continue
        if differs:
            told = f"the smallest pair of models that differ is in {folder}: {write_pair(pair, folder)}"
            return replace(report, notes=(*report.notes, told))
    return replace(report, notes=(*report.notes, "no part of the models by itself differs: nothing was written"))
