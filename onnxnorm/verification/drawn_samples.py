"""Holds the inputs of all samples, and draws those again that the original refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Draw, Ways

__all__ = ["DrawnSamples"]


class DrawnSamples:
    """The inputs of all samples; those that the original refuses are drawn again."""

    def __init__(self, candidates: Sequence[Ways]) -> None:
        self._ways = list(candidates)
        self._draws: list[Iterator[Draw]] = [iter(ways.draws()) for ways in candidates]
        self._refused = [""] * len(candidates)
        self._current = [next(draws, None) for draws in self._draws]

    @property
    def feeds(self) -> list[Feeds]:
        return [draw.feeds for draw in self._current if draw is not None]

    @property
    def notes(self) -> list[str]:
        return [
            f"{refused}; {_shapes(draw.feeds)} was used instead"
            for refused, draw in zip(self._refused, self._current, strict=True)
            if refused and draw is not None
        ]

    def draw_again(self, sample: int, reason: str) -> None:
        """Draw a sample again, by its number among those that there are.

        Raises:
            OnnxNormError: there is no other way to draw it, and it is not optional.
        """
        place = [place for place, draw in enumerate(self._current) if draw is not None][sample]
        draw = self._current[place]
        if draw is not None and not draw.is_guess and not self._refused[place]:
            self._refused[place] = f"the original does not run with {_shapes(draw.feeds)} ({reason})"
        self._current[place] = next(self._draws[place], None)
        if self._current[place] is None and not self._ways[place].optional:
            raise OnnxNormError(f"{self._refused[place] or reason}; give inputs that it takes")


def _shapes(feeds: Feeds) -> str:
    return ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
