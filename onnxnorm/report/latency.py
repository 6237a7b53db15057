"""The time that a run of each of two models takes in onnxruntime, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnxnorm.errors import OnnxNormError
from onnxnorm.io.load_and_save import to_proto
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.source import ModelLike
from onnxnorm.runtime.inputs import Feeds, input_specs
from onnxnorm.runtime.random_samples import random_samples
from onnxnorm.runtime.session import session

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

__all__ = ["latencies"]

# The sample that has a batch of one.
_SAMPLE = 1


def latencies(
    original: ModelLike, result: ModelLike, repeat: int, *, shapes: Mapping[str, Sequence[int]] | None = None
) -> tuple[float, float]:
    """Return the median milliseconds of a run of each model, on the same random inputs, after one that warms up.

    Raises:
        OnnxNormError: onnxruntime does not run one of the models.
    """
    sessions = [session(model) for model in (original, result)]
    source = ModelSource(original)
    specs = input_specs(source.message if source.message is not None else to_proto(source.graph()))
    feeds = _first_that_runs(
        sessions, [draw.feeds for draw in random_samples(specs, dict(shapes or {}), seed=0, index=_SAMPLE)]
    )
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat):
        for each, own in zip(sessions, times, strict=True):
            start = time.perf_counter()
            each.run(None, feeds)
            own.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def _first_that_runs(sessions: Sequence[onnxruntime.InferenceSession], candidates: Sequence[Feeds]) -> Feeds:
    first: Exception | None = None
    for feeds in candidates:
        try:
            for each in sessions:
                each.run(None, feeds)
            return feeds
        except Exception as error:  # onnxruntime's errors have no common base of their own
            first = first or error
    raise OnnxNormError(f"onnxruntime could not run the models for their latency: {first}")
