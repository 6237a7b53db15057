"""Measures how long two models take, by turns, so that what else the machine does falls on both alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """Run two sessions by turns on the first inputs that both accept.

    Raises:
        RunError: they accept none of them.
    """
    from onnxnorm.runtime.turns import first_accepted, median_times

    feeds = first_accepted([("--bench: the original", before), ("--bench: the result", after)], candidates).feeds
    slow, fast = median_times((before, after), feeds, 2 * _ROUNDS)
    return Latency(slow, fast, 2 * _ROUNDS)
