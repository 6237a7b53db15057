"""Run-time work: multiply-adds, and elements moved between memory and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cost", "gathering"]


@dataclass(frozen=True)
class Cost:
    """The work of one inference; elements moved are all of one type, so they stand for bytes."""

    work: float = 0.0
    moved: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.work + other.work, self.moved + other.moved)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.work - other.work, self.moved - other.moved)

    @property
    def saves(self) -> bool:
        """Whether this cost, as a difference of two, saves anything: neither count rises and one falls."""
        return min(self.work, self.moved) >= 0.0 and max(self.work, self.moved) > 0.0

    @property
    def total(self) -> float:
        return self.work + self.moved


def gathering(elements: float, positions: float) -> float:
    """Count the elements moved to put a window's elements together in each place: they are written, then read.

    Measured (`bench/linear_cost.py`): a 1x1 convolution and a 2x2 average pool behind it take less time than the one
    2x2 convolution of equally many multiply-adds.
    """
    return 2.0 * elements * positions
