"""The whole way for one model: export, optimize, verify, and run on the picture before and after."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import onnxnorm
from models import MODELS
from onnxnorm.graph.normalizations import kind_of
from onnxnorm.io.load_and_save import load

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Files", "Outcome", "latencies", "make", "make_all", "measure"]

Feeds = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Files:
    """A model as it was exported and as it was optimized."""

    name: str
    exported: Path
    optimized: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one model.

    Errors are the largest against a float64 run of the exported model, divided by the largest output: 1e-7 is float32's
    own rounding. Latencies are medians in milliseconds, one thread; sizes are bytes.
    """

    name: str
    family: str
    normalizations_before: int
    normalizations_after: int
    nodes_before: int
    nodes_after: int
    error_before: float
    error_after: float
    latency_before_ms: float
    latency_after_ms: float
    size_before: int
    size_after: int
    passed: bool
    reason: str | None


def make(name: str, folder: Path) -> Files:
    """Exports the model to NAME.onnx in `folder`, normalizations as single nodes; optimizes it to NAME.optimized.onnx.

    Raises:
        OnnxNormError: the model cannot be exported or optimized, or a file cannot be written.
    """
    spec = MODELS[name]
    files = Files(name, folder / f"{name}.onnx", folder / f"{name}.optimized.onnx")
    onnxnorm.export(spec.build(), spec.example_inputs(), files.exported, dynamic_shapes=spec.dynamic_shapes)
    onnxnorm.optimize(files.exported, verify=False).save(files.optimized)
    return files


def make_all(names: Sequence[str], folder: Path) -> Iterator[tuple[str, Files | str]]:
    """`make` for each model in processes of their own: as it gets ready its files, or the reason why there are none."""
    workers = min(len(names), os.cpu_count() or 1, 4)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker) as pool:
        jobs = {pool.submit(make, name, folder): name for name in names}
        for job in concurrent.futures.as_completed(jobs):
            try:
                yield jobs[job], job.result()
            except onnxnorm.OnnxNormError as error:
                yield jobs[job], str(error)
            except BrokenProcessPool:
                yield jobs[job], "its process was killed, perhaps because the memory ran out; try fewer with --only"


def _start_worker() -> None:
    """One thread each: the processes share the cores already."""
    import torch

    torch.set_num_threads(1)


def measure(files: Files, *, seconds: float = 1.0) -> Outcome:
    """Verifies the optimized model on the picture, then runs both for `seconds` and compares them.

    Raises:
        OnnxNormError: a model cannot be read or run.
    """
    spec = MODELS[files.name]
    sessions = [_session(path) for path in (files.exported, files.optimized)]
    single, several = (_feeds(sessions[0], spec.example_inputs(batch)) for batch in (1, 2))
    report = onnxnorm.verify(files.exported, files.optimized, [single, several])
    largest = max(float(np.abs(output).max()) for output in sessions[0].run(None, several))
    before, after = latencies(sessions, single, seconds)
    (norms_before, nodes_before), (norms_after, nodes_after) = map(_count, (files.exported, files.optimized))
    return Outcome(
        name=spec.name,
        family=spec.family,
        normalizations_before=norms_before,
        normalizations_after=norms_after,
        nodes_before=nodes_before,
        nodes_after=nodes_after,
        error_before=max((output.error_original for output in report.outputs), default=0.0) / largest,
        error_after=max((output.error_result for output in report.outputs), default=0.0) / largest,
        latency_before_ms=before,
        latency_after_ms=after,
        size_before=files.exported.stat().st_size,
        size_after=files.optimized.stat().st_size,
        passed=report.passed,
        reason=report.reason,
    )


def latencies(sessions: Sequence[onnxruntime.InferenceSession], feeds: Feeds, seconds: float) -> list[float]:
    """The median latency of each session in milliseconds.

    The sessions take turns, in one order and then in the other, so that whatever else slows the machine meets all of
    them alike. Two rounds warm up; at least six are timed.
    """
    times: list[list[float]] = [[] for _ in sessions]
    turns = list(zip(sessions, times, strict=True))
    end = time.perf_counter() + seconds
    rounds = -2
    while rounds < 6 or time.perf_counter() < end:
        for session, own in turns:
            start = time.perf_counter()
            session.run(None, feeds)
            if rounds >= 0:
                own.append(1e3 * (time.perf_counter() - start))
        turns.reverse()
        rounds += 1
    return [statistics.median(own) for own in times]


def _session(path: Path) -> onnxruntime.InferenceSession:
    """One thread: two sessions whose threads wait for work beside each other would be timed against each other."""
    return onnxnorm.session(path, threads=1)


def _feeds(session: onnxruntime.InferenceSession, inputs: Sequence[Any]) -> dict[str, NDArray[Any]]:
    return {entry.name: tensor.numpy() for entry, tensor in zip(session.get_inputs(), inputs, strict=True)}


def _count(path: Path) -> tuple[int, int]:
    """How many normalizations there are, and how many nodes."""
    nodes = list(load(path).graph.all_nodes())
    return sum(kind_of(node) is not None for node in nodes), len(nodes)
