"""Verifies large models piece by piece, so that memory is bounded by the largest piece.

Both models are cut at the same values. Each piece of the result is held against the piece of the original between the
same borders, on what the original itself computed there; what the original gives is handed on to the next piece.
Pieces that are the same in both models are run once, to hand on. A piece that fails is tried again together with those
behind it: a value may mean something else in the result, and then it is no border. Where there is room, both models
are run once more as wholes in the end: where these runs disagree, the pieces decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.held import size_of
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Ways
from onnxnorm.runtime.unoptimized import open_session
from onnxnorm.verification import cuts
from onnxnorm.verification.cuts import borders_of
from onnxnorm.verification.drawn_samples import DrawnSamples
from onnxnorm.verification.judge import judge
from onnxnorm.verification.layout import layout_of
from onnxnorm.verification.memory_needed import lack_of_room
from onnxnorm.verification.random_draws import draws_numbers, with_same_draws
from onnxnorm.verification.report import VerifyReport
from onnxnorm.verification.runs import Runs, run_all
from onnxnorm.verification.shaken_runs import SHAKES
from onnxnorm.verification.survivable import unguarded_nodes
from onnxnorm.verification.walk import RefusedError, UnrunnableError, Verdict, Walk

__all__ = ["Verdict", "in_pieces", "is_large"]

_MOST_DRAWS = 64
"""Number of inputs that the original may refuse before the pieces are given up."""


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
    size = max(size_of(original), size_of(result))
    confirms = size <= cuts.LIMITS.last_run and lack_of_room(size) is None
    follows = confirms and not unguarded_nodes(original) and not draws_numbers(original)
    for _ in range(_MOST_DRAWS):
        walk = Walk(ours, theirs, borders, samples, seed, options, follows=follows)
        try:
            verdict = walk.verdict()
            break
        except RefusedError as refused:
            samples.draw_again(refused.sample, str(refused))
        except UnrunnableError:
            # Of the whole it is known what else can be done.
            return None
    else:
        return None
    if verdict is None or not verdict.report.passed:
        return verdict
    if not confirms:
        return verdict
    return _confirmed(verdict.report, original, result, samples.feeds, seed, options, walk.whole())


def _confirmed(
    report: VerifyReport,
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    feeds: list[Feeds],
    seed: int,
    options: Any,
    runs: Runs | None,
) -> Verdict | None:
    """Hold both models against each other as wholes, by their runs or, where there are none, run once more.

    None where they do not give the same, but for rounding, as their pieces did.
    """
    if runs is None:
        same = with_same_draws(original, result, list(map(Ways.only, feeds)), seed=seed, options=options)
        samples = [next(iter(ways.draws())).feeds for ways in same.candidates]
        runs = Runs(same.original, same.result, samples, options=options)
        try:
            runs.original["off"] = run_all(runs.model, "off", samples, options)
            runs.result["off"] = run_all(runs.other, "off", samples, options)
        except OnnxNormError:
            return None
    elif not _opens(result, options):
        return None
    if runs.exact is None:
        runs.no_exact = "nothing was run in float64"
    runs.shakes = SHAKES
    if not judge(runs, seed=seed, locate=False).passed:
        return None
    *others, told = report.notes
    return Verdict(replace(report, notes=(*others, f"{told}; then run once as wholes")))


def _opens(model: onnx.ModelProto, options: Any) -> bool:
    """Whether onnxruntime opens the model as a whole: it refuses, for example, two nodes of one name."""
    try:
        open_session(model, "off", options)
    except OnnxNormError:
        return False
    return True
