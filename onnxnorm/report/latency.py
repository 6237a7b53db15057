"""The time that a run of each of two models takes in onnxruntime, measured in turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnxnorm.io.load_and_save import to_proto
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.source import ModelLike
from onnxnorm.runtime.inputs import Feeds, input_specs
from onnxnorm.runtime.random_samples import random_samples
from onnxnorm.runtime.session import session
from onnxnorm.runtime.turns import first_accepted, median_times

__all__ = ["latencies"]

# The sample that has a batch of one.
_SAMPLE = 1


def latencies(
    original: ModelLike,
    result: ModelLike,
    repeat: int,
    *,
    inputs: Sequence[Feeds] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> tuple[float, float]:
    """Return the median milliseconds of a run of each model, on the same inputs, after one that warms up.

    Args:
        original, result: the two.
        repeat: how many runs of each are measured.
        inputs: ways to fill the inputs; random ones where None.
        shapes: of random inputs.

    Raises:
        OnnxNormError: onnxruntime does not run one of the models.
    """
    source, other = ModelSource(original), ModelSource(result)
    names = (source.name, other.name if other.name != source.name else f"the result of {source.name}")
    sessions = (session(original), session(result))
    candidates = iter(inputs) if inputs is not None else _random(source, shapes or {})
    feeds = first_accepted(list(zip(names, sessions, strict=True)), candidates).feeds
    before, after = median_times(sessions, feeds, repeat)
    return before, after


def _random(source: ModelSource, shapes: Mapping[str, Sequence[int]]) -> Iterator[Feeds]:
    specs = input_specs(source.message if source.message is not None else to_proto(source.graph()))
    return (draw.feeds for draw in random_samples(specs, dict(shapes), seed=0, index=_SAMPLE))
