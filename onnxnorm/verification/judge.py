"""Judges what the runs of two models gave: every output, and then the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from onnxnorm.evaluate.operators import is_real
from onnxnorm.verification.accuracy import unit_roundoff
from onnxnorm.verification.cases import FLOAT64, RUNTIME, ExactCase, RealCase, cases_of, is_tie
from onnxnorm.verification.place import find_place
from onnxnorm.verification.report import OutputError, VerifyReport
from onnxnorm.verification.runs import ROUNDED, Runs
from onnxnorm.verification.ties import Ties
from onnxnorm.verification.tolerance import Tolerance, outputs_within

__all__ = ["judge", "worst_output"]


def judge(runs: Runs, *, seed: int, tolerance: Tolerance | None = None) -> VerifyReport:
    """Judge the runs; where the result fails, find the place.

    With a tolerance the outputs are compared by that alone.
    """
    shapes = tuple({name: value.shape for name, value in feeds.items()} for feeds in runs.samples)
    notes = list(runs.notes)
    oracle = FLOAT64 if runs.exact is not None else f"{RUNTIME} ({runs.no_exact})"
    if not runs.repeatable:
        reason = "the original gives other outputs each time it runs with the same inputs: nothing can be proved of it"
        return VerifyReport(False, reason, oracle, (), shapes, tuple(notes))
    for (which, level), error in runs.failures.items():
        if which == "original":
            notes.append(f"onnxruntime cannot run the original with its optimizations {level}: {error}")
        else:
            alone = ", without which the original does not run either" if ("original", "off") in runs.failures else ""
            reason = f"the result does not run where the original does (optimizations {level}{alone}): {error}"
            return VerifyReport(False, reason, oracle, (), shapes, tuple(notes))
    names = [output.name for output in runs.model.graph.output]
    if tolerance:
        outputs = outputs_within(runs, tolerance, shapes)
    else:
        ties = Ties(runs, runs.other)
        outputs = [record for name in names for record in _judge_output(runs, ties, name, shapes)]
    failed = [output for output in outputs if not output.passed]
    verdict, place = None, None
    if failed:
        worst = max(failed, key=lambda o: o.excess)
        if not tolerance:
            place = find_place(runs, _name_of(worst, names), worst.sample, worst.optimizations, seed=seed)
        others = f"; {len(failed) - 1} more outputs failed" if len(failed) > 1 else ""
        how = f"optimizations {worst.optimizations}"
        how = "every operator's result rounded to its type" if worst.optimizations == ROUNDED else how
        verdict = f"output {worst.name!r}, sample {worst.sample}, {how}"
        verdict += f"{'' if worst.index is None else f', at {list(worst.index)}'}: {worst.reason}{others}"
    if runs.exact is not None:
        oracle = "; ".join(sorted({o.yardstick for o in outputs}) or [oracle])
    notes.extend(_weak_evidence(runs, names))
    notes.extend(_doubtful_optimizations(runs, names))
    unreached = tuple(runs.unreached)
    return VerifyReport(not failed, verdict, oracle, tuple(outputs), shapes, tuple(notes), unreached, place)


def worst_output(report: VerifyReport, runs: Runs) -> tuple[str, int] | None:
    """Return the output that failed by most, and the sample in which it did."""
    failed = [output for output in report.outputs if not output.passed]
    if not failed:
        return None
    worst = max(failed, key=lambda o: o.excess)
    return _name_of(worst, [output.name for output in runs.model.graph.output]), worst.sample


def _name_of(error: OutputError, names: Sequence[str]) -> str:
    """Return the output; an element of a sequence has a number behind its name."""
    return error.name if error.name in names else error.name.rpartition("[")[0]


def _judge_output(runs: Runs, ties: Ties, name: str, shapes: Sequence[dict[str, tuple[int, ...]]]) -> list[OutputError]:
    """Judge one output: one record, or one for each element of a sequence, with the worst over samples and levels."""
    records: dict[str, OutputError] = {}
    for level in runs.result:
        cases = [(sample, case) for sample in range(len(runs.samples)) for case in cases_of(runs, name, level, sample)]
        for sample, case in cases:
            if level == ROUNDED and isinstance(case, ExactCase) and len(runs.original) > 1:
                continue
            measured = case.measure([other for _, other in cases if other.name == case.name])
            if measured.reason is not None and isinstance(case, ExactCase) and is_tie(runs, case, sample, level):
                measured = replace(measured, excess=1.0, reason=None)
            if measured.reason is not None and isinstance(case, RealCase):
                measured = ties.measure(case, name, sample, level) or measured
            new = OutputError(
                name=case.name,
                passed=measured.reason is None,
                error_original=measured.error_original,
                error_result=measured.error_result,
                index=measured.index,
                sample=sample,
                shapes=shapes[sample],
                optimizations=level,
                excess=measured.excess,
                least_absolute_tolerance=measured.least_absolute,
                least_relative_tolerance=measured.least_relative,
                yardstick=case.yardstick,
                reason=measured.reason,
            )
            records[case.name] = _worse(records.get(case.name), new)
    return list(records.values())


def _worse(old: OutputError | None, new: OutputError) -> OutputError:
    if old is None:
        return new
    worse = new if (not new.passed, new.excess) > (not old.passed, old.excess) else old
    return replace(
        worse,
        error_original=max(old.error_original, new.error_original),
        error_result=max(old.error_result, new.error_result),
        least_absolute_tolerance=max(old.least_absolute_tolerance, new.least_absolute_tolerance),
        least_relative_tolerance=max(old.least_relative_tolerance, new.least_relative_tolerance),
    )


def _weak_evidence(runs: Runs, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        values = [outputs[name] for outputs in next(iter(runs.original.values()))]
        if not all(is_real(value) and value.size for value in values):
            continue
        wide = [value.astype(np.float64) for value in values]
        if not any(np.isfinite(value).any() for value in wide):
            yield f"output {name!r} has no finite number in any sample: only its kind was compared"
        elif len(wide) > 1 and all(
            value.shape == wide[0].shape
            and np.allclose(value, wide[0], rtol=16 * unit_roundoff(values[0].dtype), atol=0)
            for value in wide
        ):
            yield f"output {name!r} is the same for all inputs: it proves little about what comes before it"


def _doubtful_optimizations(runs: Runs, names: Sequence[str]) -> Iterator[str]:
    """Yield a note on each output that onnxruntime's optimizations change in the original: it proves little."""
    for name in names:
        if "on" in runs.original and any(
            isinstance(case, RealCase) and not case.optimizations_trusted
            for sample in range(len(runs.samples))
            for case in cases_of(runs, name, "on", sample)
        ):
            yield f"onnxruntime's own optimizations change the original's {name!r} by more than rounding explains"
