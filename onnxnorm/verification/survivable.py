"""Leaves out the inputs at which a child of this process ended."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from onnxnorm.runtime.random_samples import Draw, Ways

__all__ = ["Survivable"]

_NUMBER = struct.Struct("q")


class Survivable:
    """Ways to fill the inputs that a child draws from, and of which this process knows where the child was."""

    def __init__(self, candidates: Sequence[Ways]) -> None:
        self._candidates = tuple(candidates)
        self._fatal: set[int] = set()
        # Memory that children share with this process.
        self._last = mmap.mmap(-1, _NUMBER.size)

    def ways(self) -> list[Ways]:
        """Return the ways without those that were dropped."""
        return [replace(ways, draws=partial(self._draws, ways.draws)) for ways in self._candidates]

    def drop_last(self) -> None:
        """Drop the way that was drawn last, in whichever process; samples have their ways in the same order."""
        (number,) = _NUMBER.unpack(self._last[:])
        self._fatal.add(number)

    def _draws(self, draws: Callable[[], Iterable[Draw]]) -> Iterator[Draw]:
        for number, draw in enumerate(draws()):
            if number not in self._fatal:
                self._last[:] = _NUMBER.pack(number)
                yield draw
