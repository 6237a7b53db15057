"""Measures the error of a result value by value: how far each is from a float64 run of the original."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxnorm.errors import OnnxNormError, naming
from onnxnorm.evaluate.evaluator import NoFloat64Error
from onnxnorm.evaluate.operators import is_real
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.held import HeldWeights
from onnxnorm.model.source import ModelLike
from onnxnorm.runtime.inputs import Feeds, GivenInputs, given_samples, input_specs
from onnxnorm.runtime.random_samples import Ways, random_samples
from onnxnorm.verification.inside import FLOAT64_RUN, Inside, portions, rms
from onnxnorm.verification.message import message_of
from onnxnorm.verification.pairs import Pair, pairs_of, region_before
from onnxnorm.verification.random_draws import with_same_draws
from onnxnorm.verification.runs import run_all
from onnxnorm.verification.unknown_ops import completed, cut_around_unknown

__all__ = ["LayerError", "errors_by_layer", "layer_error", "measured_pairs"]


@dataclass(frozen=True)
class LayerError:
    """The error of one value inside, in the original and in the result, as root mean squares.

    Attributes:
        value: the value of the original.
        result_value: the value of the result that stands for it, often of the same name.
        node, op_type: the node of the original that makes it.
        size: the root mean square of the value itself.
        error_original: of the original in onnxruntime against float64; 0 where there is no float64 run.
        error_result: of the result in onnxruntime against the same.
    """

    value: str
    result_value: str
    node: str
    op_type: str
    size: float
    error_original: float
    error_result: float

    @property
    def relative_error(self) -> float:
        """The error of the result in proportion to the size of the value."""
        return self.error_result / self.size if self.size else (0.0 if self.error_result == 0 else math.inf)

    @property
    def snr(self) -> float:
        """The signal-to-noise ratio of the result in decibels."""
        return math.inf if self.relative_error == 0 else -20 * math.log10(max(self.relative_error, 1e-300))


def errors_by_layer(
    original: ModelLike,
    result: ModelLike,
    inputs: GivenInputs | None = None,
    *,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    session_options: Any = None,
) -> tuple[LayerError, ...]:
    """Measure the error at each value that both models compute, in the order of the original.

    Values that only one of the two computes are left out, as are those that mean something else in the result, such as
    what a convolution gives before and after it took up a normalization.

    Args:
        original, result: paths, `ModelProto`s or `onnx_ir.Model`s.
        inputs: as for `verify`; of several samples the first counts.
        seed, shapes: of random inputs, where none are given.
        session_options: the options of onnxruntime's sessions.

    Raises:
        OnnxNormError: a model cannot be read or run, or the inputs do not fit.
    """
    source = ModelSource(original)
    held = HeldWeights()
    one, two = message_of(source, held), message_of(ModelSource(result), held)
    with naming(source.name):
        cut = cut_around_unknown(one, two, session_options)
        one, two = cut.original, cut.result
        specs = input_specs(one)
        if inputs is not None:
            feeds = given_samples(inputs, [spec for spec in specs if spec.name not in cut.made_up], [])[0]
            ways = Ways(partial(completed, specs, feeds, seed))
        else:
            ways = Ways(partial(random_samples, specs, dict(shapes or {}), seed=seed, index=0))
        same = with_same_draws(one, two, [ways], seed=seed, options=session_options)
        feeds = _first_that_runs(same.original, same.candidates[0], session_options)
        return tuple(measured_pairs(same.original, same.result, feeds, options=session_options))


def _first_that_runs(model: onnx.ModelProto, ways: Ways, options: Any) -> Feeds:
    error: OnnxNormError | None = None
    for draw in ways.draws():
        try:
            run_all(model, "off", [draw.feeds], options)
            return draw.feeds
        except OnnxNormError as each:
            error = error or each
    raise error or OnnxNormError("there are no inputs with which the original runs")


def measured_pairs(
    original: onnx.ModelProto, result: onnx.ModelProto, feeds: Feeds, level: str = "off", options: Any = None
) -> list[LayerError]:
    """Measure each pair of values of the two models for one sample."""
    exact = Inside(original, feeds, FLOAT64_RUN)
    ours, theirs = Inside(original, feeds, level, options), Inside(result, feeds, level, options)
    try:
        before = exact.sketches()
    except NoFloat64Error:
        exact = ours
        before = ours.sketches()
    after = theirs.sketches(before)
    pairs = pairs_of(before, after)
    meant = _without_moved(result, pairs)
    chosen = {pair.original: pair for pair in reversed(pairs.values()) if pair.result in meant}
    makers = {name: node for node in original.graph.node for name in node.output}
    found = []
    for names in portions([name for name in exact.names if name in chosen], before):
        wanted = exact.values(names)
        seen = wanted if exact is ours else ours.values(names)
        got = theirs.values([chosen[name].result for name in names])
        for name in names:
            pair = chosen[name]
            error = layer_error(pair, makers[name], wanted.get(name), seen.get(name), got.get(pair.result))
            if error is not None:
                found.append(error)
    return found


def layer_error(pair: Pair, maker: onnx.NodeProto, exact: Any, original: Any, result: Any) -> LayerError | None:
    """Measure one pair of values; None where they are no real numbers of one shape."""
    if not (is_real(exact) and is_real(result) and np.shape(result) == np.shape(exact)):
        return None
    is_like = is_real(original) and np.shape(original) == np.shape(exact)
    return LayerError(
        value=pair.original,
        result_value=pair.result,
        node=maker.name or maker.output[0],
        op_type=maker.op_type,
        size=rms(np.asarray(exact, np.float64)),
        error_original=_rms_error(original, exact) if is_like else 0.0,
        error_result=_rms_error(result, exact),
    )


def _without_moved(result: onnx.ModelProto, pairs: Mapping[str, Pair]) -> set[str]:
    """Return the values that mean the same as in the original: alike, or unlike on the way to an unlike output."""
    near = {name for name, pair in pairs.items() if pair.is_near}
    astray = [output.name for output in result.graph.output if output.name not in near]
    on_the_way = {name for node in region_before(result, astray, near) for name in node.output}
    return near | on_the_way


def _rms_error(value: Any, exact: Any) -> float:
    wide, right = np.asarray(value, np.float64), np.asarray(exact, np.float64)
    with np.errstate(all="ignore"):
        finite = np.isfinite(wide) & np.isfinite(right)
        differs = np.where(finite, wide - right, 0.0)
        unlike = ~finite & ~((wide == right) | (np.isnan(wide) & np.isnan(right)))
    return math.inf if unlike.any() else rms(differs)
