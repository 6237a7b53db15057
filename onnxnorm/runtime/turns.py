"""Runs models by turns on the same inputs: the first that all of them accept, and how long a run of each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxnorm.errors import RunError
from onnxnorm.runtime.session import reason_of

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

    from onnxnorm.runtime.inputs import Feeds

__all__ = ["Accepted", "by_turns", "first_accepted", "median_times"]


@dataclass(frozen=True)
class Accepted:
    """The inputs that every model accepts, and what the first of the models makes of them."""

    feeds: Feeds
    outputs: tuple[Any, ...]


def first_accepted(models: Sequence[tuple[str, onnxruntime.InferenceSession]], candidates: Iterable[Feeds]) -> Accepted:
    """Return the first inputs that all of the models accept; that run also warms the sessions up.

    Args:
        models: what messages call each model, and its session.
        candidates: ways to fill the inputs, the preferred first.

    Raises:
        RunError: there are none; says why the model refused that comes last in the row of those that were reached.
    """
    place, told, cause = -1, f"{models[0][0]}: onnxruntime could not run it: there are no inputs", None
    for feeds in candidates:
        outputs: list[tuple[Any, ...]] = []
        for name, each in models:
            try:
                outputs.append(tuple(each.run(None, feeds)))
            except Exception as error:  # onnxruntime's errors have no base of their own
                if len(outputs) > place:
                    place, told, cause = (
                        len(outputs),
                        f"{name}: onnxruntime could not run it: {reason_of(error)}",
                        error,
                    )
                break
        else:
            return Accepted(feeds, outputs[0])
    raise RunError(told) from cause


def by_turns(count: int, rounds: int) -> Iterator[int]:
    """Yield whose turn it is, of so many: whoever comes second finds the caches warm, which is each in every other."""
    for turn in range(rounds):
        yield from range(count) if turn % 2 else reversed(range(count))


def median_times(sessions: Sequence[onnxruntime.InferenceSession], feeds: Feeds, rounds: int) -> tuple[float, ...]:
    """Return the median of the milliseconds that a run of each session takes, in so many rounds."""
    times: list[list[float]] = [[] for _ in sessions]
    for place in by_turns(len(sessions), rounds):
        start = time.perf_counter()
        sessions[place].run(None, feeds)
        times[place].append((time.perf_counter() - start) * 1000)
    return tuple(map(statistics.median, times))
