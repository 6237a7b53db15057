"""Judges what the runs of two models gave: every output, and then the whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from onnxnorm.evaluate.operators import is_real
from onnxnorm.verification.accuracy import unit_roundoff
from onnxnorm.verification.cases import FLOAT64, RUNTIME, ExactCase, RealCase, cases_of, is_tie
from onnxnorm.verification.place import find_place
from onnxnorm.verification.report import OutputError, VerifyReport
from onnxnorm.verification.runs import ROUNDED, Runs
from onnxnorm.verification.shaken_runs import add_noise
from onnxnorm.verification.ties import Ties
from onnxnorm.verification.tolerance import Tolerance, outputs_within

__all__ = ["judge", "worst_output"]


def judge(
    runs: Runs,
    *,
    seed: int,
    tolerance: Tolerance | None = None,
    public: Collection[str] | None = None,
    locate: bool = True,
    hopeless: float = math.inf,
) -> VerifyReport:
    """Judge the runs; where the result fails, find the place.

    Args:
        runs: of both models. Copies with moved weights are added to them as they are needed.
        seed: of these copies.
        tolerance: what alone compares the outputs, where there is one.
        public: the outputs of which notes are made, where not of all.
        locate: whether to find the place.
        hopeless: the excess from which on an output fails without a look for more noise.
    """
    shapes = tuple({name: value.shape for name, value in feeds.items()} for feeds in runs.samples)
    notes = list(runs.notes)
    oracle = FLOAT64 if runs.exact is not None else f"{RUNTIME} ({runs.no_exact})"
    if not runs.repeatable:
        reason = "the original gives other outputs each time it runs with the same inputs: nothing can be proved of it"
        return VerifyReport(False, reason, oracle, (), shapes, tuple(notes))
    for (which, level), error in runs.failures.items():
        if which == "result":
            alone = ", without which the original does not run either" if ("original", "off") in runs.failures else ""
            reason = f"the result does not run where the original does (optimizations {level}{alone}): {error}"
            return VerifyReport(False, reason, oracle, (), shapes, tuple(notes))
    names = [output.name for output in runs.other.graph.output]
    told = names if public is None else [name for name in names if name in public]
    if tolerance is None or not tolerance:
        outputs = _judged(runs, names, shapes, seed, hopeless)
    else:
        while _in_doubt(runs, names) and add_noise(runs, seed):
            pass
        outputs = outputs_within(runs, tolerance, shapes)
    notes.extend(
        f"onnxruntime cannot run the original with its optimizations {level}: {error}"
        for (which, level), error in runs.failures.items()
        if which == "original"
    )
    failed = [output for output in outputs if not output.passed]
    verdict, place = None, None
    if failed:
        worst = max(failed, key=lambda o: o.excess)
        if locate and not tolerance:
            place = find_place(runs, _name_of(worst, names), worst.sample, worst.optimizations, seed=seed)
        others = f"; {len(failed) - 1} more outputs failed" if len(failed) > 1 else ""
        how = f"optimizations {worst.optimizations}"
        how = "every operator's result rounded to its type" if worst.optimizations == ROUNDED else how
        verdict = f"output {worst.name!r}, sample {worst.sample}, {how}"
        verdict += f"{'' if worst.index is None else f', at {list(worst.index)}'}: {worst.reason}{others}"
    if runs.exact is not None:
        oracle = "; ".join(sorted({o.yardstick for o in outputs}) or [oracle])
    notes.extend(_weak_evidence(runs, told))
    notes.extend(_doubtful_optimizations(runs, told))
    unreached = tuple(runs.unreached)
    return VerifyReport(not failed, verdict, oracle, tuple(outputs), shapes, tuple(notes), unreached, place)


def _judged(
    runs: Runs, names: Sequence[str], shapes: Sequence[dict[str, tuple[int, ...]]], seed: int, hopeless: float
) -> list[OutputError]:
    """Judge all outputs, with as few runs of the original as decide: more noise allows more, never less."""
    while True:
        outputs = [record for name in names for record in _judge_output(runs, None, name, shapes)]
        if any(each.excess > hopeless for each in outputs):
            return outputs
        if (all(each.passed for each in outputs) and not _in_doubt(runs, names)) or not add_noise(runs, seed):
            break
    if all(each.passed for each in outputs):
        return outputs
    ties = Ties(runs, runs.other)
    return [record for name in names for record in _judge_output(runs, ties, name, shapes)]


def _in_doubt(runs: Runs, names: Sequence[str]) -> bool:
    """Whether two ways to run one of the models are farther apart than the noise that has been seen explains."""
    if "on" in runs.postponed and _result_depends_on_optimizations(runs, names):
        return True
    cases = (
        case
        for name in names
        for level in runs.result
        for sample in range(len(runs.samples))
        for case in cases_of(runs, name, level, sample)
        if isinstance(case, RealCase)
    )
    return any(
        not case.optimizations_trusted or (case.exact is not None and case.yardstick != FLOAT64) for case in cases
    )


def _result_depends_on_optimizations(runs: Runs, names: Sequence[str]) -> bool:
    """Whether onnxruntime's optimizations change the result: then it is of interest what they do to the original."""
    if not {"off", "on"} <= runs.result.keys():
        return True
    pairs = (
        replace(case, base=off[name], paired=on[name])
        for sample, (off, on) in enumerate(zip(runs.result["off"], runs.result["on"], strict=True))
        for name in names
        for case in cases_of(runs, name, "off", sample)
        if isinstance(case, RealCase) and isinstance(off[name], np.ndarray) and off[name].shape == on[name].shape
    )
    return any(not pair.optimizations_trusted for pair in pairs)


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


def _judge_output(
    runs: Runs, ties: Ties | None, name: str, shapes: Sequence[dict[str, tuple[int, ...]]]
) -> list[OutputError]:
    """Judge one output: one record, or one for each element of a sequence, with the worst over samples and levels.

    Without `ties` a decision that hangs on rounding counts as a mistake.
    """
    records: dict[str, OutputError] = {}
    for level in runs.result:
        cases = [(sample, case) for sample in range(len(runs.samples)) for case in cases_of(runs, name, level, sample)]
        for sample, case in cases:
            if level == ROUNDED and isinstance(case, ExactCase) and len(runs.original) > 1:
                continue
            measured = case.measure([other for _, other in cases if other.name == case.name])
            if measured.reason is not None and ties is not None:
                if isinstance(case, RealCase):
                    measured = ties.measure(case, name, sample, level) or measured
                elif is_tie(runs, case, sample, level):
                    measured = replace(measured, excess=1.0, reason=None)
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
