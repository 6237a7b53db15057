"""Says at which nodes onnxruntime may end the process, and leaves out the inputs at which a child of it ended."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import onnx

from onnxnorm.model.protobuf import graphs_in
from onnxnorm.runtime.random_samples import Draw, Ways

__all__ = ["Survivable", "unguarded_nodes"]

# onnxruntime's kernels of these end the process by an assertion, or read wherever in memory their inputs tell them to,
# where attributes or inputs are such as nobody means (1.32.0; random nodes of every operator were tried).
_UNGUARDED = frozenset({
    "DFT", "GridSample", "MaxRoiPool", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "ReverseSequence", "RoiAlign", "STFT", "Unique",
})  # fmt: skip
_NUMBER = struct.Struct("q")
_NONE = -1


def unguarded_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes at which onnxruntime may end the process."""
    return [node for graph in graphs_in(model) for node in graph.node if node.op_type in _UNGUARDED]


class Survivable:
    """Ways to fill the inputs that a child draws from, and of which this process knows where the child was."""

    def __init__(self, candidates: Sequence[Ways]) -> None:
        self._candidates = tuple(candidates)
        self._fatal: set[int] = set()
        # Memory that children share with this process.
        self._last = mmap.mmap(-1, _NUMBER.size)
        self._last[:] = _NUMBER.pack(_NONE)

    def ways(self) -> list[Ways]:
        """Return the ways without those that were dropped."""
        return [replace(ways, draws=partial(self._draws, ways.draws)) for ways in self._candidates]

    def drop_last(self) -> bool:
        """Drop the way that was drawn last, in whichever process; tell whether one was drawn since the last drop.

        Samples have their ways in the same order.
        """
        (number,) = _NUMBER.unpack(self._last[:])
        self._last[:] = _NUMBER.pack(_NONE)
        self._fatal.add(number)
        return bool(number != _NONE)

    def _draws(self, draws: Callable[[], Iterable[Draw]]) -> Iterator[Draw]:
        for number, draw in enumerate(draws()):
            if number not in self._fatal:
                self._last[:] = _NUMBER.pack(number)
                yield draw
