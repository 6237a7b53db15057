"""Runs a result by itself while its pieces are compared, to hold what both models give in the end against each other.

Each piece of the result is run on what those before it gave. Without onnxruntime's optimizations a kernel is called for
each node, so that is what a run of the whole result computes, without a session of the whole. From the first piece on
that differs, the original is run in float64 in the same way, as the yardstick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator, NoFloat64Error
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.verification.runs import Opening, Outputs, Runs, run_all
from onnxnorm.verification.walked import Walked

__all__ = ["Ends"]


class Ends:
    """The outputs of the original and of the result by sample, each run by itself from the inputs on.

    Args:
        original, result: the models.
        feeds: the inputs.
        options: the caller's options for sessions, or None.
        opening: makes the sessions.
    """

    def __init__(
        self, original: onnx.ModelProto, result: onnx.ModelProto, feeds: list[Feeds], options: Any, opening: Opening
    ) -> None:
        self._models = original, result
        self._feeds = feeds
        self._public = [value.name for value in original.graph.output]
        self._options = options
        self._opening = opening
        self._values: list[Outputs] | None = [dict(each) for each in feeds]
        self._exact: list[Outputs] | None = None
        self._has_exact = True
        self._given: list[tuple[Outputs, Outputs, Outputs]] = [({}, {}, {}) for _ in feeds]

    def follow(self, walked: Walked, originals: Sequence[Outputs], lives: frozenset[str]) -> None:
        """Run the next piece of the result.

        Args:
            walked: the piece.
            originals: what the original gave before it.
            lives: the values that are read behind it in either model.
        """
        if self._values is None:
            return
        try:
            if not all(walked.read <= mine.keys() for mine in self._values):
                raise OnnxNormError("the result reads what none of its pieces gave")
            feeds = [_fed(walked.result, *pair) for pair in zip(self._values, originals, strict=True)]
            made = self._run(walked, feeds, originals)
        except OnnxNormError:
            self._values = None
            return
        exact = self._run_exact(walked, originals)
        if walked.runs is not None:
            before = next(iter(walked.runs.original.values()))
            for given, *values in zip(self._given, before, made, exact or before, strict=True):
                for mine, each in zip(given, values, strict=True):
                    mine.update((name, each[name]) for name in self._public if name in each)
        self._values = _kept(self._values, made, self._feeds, lives)
        if self._exact is not None and exact is not None:
            self._exact = _kept(self._exact, exact, self._feeds, lives)

    def _run(self, walked: Walked, feeds: list[Feeds], originals: Sequence[Outputs]) -> list[Outputs]:
        """Return what the piece of the result gives.

        Raises:
            OnnxNormError: it does not run.
        """
        runs = walked.runs
        if runs is not None and "off" in runs.result and all(map(_are_alike, feeds, originals)):
            return runs.result["off"]
        return run_all(walked.result, "off", feeds, self._options, self._opening)

    def _run_exact(self, walked: Walked, originals: Sequence[Outputs]) -> list[Outputs] | None:
        """Return what the piece of the original gives in float64; None before the first piece that differs."""
        if not self._has_exact or (self._exact is None and walked.runs is None):
            return None
        try:
            if self._exact is None and walked.runs is not None and walked.runs.exact is not None:
                # Up to here both models gave the same, so that this is what both are given.
                self._exact = [dict(values) for values in originals]
                return walked.runs.exact
            if self._exact is None:
                raise NoFloat64Error("the first piece that differs")
            kept = None if walked.runs is None else walked.runs.evaluator
            evaluator = kept or Float64Evaluator(walked.original)
            return [evaluator.run(_fed(walked.original, *pair)) for pair in zip(self._exact, originals, strict=True)]
        except NoFloat64Error:
            self._has_exact, self._exact = False, None
            return None

    def runs(self) -> Runs | None:
        """Return the runs of both models; None where the result did not run by itself."""
        given = self._given
        if self._values is None or any(len(values) < len(self._public) for each in given for values in each):
            return None
        original, result, exact = ([each[which] for each in given] for which in range(3))
        runs = Runs(*self._models, self._feeds, {"off": original}, {"off": result}, options=self._options)
        if self._exact is not None:
            runs.exact = exact
        return runs


def _fed(piece: onnx.ModelProto, mine: Outputs, originals: Outputs) -> dict[str, Any]:
    """Return what a piece is given: of what it is given for nothing, what the original gave."""
    names = [value.name for value in piece.graph.input]
    return {name: mine.get(name, originals.get(name)) for name in names}


def _kept(
    values: Sequence[Outputs], made: Sequence[Outputs], feeds: Sequence[Feeds], lives: frozenset[str]
) -> list[Outputs]:
    return [
        {name: value for name, value in {**old, **new}.items() if name in lives or name in inputs}
        for old, new, inputs in zip(values, made, feeds, strict=True)
    ]


def _are_alike(mine: Mapping[str, Any], originals: Mapping[str, Any]) -> bool:
    """Whether values are those of the original, bit by bit."""
    return all(value is originals[name] or value.tobytes() == originals[name].tobytes() for name, value in mine.items())
