"""Measures how long two models take, by turns, so that what else the machine does falls on both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxnorm.cli.exit_codes import JobError

if TYPE_CHECKING:
    from onnxnorm.runtime.inputs import Feeds

__all__ = ["Latency", "measure"]

_ROUNDS = 15


@dataclass(frozen=True)
class Latency:
    """The medians of two models in milliseconds, over that many runs of each."""

    before_ms: float
    after_ms: float
    runs: int

    @property
    def ratio(self) -> float:
        """The first time over the second: so many times as fast the second model is."""
        return self.before_ms / self.after_ms

    def __str__(self) -> str:
        return (
            f"latency: {self.before_ms:.3g} ms -> {self.after_ms:.3g} ms, {self.ratio:.2f} times as fast (medians of "
            f"{self.runs} runs each, by turns, in onnxruntime)"
        )


def measure(before: Any, after: Any, candidates: Iterable[Feeds]) -> Latency:
    """Run two sessions by turns on the first inputs that the first accepts.

    Raises:
        JobError: it accepts none of them.
    """
    feeds = _accepted(before, candidates)
    after.run(None, feeds)
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * _ROUNDS):
        # Whoever comes second finds the caches warm: each comes second half of the time.
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            (before, after)[which].run(None, feeds)
            times[which].append((time.perf_counter() - start) * 1000)
    return Latency(statistics.median(times[0]), statistics.median(times[1]), 2 * _ROUNDS)


def _accepted(session: Any, candidates: Iterable[Feeds]) -> Feeds:
    first: Exception | None = None
    for feeds in candidates:
        try:
            session.run(None, feeds)
        except Exception as error:  # onnxruntime's errors have no base of their own
            first = first or error
            continue
        return feeds
    raise JobError(f"--bench: onnxruntime cannot run the original: {first}")
