"""Latency of an original and of its result, interleaved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
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


def _seconds(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def ratio(original: Path, result: Path, seconds: float) -> tuple[float, float]:
    """Milliseconds of the original, and the median of what the result takes in times that."""
    first, second = session(original), session(result)
    values = feeds(first.get_inputs())
    runs = [lambda each=each: each.run(None, values) for each in (first, second)]
    once = max(_seconds(run, 2) for run in runs)
    repeats = max(1, int(0.005 / once))
    rounds = max(9, int(seconds / (2 * repeats * once)))
    pairs = [(_seconds(runs[0], repeats), _seconds(runs[1], repeats)) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs) * 1e3, statistics.median(b / a for a, b in pairs)
