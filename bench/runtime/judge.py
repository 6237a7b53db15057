"""Verdicts on the results of `onnxnorm.optimize`."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

import onnxnorm
from bench.runtime.complaints import complaints
from bench.runtime.counting import Counts, counts
from bench.runtime.exports import Case
from bench.runtime.predicted import work_of
from bench.runtime.store import Measured, Store
from bench.runtime.timing import Latency, in_onnxruntime, in_openvino

__all__ = ["TARGETS", "Row", "judge", "verdict"]

Measure = Callable[[Path, Path, float], Latency]
TARGETS = ("portable", "onnxruntime", "openvino", "tensorrt", "web")
GROWTH, SLOWER = 1.05, 1.03
# A file for one runtime is judged by what that runtime makes of it; of the others, all that can be counted here.
OF_ONNXRUNTIME, OF_OPENVINO = ("basic", "extended", "all", "transformers"), ("openvino",)
OTHERS = {"onnxruntime": OF_OPENVINO, "web": OF_OPENVINO, "openvino": OF_ONNXRUNTIME}


@dataclass(frozen=True)
class Row:
    """A model for one target: nodes, bytes and predicted work before and after, latencies, and what is worse."""

    model: str
    target: str
    nodes: dict[str, tuple[int | None, int | None]]
    size: tuple[int, int]
    latency: Latency | None
    rewrites: int
    work: tuple[int, int]
    worse: tuple[str, ...]


def _totals(
    before: dict[str, Counts | str], after: dict[str, Counts | str]
) -> dict[str, tuple[int | None, int | None]]:
    def total(found: Counts | str) -> int | None:
        return None if isinstance(found, str) else found.total()

    return {name: (total(found), total(after[name])) for name, found in before.items()}


def verdict(found: Measured) -> Row:
    """Say what is worse in a result than in its original.

    More nodes are no harm in a runtime that takes less time for them; where it does not, its time is told beside them.
    """
    worse = []
    for ways, time in _times(found):
        told = _more(found, ways, fails_alone=time is not None and time.faster(SLOWER))
        worse += told if time is None else [f"{each}, in {time.ratio:.2f} times the time" for each in told]
    if found.size[1] > GROWTH * found.size[0]:
        worse.append(f"bytes: {found.size[0]} -> {found.size[1]}")
    for ways, time in _times(found):
        if time is not None and time.slower(SLOWER):
            worse.append(f"latency{' in OpenVINO' if ways is OF_OPENVINO else ''}: {time.ratio:.2f} times")
    nodes = _totals(found.before, found.after)
    time = None if found.target == "openvino" else found.latency
    return Row(found.model, found.target, nodes, found.size, time, found.rewrites, found.work, tuple(worse))


def _times(found: Measured) -> list[tuple[tuple[str, ...], Latency | None]]:
    """Return the ways of counting of each runtime that the target is judged by, with what it was timed at."""
    both = [(OF_ONNXRUNTIME, found.latency), (OF_OPENVINO, found.latency_in_openvino)]
    return [each for each in both if each[0] is not OTHERS.get(found.target)]


def _more(found: Measured, ways: tuple[str, ...], *, fails_alone: bool = False) -> list[str]:
    """Say where these ways of counting find more nodes than in the original, or where the result fails alone."""
    asked = [way for way in found.before if way in ways and not (fails_alone and isinstance(found.after[way], Counter))]
    return complaints({way: found.before[way] for way in asked}, found.after)


def _latency(measure: Measure, original: Path, result: Path, seconds: float) -> Latency | None:
    """Measure once, and longer where the result looks slower; inputs that cannot be drawn give no time."""
    try:
        found = measure(original, result, seconds)
        return measure(original, result, 4 * seconds) if found.slower(SLOWER) else found
    except Exception:
        # A file of a user may want inputs of any type and extent; runtimes raise anything.
        return None


class _Original:
    """One file: what is found once and holds for all targets."""

    def __init__(self, case: Case, store: Store) -> None:
        self._case, self._store = case, store
        self._before: dict[str, Counts | str] | None = None
        self._work = 0
        self._after: dict[str, dict[str, Counts | str]] = {}
        self._latencies: dict[tuple[str, Measure], Latency | None] = {}

    def count(self, target: str) -> Measured:
        if self._before is None:
            self._before = self._counts(self._case.path)
            self._work = work_of(onnx.load(self._case.path))
        size = self._case.path.stat().st_size
        try:
            optimized = onnxnorm.optimize(self._case.path, target=target, verify=False)
        except onnxnorm.OnnxNormError as error:
            after: dict[str, Counts | str] = dict.fromkeys(self._before, f"not optimized: {error}")
            return Measured(self._case.name, target, self._before, after, (size, size), "", 0)
        data = _bytes(optimized.model)
        result = self._store.put_result(data)
        if result not in self._after:
            self._after[result] = self._counts(self._store.result(result))
        return Measured(
            self._case.name,
            target,
            self._before,
            self._after[result],
            (size, len(data)),
            result,
            len(optimized.rewrites),
            (self._work, work_of(optimized.model)),
        )

    def _counts(self, path: Path) -> dict[str, Counts | str]:
        return self._store.counts(path, self._case.tool, lambda: counts(path, self._case.tool))

    def time(self, found: Measured, seconds: float) -> Measured:
        return replace(found, latency=self._latency(in_onnxruntime, found, seconds))

    def settle(self, found: Measured, seconds: float) -> Measured:
        """Measure time in the runtimes that are left with more nodes, where it was not measured."""
        judged = [ways for ways, _ in _times(found) if _more(found, ways)]
        if found.latency is None and OF_ONNXRUNTIME in judged:
            found = self.time(found, seconds)
        if found.latency_in_openvino is None and OF_OPENVINO in judged:
            found = replace(found, latency_in_openvino=self._latency(in_openvino, found, seconds))
        return found

    def _latency(self, measure: Measure, found: Measured, seconds: float) -> Latency | None:
        if not found.result:
            return None
        key = found.result, measure
        if key not in self._latencies:
            self._latencies[key] = _latency(measure, self._case.path, self._store.result(found.result), seconds)
        return self._latencies[key]


def _bytes(model: onnx.ModelProto) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.onnx")
        onnx.save(model, path)
        return path.read_bytes()


def judge(
    cases: Iterable[Case],
    targets: Iterable[str] = TARGETS,
    seconds: float | None = 0.3,
    store: Store | None = None,
    doubtful: float = 0,
) -> Iterator[Row]:
    """Judge each case for each target, by `seconds` of measurement, or None to measure no time.

    Where a runtime is left with more nodes, its time for both settles it, by `doubtful` seconds of measurement.
    What the store has is not counted or measured again, and what is new is put there.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder)) if store is None else store
        for case in cases:
            original = _Original(case, store)
            for target in targets:
                known = store.find(case.name, target)
                found = original.count(target) if known is None else known
                if seconds and found.latency is None and target != "openvino":
                    found = original.time(found, seconds)
                if doubtful:
                    found = original.settle(found, doubtful)
                if found != known:
                    store.put(found)
                yield verdict(found)
