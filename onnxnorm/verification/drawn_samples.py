"""Draws samples until the original accepts them: one by one, or all, of which those that it refuses are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.inputs import Feeds
from onnxnorm.runtime.random_samples import Draw, Ways

__all__ = ["DrawnSample", "DrawnSamples"]

_T = TypeVar("_T")


class DrawnSample:
    """One sample: how it is drawn now, and what the original refused before.

    Attributes:
        draw: how it is drawn now; None where the original refused all ways, and the sample is optional.
    """

    def __init__(self, ways: Ways) -> None:
        self._is_optional = ways.optional
        self._draws: Iterator[Draw] = iter(ways.draws())
        self._refused = ""
        self.draw = next(self._draws, None)

    @property
    def note(self) -> str:
        """The inputs that the original refused, and those used instead; "" where it refused none that count."""
        if self.draw is None or not self._refused:
            return ""
        return f"{self._refused}; {_shapes(self.draw.feeds)} was used instead"

    def draw_again(self, reason: str) -> None:
        """Draw the sample in the next way, since the original refuses this one.

        Raises:
            OnnxNormError: there is no other way, and the sample is not optional.
        """
        draw = self.draw
        if draw is not None and not draw.is_guess and not self._refused:
            self._refused = f"the original does not run with {_shapes(draw.feeds)} ({reason})"
        self.draw = next(self._draws, None)
        if self.draw is None and not self._is_optional:
            raise OnnxNormError(f"{self._refused or reason}; give inputs that it takes")

    def first_run(self, run: Callable[[Feeds], _T]) -> tuple[Feeds, _T] | None:
        """Draw until a run accepts it; return the inputs and what the run gave, None where it accepts none.

        Args:
            run: runs the original; an `OnnxNormError` or a `MemoryError` says that it refuses the inputs.

        Raises:
            OnnxNormError: it accepts none, and the sample is not optional.
        """
        while self.draw is not None:
            try:
                if self.draw.refused is not None:
                    raise OnnxNormError(self.draw.refused)
                return self.draw.feeds, run(self.draw.feeds)
            except (OnnxNormError, MemoryError) as error:
                self.draw_again(str(error))
        return None


class DrawnSamples:
    """All samples, each drawn once more wherever the original refuses it."""

    def __init__(self, candidates: Sequence[Ways]) -> None:
        self._samples = [DrawnSample(ways) for ways in candidates]

    @property
    def feeds(self) -> list[Feeds]:
        return [sample.draw.feeds for sample in self._samples if sample.draw is not None]

    @property
    def notes(self) -> list[str]:
        return [sample.note for sample in self._samples if sample.note]

    def draw_again(self, sample: int, reason: str) -> None:
        """Draw a sample again, by its number among those that there are.

        Raises:
            OnnxNormError: there is no other way to draw it, and it is not optional.
        """
        there = [each for each in self._samples if each.draw is not None]
        there[sample].draw_again(reason)


def _shapes(feeds: Feeds) -> str:
    return ", ".join(f"{name} {value.shape}" for name, value in feeds.items())
