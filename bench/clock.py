"""The clock of the benches: calls take turns, so that what else the machine does disturbs all of them alike."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence

import onnx
import onnxruntime

__all__ = ["Call", "fastest", "medians", "one_thread"]

Call = Callable[[], object]

_FEWEST_ROUNDS = 6
_TURNS = 6
_SECONDS_PER_TURN = 0.04
_FEWEST_CALLS = 2
_SLOW = 0.05
"""Seconds of a call, above which one turn has to do."""


def one_thread(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Make a session of onnxruntime with all its optimizations, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def medians(calls: Sequence[Call], seconds: float) -> list[float]:
    """Return the median seconds of each call; in each round all run once, in random order, for so many seconds in all.

    The order is random so that none profits from who ran before. A round before the first is not measured.
    """
    times: list[list[float]] = [[] for _ in calls]
    turns = list(zip(calls, times, strict=True))
    order = random.Random(0)
    for call in calls:
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < _FEWEST_ROUNDS:
        order.shuffle(turns)
        for call, own in turns:
            start = time.perf_counter()
            call()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def fastest(calls: dict[str, Call], *, processor: bool = False) -> dict[str, float]:
    """Return the least seconds of each call, all of them in turns of several calls each.

    With `processor` they are those of the calling thread on a processor, which other work on the machine disturbs less.
    """
    now = time.thread_time if processor else time.perf_counter
    best = dict.fromkeys(calls, math.inf)
    for turn in range(_TURNS):
        for name, call in calls.items():
            if turn > 0 and best[name] > _SLOW:
                continue
            # Until the threads of the call before have come to rest.
            time.sleep(0.002)
            call()
            end = time.perf_counter() + _SECONDS_PER_TURN
            count = 0
            while count < _FEWEST_CALLS or time.perf_counter() < end:
                start = now()
                call()
                best[name] = min(best[name], now() - start)
                count += 1
    return best
