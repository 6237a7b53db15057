"""Verifies large models piece by piece, so that memory is bounded by the largest piece.

Both models are cut at the same values. Each piece of the result is held against the piece of the original between the
same borders, on what the original itself computed there; what the original gives is handed on to the next piece.
Pieces that are the same in both models are run once, to hand on. A piece that fails is tried again together with those
behind it: a value may mean something else in the result, and then it is no border. Where there is room, both models
are run once more as wholes in the end: where these runs disagree, the pieces decide nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.held import let_go, size_of
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Draw, Ways
from onnxnorm.runtime.unoptimized import LEVELS, lacks_kernel
from onnxnorm.verification import cuts
from onnxnorm.verification.collect import collect
from onnxnorm.verification.cuts import Border, borders_of
from onnxnorm.verification.drawn_samples import DrawnSamples
from onnxnorm.verification.judge import judge
from onnxnorm.verification.layout import Layout, layout_of
from onnxnorm.verification.memory_needed import lack_of_room
from onnxnorm.verification.piece import are_same, piece_of, read_from_before, typed
from onnxnorm.verification.random_draws import OtherDrawsError, with_same_draws
from onnxnorm.verification.report import OutputError, VerifyReport
from onnxnorm.verification.runs import ROUNDED, Outputs, Runs, run_all
from onnxnorm.verification.shaken_runs import SHAKES

__all__ = ["Verdict", "in_pieces", "is_large"]

_MOST_TOGETHER = 8
"""Number of pieces that are tried together before one of them is called wrong."""
_HOPELESS = 100.0
"""The error, in proportion to what is allowed, from which on a value is taken for none that both models have."""
_MOST_DRAWS = 64
"""Number of inputs that the original may refuse before the pieces are given up."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on two models that were compared in pieces, with the runs of the piece that failed, if one did."""

    report: VerifyReport
    runs: Runs | None = None


def is_large(*models: onnx.ModelProto) -> bool:
    """Whether one of the models is to be taken in pieces."""
    return any(
        len(model.graph.node) > cuts.LIMITS.nodes or size_of(model) > cuts.LIMITS.weight_bytes for model in models
    )


def in_pieces(
    original: onnx.ModelProto, result: onnx.ModelProto, candidates: Sequence[Ways], *, seed: int, options: Any = None
) -> Verdict | None:
    """Compare two models piece by piece; None where they have no values in common at which they can be cut.

    Args:
        original, result: the models.
        candidates: the ways to draw each sample.
        seed: of what is random.
        options: the caller's options for sessions, or None.

    Raises:
        OnnxNormError: the original does not run.
    """
    ours, theirs = layout_of(original), layout_of(result)
    if ours is None or theirs is None:
        return None
    borders = borders_of(ours, theirs, cuts.LIMITS.pieces)
    if len(borders) < 2:
        return None
    samples = DrawnSamples(candidates)
    if any(name not in ours.inputs for feeds in samples.feeds for name in feeds):
        # The caller gives weights.
        return None
    for _ in range(_MOST_DRAWS):
        try:
            verdict = _Walk(ours, theirs, borders, samples, seed, options).verdict()
            break
        except _RefusedError as refused:
            samples.draw_again(refused.sample, str(refused))
        except _NoKernelError:
            # Of the whole it is known what else can be done.
            return None
    else:
        return None
    if verdict is None or not verdict.report.passed:
        return verdict
    size = max(size_of(original), size_of(result))
    if size > cuts.LIMITS.last_run or lack_of_room(size) is not None:
        return verdict
    return _confirmed(verdict.report, original, result, samples.feeds, seed, options)


def _confirmed(
    report: VerifyReport,
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    feeds: list[Feeds],
    seed: int,
    options: Any,
) -> Verdict | None:
    """Run both models once as wholes; None where they do not give the same, but for rounding, as their pieces did."""
    same = with_same_draws(original, result, [Ways(partial(_once, each)) for each in feeds], seed=seed, options=options)
    samples = [next(iter(ways.draws())).feeds for ways in same.candidates]
    runs = Runs(same.original, same.result, samples, no_exact="nothing was run in float64", options=options)
    try:
        runs.original["off"] = run_all(runs.model, "off", samples, options)
        runs.result["off"] = run_all(runs.other, "off", samples, options)
    except OnnxNormError:
        return None
    runs.shakes = SHAKES
    if not judge(runs, seed=seed, locate=False).passed:
        return None
    *others, told = report.notes
    return Verdict(replace(report, notes=(*others, f"{told}; then run once as wholes")))


class _RefusedError(Exception):
    """Raised where the original does not run with a sample."""

    def __init__(self, sample: int, reason: str) -> None:
        super().__init__(reason)
        self.sample = sample


class _NoKernelError(Exception):
    """Raised where onnxruntime has no kernel for a piece of the original, or cannot be fed what it takes."""


@dataclass(frozen=True)
class _Done:
    """A piece that was run: what the original hands on, and the report where it was compared."""

    handed: list[Outputs]
    report: VerifyReport | None
    runs: Runs | None

    @property
    def is_right(self) -> bool:
        return (self.report is None or self.report.passed) and all(
            isinstance(value, np.ndarray) for values in self.handed for value in values.values()
        )


class _Walk:
    """One way through all pieces, from the inputs to the outputs."""

    def __init__(
        self, ours: Layout, theirs: Layout, borders: Sequence[Border], samples: DrawnSamples, seed: int, options: Any
    ) -> None:
        self._ours, self._theirs = ours, theirs
        self._borders = borders
        self._samples = samples
        self._seed = seed
        self._options = options
        self._public = [value.name for value in ours.model.graph.output]
        self._values: list[Outputs] = [dict(feeds) for feeds in samples.feeds]
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
            self._hand_on(done, self._borders[first + count - 1])
            if done.runs is not None and ROUNDED in done.runs.original:
                # The evaluators that round hold themselves, and with them weights in float64, until they are collected.
                gc.collect()
            first += count
        return Verdict(self._passed())

    def _piece(self, first: int, end: int) -> _Done:
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
        read = read_from_before(self._ours, before.original, after.original, wanted)
        read |= read_from_before(self._theirs, before.result, after.result, compared)
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
            return self._pair(one, two, feeds, handed, not set(self._public).isdisjoint(compared))
        finally:
            let_go(one)
            let_go(two)

    def _pair(
        self, one: onnx.ModelProto, two: onnx.ModelProto, feeds: list[Feeds], handed: list[str], is_public: bool
    ) -> _Done:
        """Compare two pieces."""
        if not is_public and are_same(one, two):
            self._same += 1
            return _Done(_only(handed, self._run(one, feeds)), None, None)
        try:
            ways = [Ways(partial(_once, each)) for each in feeds]
            runs = collect(one, two, ways, seed=self._seed, options=self._options, frugal=not is_public)
        except OtherDrawsError as error:
            return _Done([], VerifyReport(False, str(error), "none: the models were not run"), None)
        except OnnxNormError:
            # Raises the error of the sample that is to blame.
            self._run(one, feeds)
            raise
        report = judge(runs, seed=self._seed, public=self._public, locate=False, hopeless=_HOPELESS)
        return _Done(_only(handed, next(iter(runs.original.values()))), report, runs)

    def _run(self, piece: onnx.ModelProto, feeds: Sequence[Feeds]) -> list[Outputs]:
        """Run a piece of the original."""
        errors = []
        for level in LEVELS:
            try:
                return run_all(piece, level, feeds, self._options)
            except OnnxNormError as error:
                errors.append(str(error))
        if all(map(lacks_kernel, errors)) or not all(map(_can_be_fed, feeds)):
            raise _NoKernelError
        for sample, each in enumerate(feeds):
            try:
                run_all(piece, "off", [each], self._options)
            except OnnxNormError as error:
                raise _RefusedError(sample, str(error)) from error
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(dict.fromkeys(errors))}")

    def _hand_on(self, done: _Done, border: Border) -> None:
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
        oracles = dict.fromkeys(part for report in self._reports for part in report.oracle.split("; "))
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


def _once(feeds: Feeds) -> list[Draw]:
    return [Draw(feeds)]
