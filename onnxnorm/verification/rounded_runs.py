"""Runs both models in float64 with every result rounded to its type, where the original has half types."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.evaluate.evaluator import Float64Evaluator, NoFloat64Error
from onnxnorm.evaluate.rounded import RoundedEvaluator
from onnxnorm.evaluate.watch import Watch
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Ways
from onnxnorm.verification.rounding_noise import shaken_weights
from onnxnorm.verification.runs import ROUNDED, Outputs, Runs
from onnxnorm.verification.shaken_runs import SHAKES, shaken_copy

__all__ = ["add_rounded", "run_rounded_alone"]

_SHAKES = 1
# Evaluating takes longer than a refusal of onnxruntime.
_MOST_DRAWS = 4


def run_rounded_alone(
    original: onnx.ModelProto, result: onnx.ModelProto, candidates: Sequence[Ways], runs: Runs, seed: int
) -> None:
    """Run both models in arithmetic that rounds each result to its type, where onnxruntime does not run the original.

    Raises:
        OnnxNormError: the original does not run so either.
    """
    errors = dict.fromkeys(map(str, runs.failures.values()))
    kinds = {
        output.name: np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type or 1))
        for output in original.graph.output
    }
    watch = Watch()
    try:
        ours, exact = RoundedEvaluator(original, singles=True), Float64Evaluator(original, watch)
        before = []
        for ways in candidates:
            found = _first_rounded(ours, kinds, ways)
            if isinstance(found, NoFloat64Error):
                errors[str(found)] = None
            if not isinstance(found, tuple):
                # Where one sample finds no inputs that the model takes, the others hardly do.
                break
            runs.samples.append(found[0])
            before.append(found[1])
        runs.exact = [exact.run(feeds) for feeds in runs.samples]
    except NoFloat64Error as error:
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}; {error}") from error
    if not before:
        raise OnnxNormError(f"onnxruntime cannot run the original: {'; '.join(errors)}")
    runs.unreached = watch.unreached
    runs.original[ROUNDED] = before
    try:
        theirs = RoundedEvaluator(result, singles=True)
        runs.result[ROUNDED] = [theirs.run(feeds, kinds) for feeds in runs.samples]
    except OnnxNormError as error:
        runs.failures["result", ROUNDED] = error
    every = [kinds] * len(runs.samples)
    _add_shaken(original, shaken_weights(original), runs, every, count=SHAKES, seed=seed, singles=True)


def _first_rounded(
    ours: RoundedEvaluator, kinds: Mapping[str, Any], ways: Ways
) -> tuple[Feeds, Outputs] | NoFloat64Error | None:
    """Return the first feeds that the model takes, with its outputs; where it takes none, why, if known."""
    refused = None
    for draw in itertools.islice(ways.draws(), _MOST_DRAWS):
        if draw.refused is None:
            try:
                return draw.feeds, ours.run(draw.feeds, kinds)
            except NoFloat64Error as error:
                refused = error
    return refused


def add_rounded(
    original: onnx.ModelProto, result: onnx.ModelProto, weights: tuple[str, ...], runs: Runs, seed: int
) -> None:
    """Add the run in which every operator's result is rounded to its type."""
    kinds = next(iter(runs.original.values()))
    try:
        ours, theirs = RoundedEvaluator(original), RoundedEvaluator(result)
        before = [ours.run(*each) for each in zip(runs.samples, kinds, strict=True)]
        after = [theirs.run(*each) for each in zip(runs.samples, kinds, strict=True)]
        _add_shaken(original, weights, runs, kinds, count=_SHAKES, seed=seed)
    except NoFloat64Error as error:
        runs.notes.append(f"what half precision does at each node was not compared: {error}")
        return
    runs.original[ROUNDED], runs.result[ROUNDED] = before, after


def _add_shaken(
    original: onnx.ModelProto,
    weights: tuple[str, ...],
    runs: Runs,
    kinds: Sequence[Mapping[str, Any]],
    *,
    count: int,
    seed: int,
    singles: bool = False,
) -> None:
    """Run copies of the original whose weights are moved by one rounding; `kinds` are those of each sample."""
    for number in range(count):
        with shaken_copy(original, weights, number, seed) as copy:
            if copy is None:
                return
            moved = RoundedEvaluator(copy, singles=singles)
            runs.shaken_rounded.append([moved.run(*each) for each in zip(runs.samples, kinds, strict=True)])
