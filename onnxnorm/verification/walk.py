"""Walks through two models piece by piece, from their inputs to their outputs."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.held import let_go
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Ways
from onnxnorm.runtime.unoptimized import LEVELS, NoKernelError
from onnxnorm.verification.collect import collect
from onnxnorm.verification.cuts import Border
from onnxnorm.verification.drawn_samples import DrawnSamples
from onnxnorm.verification.ends import Ends
from onnxnorm.verification.judge import judge
from onnxnorm.verification.layout import Layout
from onnxnorm.verification.piece import are_same, piece_of, read_from_before, typed
from onnxnorm.verification.random_draws import OtherDrawsError
from onnxnorm.verification.report import OutputError, VerifyReport
from onnxnorm.verification.runs import ROUNDED, Outputs, Runs, run_all
from onnxnorm.verification.shared_sessions import SharedSessions
from onnxnorm.verification.walked import Walked

__all__ = ["RefusedError", "UnrunnableError", "Verdict", "Walk"]

_MOST_TOGETHER = 8
"""Number of pieces that are tried together before one of them is called wrong."""
_HOPELESS = 100.0
"""The error, in proportion to what is allowed, from which on a value is taken for none that both models have."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on two models that were compared in pieces, with the runs of the piece that failed, if one did."""

    report: VerifyReport
    runs: Runs | None = None


class RefusedError(Exception):
    """Raised where the original does not run with a sample."""

    def __init__(self, sample: int, reason: str) -> None:
        super().__init__(reason)
        self.sample = sample


class UnrunnableError(Exception):
    """Raised where onnxruntime has no kernel for a piece of the original, or cannot be fed what it takes."""


class Walk:
    """One way through all pieces, from the inputs to the outputs.

    Args:
        ours, theirs: the original and the result.
        borders: of their pieces, in order.
        samples: the inputs.
        seed: of what is random.
        options: the caller's options for sessions, or None.
        follows: whether the result also runs by itself.
    """

    def __init__(
        self,
        ours: Layout,
        theirs: Layout,
        borders: Sequence[Border],
        samples: DrawnSamples,
        seed: int,
        options: Any,
        *,
        follows: bool = False,
    ) -> None:
        self._ours, self._theirs = ours, theirs
        self._borders = borders
        self._samples = samples
        self._seed = seed
        self._options = options
        self._public = [value.name for value in ours.model.graph.output]
        self._sessions = SharedSessions()
        self._values: list[Outputs] = [dict(feeds) for feeds in samples.feeds]
        self._ends: Ends | None = None
        if follows:
            self._ends = Ends(ours.model, theirs.model, samples.feeds, options, self._sessions.open)
        self._reports: list[VerifyReport] = []
        self._same = 0

    def verdict(self) -> Verdict | None:
        """Return the verdict, None where a value at a border cannot be handed on."""
        first = 0
        while first < len(self._borders):
            count = 1
            done = self._piece(first, first + 1)
            while not done.is_right and first + count < len(self._borders) and count < _MOST_TOGETHER:
                count = min(2 * count, _MOST_TOGETHER, len(self._borders) - first)
                done = self._piece(first, first + count)
            if not done.is_right:
                return None if done.report is None or done.report.passed else self._failed(done.report, done.runs)
            border = self._borders[first + count - 1]
            if self._ends is not None:
                self._ends.follow(done, self._values, border.handed)
            self._hand_on(done, border)
            if done.runs is not None and ROUNDED in done.runs.original:
                # The evaluators that round hold themselves, and with them weights in float64, until they are collected.
                gc.collect()
            first += count
        return Verdict(self._passed())

    def _piece(self, first: int, end: int) -> Walked:
        """Run the pieces from `first` on and before `end` as one."""
        before = self._borders[first - 1] if first else Border(0, 0, frozenset(), frozenset(), ())
        after = self._borders[end - 1]
        compared = [
            name
            for border in self._borders[first:end]
            for name in border.compared
            if name in self._public or name in after.lives
        ]
        handed = [name for name in sorted(after.handed) if self._ours.made[name] >= before.original]
        wanted = list(dict.fromkeys([*compared, *handed]))
        theirs = read_from_before(self._theirs, before.result, after.result, compared)
        read = theirs | read_from_before(self._ours, before.original, after.original, wanted)
        given = {
            name: self._ours.inputs.get(name) or typed(name, [values[name] for values in self._values])
            for name in sorted(read)
        }
        feeds = [{name: values[name] for name in given} for values in self._values]
        one = piece_of(self._ours, before.original, after.original, given, wanted)
        # What the original has made before, the result may make here.
        made = {name for node in self._theirs.nodes[before.result : after.result] for name in node.output}
        taken = {name: value for name, value in given.items() if name not in made}
        two = piece_of(self._theirs, before.result, after.result, taken, compared)
        try:
            is_public = not set(self._public).isdisjoint(compared)
            return Walked(one, two, frozenset(theirs), *self._pair(one, two, feeds, handed, is_public))
        finally:
            let_go(one)
            let_go(two)

    def _pair(
        self, one: onnx.ModelProto, two: onnx.ModelProto, feeds: list[Feeds], handed: list[str], is_public: bool
    ) -> tuple[list[Outputs], VerifyReport | None, Runs | None]:
        """Compare two pieces; return what the original hands on, and where they differ the report and its runs."""
        if not is_public and are_same(one, two):
            self._same += 1
            return _only(handed, self._run(one, feeds)), None, None
        try:
            ways = [Ways.only(each) for each in feeds]
            runs = collect(
                one,
                two,
                ways,
                seed=self._seed,
                options=self._options,
                opening=self._sessions.open,
                keeps_evaluator=self._ends is not None,
            )
        except OtherDrawsError as error:
            return [], VerifyReport(False, str(error), "none: the models were not run"), None
        except OnnxNormError:
            # Raises the error of the sample that is to blame.
            self._run(one, feeds)
            raise
        report = judge(runs, seed=self._seed, public=self._public, locate=False, hopeless=_HOPELESS)
        return _only(handed, next(iter(runs.original.values()))), report, runs

    def _run(self, piece: onnx.ModelProto, feeds: Sequence[Feeds]) -> list[Outputs]:
        """Run a piece of the original."""
        errors: list[OnnxNormError] = []
        for level in LEVELS:
            try:
                return run_all(piece, level, feeds, self._options, self._sessions.open)
            except OnnxNormError as error:
                errors.append(error)
        if all(isinstance(error, NoKernelError) for error in errors) or not all(map(_can_be_fed, feeds)):
            raise UnrunnableError
        for sample, each in enumerate(feeds):
            try:
                run_all(piece, "off", [each], self._options)
            except OnnxNormError as error:
                raise RefusedError(sample, str(error)) from error
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(dict.fromkeys(map(str, errors)))}")

    def whole(self) -> Runs | None:
        """Return what both models gave, each run by itself; None where the result was not followed to its end."""
        return None if self._ends is None else self._ends.runs()

    def _hand_on(self, done: Walked, border: Border) -> None:
        """Keep what the pieces behind need."""
        self._values = [
            {
                name: value
                for name, value in {**values, **handed}.items()
                if name in border.handed or name in self._ours.inputs
            }
            for values, handed in zip(self._values, done.handed, strict=True)
        ]
        if done.report is not None:
            self._reports.append(done.report)

    def _failed(self, report: VerifyReport, runs: Runs | None) -> Verdict:
        if runs is not None:
            report = judge(runs, seed=self._seed, public=self._public)
        notes = (*self._samples.notes, *report.notes)
        return Verdict(replace(report, samples=self._shapes(), notes=notes), runs)

    def _passed(self) -> VerifyReport:
        given: dict[str, list[OutputError]] = {name: [] for name in self._public}
        inside: list[OutputError] = []
        for output in [output for report in self._reports for output in report.outputs]:
            # An element of a sequence has a number behind its name.
            name = output.name if output.name in given else output.name.rpartition("[")[0]
            given.get(name, inside).append(replace(output, shapes=self._shapes()[output.sample]))
        told = f"compared in {len(self._reports) + self._same} pieces, {self._same} of them the same in both models"
        if inside:
            worst = max(inside, key=lambda each: each.excess)
            told += f"; inside, {worst.name!r} is off by most of what is allowed: {worst.excess:.2g} of it"
        oracles = dict.fromkeys(
            oracle
            for report in self._reports
            for oracle in sorted({output.yardstick for output in report.outputs}) or [report.oracle]
        )
        return VerifyReport(
            passed=True,
            reason=None,
            oracle="; ".join(oracles),
            outputs=tuple(output for outputs in given.values() for output in outputs),
            samples=self._shapes(),
            notes=(*self._samples.notes, *dict.fromkeys(note for each in self._reports for note in each.notes), told),
            unreached=tuple(dict.fromkeys(part for report in self._reports for part in report.unreached)),
        )

    def _shapes(self) -> tuple[dict[str, tuple[int, ...]], ...]:
        return tuple({name: value.shape for name, value in feeds.items()} for feeds in self._samples.feeds)


def _can_be_fed(feeds: Feeds) -> bool:
    """Whether onnxruntime takes values of these types from Python."""
    return all(value.dtype.kind != "V" and value.dtype.name != "bfloat16" for value in feeds.values())


def _only(names: Sequence[str], runs: Sequence[Outputs]) -> list[Outputs]:
    return [{name: outputs[name] for name in names} for outputs in runs]
