"""Measures whether a transformed model computes what the original computed.

Both models run in onnxruntime with its own optimizations off and on. Their errors are taken against a float64 run of
the original, and the result passes where it is as accurate as the original was; `onnxnorm.verification.accuracy` says
what that means.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxnorm.display import data_frame, html_table, plain
from onnxnorm.errors import OnnxNormError, naming
from onnxnorm.evaluate.operators import is_real
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.source import ModelLike
from onnxnorm.runtime.inputs import Draw, GivenInputs, Ways, given_samples, input_specs, random_samples
from onnxnorm.verification.accuracy import unit_roundoff
from onnxnorm.verification.cases import FLOAT64, RUNTIME, ExactCase, RealCase, cases_of, is_tie
from onnxnorm.verification.compared_inputs import deciding_samples
from onnxnorm.verification.message import message_of
from onnxnorm.verification.random_draws import OtherDrawsError
from onnxnorm.verification.runs import ROUNDED, Runs, collect
from onnxnorm.verification.signature import as_onnxruntime_sees, difference
from onnxnorm.verification.ties import Ties

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]

__all__ = ["OutputError", "VerifyReport", "verify", "verify_source"]


@dataclass(frozen=True)
class OutputError:
    """The worst error of one output over all samples and both runs.

    Attributes:
        name: the output; an element of a sequence is `name[i]`.
        passed: whether the result is as accurate as the original was, everywhere.
        error_original, error_result: the largest absolute errors (of integers and text: how many elements differ).
        index: the element where the error is largest in proportion to what is allowed at its place.
        sample, shapes, optimizations: where that is: the number of the sample, its inputs' shapes, and whether
            onnxruntime's own optimizations were "off" or "on"; "rounded" is a run in float64 in which every operator's
            result is rounded to its type, for models with halves.
        excess: the error over what is allowed at its place, up to 1 where it passed.
        least_absolute_tolerance, least_relative_tolerance: the least tolerance, of one kind alone, with which every
            element of every run would pass a plain comparison with the yardstick.
        yardstick: what the errors are measured against.
        reason: why it did not pass, or None.
    """

    name: str
    passed: bool
    error_original: float
    error_result: float
    index: tuple[int, ...] | None
    sample: int
    shapes: dict[str, tuple[int, ...]]
    optimizations: str
    excess: float
    least_absolute_tolerance: float
    least_relative_tolerance: float
    yardstick: str
    reason: str | None = None


@dataclass(frozen=True, repr=False)
class VerifyReport:
    """The verdict of `verify`, true where it passed.

    Attributes:
        passed: whether the result computes what the original computes.
        reason: why not, or None.
        oracle: what the errors are measured against, and why, if it is not a float64 run.
        outputs: one record for each output; empty where the models could not be compared.
        samples: the shapes of the inputs, for each sample.
        notes: what a reader should know: shapes that the original refused, outputs that prove little since they hold no
            finite number or are the same whatever the inputs.
        unreached: branches of If, bodies of Loop and sides of Where in the original that no sample takes: what they
            compute was not compared.
    """

    passed: bool
    reason: str | None
    oracle: str
    outputs: tuple[OutputError, ...] = ()
    samples: tuple[dict[str, tuple[int, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.passed

    @property
    def least_absolute_tolerance(self) -> float:
        """The least absolute tolerance, in the units of the outputs, with which all would pass a plain comparison."""
        return max((o.least_absolute_tolerance for o in self.outputs), default=0.0)

    @property
    def least_relative_tolerance(self) -> float:
        """The least relative tolerance with which all outputs would pass a plain comparison."""
        return max((o.least_relative_tolerance for o in self.outputs), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the report in types that JSON has; infinities and NaN are the strings "inf" and "nan"."""
        record = asdict(self)
        record["least_absolute_tolerance"] = self.least_absolute_tolerance
        record["least_relative_tolerance"] = self.least_relative_tolerance
        converted: dict[str, Any] = plain(record)
        return converted

    def to_dataframe(self) -> pd.DataFrame:
        """Return a data frame of pandas with a row for each output and a column for each attribute of `OutputError`.

        Raises:
            OnnxNormError: pandas is not installed.
        """
        names = [field.name for field in fields(OutputError)]
        return data_frame(names, ([getattr(output, name) for name in names] for output in self.outputs))

    def __repr__(self) -> str:
        return f"<VerifyReport: {self}>"

    def _repr_html_(self) -> str:
        """Return the verdict and a table of the outputs, as notebooks show it."""
        rows = [
            (
                o.name,
                "passed" if o.passed else o.reason,
                f"{o.error_original:.3g}",
                f"{o.error_result:.3g}",
                o.yardstick,
            )
            for o in self.outputs
        ]
        table = html_table(("output", "verdict", "error of the original", "error of the result", "against"), rows)
        return f"<p><b>{html.escape(str(self))}</b></p>\n{table if rows else ''}"

    def __str__(self) -> str:
        if not self.passed:
            return f"failed: {self.reason}"
        worst = max(self.outputs, key=lambda o: o.excess, default=None)
        measured = (
            ""
            if worst is None
            else f"; largest error {max(o.error_result for o in self.outputs):.3g} where the original has "
            f"{max(o.error_original for o in self.outputs):.3g}, at most {worst.excess:.2g} of what is allowed"
        )
        return f"passed: {len(self.outputs)} outputs, {len(self.samples)} samples{measured} (against: {self.oracle})"


def verify(
    a: ModelLike,
    b: ModelLike,
    inputs: GivenInputs | None = None,
    *,
    seed: int = 0,
    samples: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    strict: bool = False,
) -> VerifyReport:
    """Check that `b` computes what `a` computes, as accurately as `a` does.

    Args:
        a: the original: a path, a `ModelProto`, an `onnx_ir.Model`, or what carries one.
        b: the result, in any of these forms or as `optimize` returns it.
        inputs: arrays by input name, a list of such mappings, or the path of a .npz file; random where None.
        seed: of the random inputs.
        samples: how many random inputs, by default 3 where dimensions are free, which get another size in each, else 2.
            Others follow where the original compares inputs with constants, or takes them for masks.
        shapes: for random inputs, the shape of some or all of them by name.
        strict: fail where the inputs leave a part of the original unreached: see `VerifyReport.unreached`.

    Raises:
        OnnxNormError: a model or an input file cannot be read, the inputs do not fit the original, or onnxruntime
            cannot run the original.
    """
    return verify_source(ModelSource(a), b, inputs, seed=seed, samples=samples, shapes=shapes, strict=strict)


def verify_source(
    source: ModelSource,
    b: ModelLike,
    inputs: GivenInputs | None = None,
    *,
    seed: int = 0,
    samples: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    strict: bool = False,
    is_checked: bool = False,
) -> VerifyReport:
    """Do as `verify` does, for an original that other stages read too.

    Args:
        source: the original.
        b, inputs, seed, samples, shapes, strict: see `verify`.
        is_checked: the original has been read as a graph already, so that it is known to be well-formed.
    """
    original, result = message_of(source, is_checked), message_of(ModelSource(b))
    with naming(source.name):
        different = difference(original, result)
        if different is not None:
            different = difference(*as_onnxruntime_sees(original, result))
        if different is not None:
            return VerifyReport(False, different, "none: the models were not run")
        specs = input_specs(original)
        candidates: list[Ways]
        if inputs is not None:
            if shapes:
                raise OnnxNormError("give inputs or shapes, not both: the inputs have shapes of their own")
            constants = {tensor.name for tensor in original.graph.initializer}
            overridable = [value.name for value in original.graph.input if value.name in constants]
            candidates = [Ways(partial(list, [Draw(feeds)])) for feeds in given_samples(inputs, specs, overridable)]
        else:
            if samples is None:
                samples = 3 if any(isinstance(dim, str) for spec in specs for dim in spec.dims or ()) else 2
            if samples < 1:
                raise OnnxNormError(f"samples must be at least 1, not {samples}")
            candidates = [
                Ways(partial(random_samples, specs, dict(shapes or {}), seed=seed, index=i)) for i in range(samples)
            ]
            candidates += deciding_samples(original, specs, dict(shapes or {}), seed=seed)
        try:
            report = _judge(collect(original, result, candidates, seed=seed))
        except OtherDrawsError as error:
            return VerifyReport(False, str(error), "none: the models were not run")
        except MemoryError:
            raise OnnxNormError("verifying it takes more memory than there is; give smaller shapes or inputs") from None
        if strict and report.passed and report.unreached:
            more = f"; {len(report.unreached) - 1} more parts are not reached" if len(report.unreached) > 1 else ""
            return replace(report, passed=False, reason=f"{report.unreached[0]}{more}; give inputs that do")
        return report


def _judge(runs: Runs) -> VerifyReport:
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
    ties = Ties(runs, runs.other)
    outputs = [record for name in names for record in _judge_output(runs, ties, name, shapes)]
    failed = [output for output in outputs if not output.passed]
    verdict = None
    if failed:
        worst = max(failed, key=lambda o: o.excess)
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
    return VerifyReport(not failed, verdict, oracle, tuple(outputs), shapes, tuple(notes), unreached)


def _judge_output(runs: Runs, ties: Ties, name: str, shapes: Sequence[dict[str, tuple[int, ...]]]) -> list[OutputError]:
    """Judge one output: one record, or one for each element of a sequence, with the worst over samples and levels."""
    records: dict[str, OutputError] = {}
    for level in runs.result:
        cases = [(sample, case) for sample in range(len(runs.samples)) for case in cases_of(runs, name, level, sample)]
        for sample, case in cases:
            if level == ROUNDED and isinstance(case, ExactCase):
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
