"""Latency of an original and of its result in one runtime, interleaved."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from bench.runtime.counting import session

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
}


def feeds(inputs: list[onnxruntime.NodeArg]) -> dict[str, np.ndarray]:
    """Draw a value for every input; a dimension that is free is 1."""
    random = np.random.default_rng(0)
    drawn = {}
    for value in inputs:
        shape = [extent if isinstance(extent, int) and extent > 0 else 1 for extent in value.shape]
        dtype = np.dtype(_TYPES[value.type])
        array = random.normal(size=shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        drawn[value.name] = np.asarray(array).astype(dtype)
    return drawn


def _seconds(run: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        run()
    return (clock() - start) / repeats


@dataclass(frozen=True)
class Latency:
    """Milliseconds of the original, the median of what the result takes in times that, and a lower bound of it."""

    milliseconds: float
    ratio: float
    least: float

    def slower(self, times: float) -> bool:
        """Tell whether the result is slower by this factor, and slower at all beyond the noise of the machine."""
        return self.ratio > times and self.least > 1

    def faster(self, times: float) -> bool:
        """Tell whether the result is faster by this factor."""
        return self.ratio * times < 1


def summarize(pairs: list[tuple[float, float]]) -> Latency:
    """Reduce seconds of original and result; the bound is the order statistic at two deviations below the median."""
    ratios = sorted(result / original for original, result in pairs)
    bound = ratios[max(0, int(len(ratios) / 2 - math.sqrt(len(ratios))))]
    return Latency(statistics.median(original for original, _ in pairs) * 1e3, statistics.median(ratios), bound)


def compare(
    runs: Sequence[Callable[[], object]], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Latency:
    """Measure an original and a result in turns, for so many seconds in all."""
    once = max(_seconds(run, 2, time.perf_counter) for run in runs)
    repeats = max(1, int(0.005 / once))
    pairs = []
    for index in range(max(9, int(seconds / (2 * repeats * once)))):
        # Whoever runs second finds warmer caches, so they take turns.
        order = (0, 1) if index % 2 else (1, 0)
        times = {which: _seconds(runs[which], repeats, clock) for which in order}
        pairs.append((times[0], times[1]))
    return summarize(pairs)


def in_onnxruntime(original: Path, result: Path, seconds: float) -> Latency:
    first, second = session(original), session(result)
    values = feeds(first.get_inputs())
    return compare([lambda each=each: each.run(None, values) for each in (first, second)], seconds)


def in_openvino(original: Path, result: Path, seconds: float) -> Latency:
    import openvino

    values = feeds(session(original).get_inputs())
    core, options = openvino.Core(), {"INFERENCE_NUM_THREADS": 1}
    both = [core.compile_model(str(path), "CPU", options).create_infer_request() for path in (original, result)]
    return compare([lambda each=each: each.infer(values, share_inputs=True) for each in both], seconds)
