"""Verdicts on the results of `onnxnorm.optimize`, and the table of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

import onnxnorm
from bench import tables
from bench.runtime.counting import Counts, complaints, counts
from bench.runtime.exports import Case
from bench.runtime.timing import Latency, latency

TARGETS = ("portable", "onnxruntime", "openvino", "tensorrt", "web")
GROWTH, SLOWER = 1.05, 1.03
# A file for one runtime is judged by what that runtime makes of it; of the others, all that can be counted here.
OTHERS = {
    "onnxruntime": ("openvino",),
    "web": ("openvino",),
    "openvino": ("basic", "extended", "all", "transformers"),
}


@dataclass(frozen=True)
class Row:
    """A model for one target: nodes and bytes before and after, the ratio of latencies, and what is worse."""

    model: str
    target: str
    nodes: dict[str, tuple[int | None, int | None]]
    size: tuple[int, int]
    latency: Latency | None
    rewrites: int
    worse: tuple[str, ...]


def _totals(
    before: dict[str, Counts | str], after: dict[str, Counts | str]
) -> dict[str, tuple[int | None, int | None]]:
    def total(found: Counts | str) -> int | None:
        return None if isinstance(found, str) else found.total()

    return {name: (total(found), total(after[name])) for name, found in before.items()}


def _latency(original: Path, result: Path, seconds: float | None) -> Latency | None:
    """Measure once, and longer where the result looks slower; inputs that cannot be drawn give no time."""
    if seconds is None:
        return None
    try:
        found = latency(original, result, seconds)
        return latency(original, result, 4 * seconds) if found.slower(SLOWER) else found
    except Exception:
        # A file of a user may want inputs of any type and extent; runtimes raise anything.
        return None


def judge(cases: Iterable[Case], targets: Iterable[str] = TARGETS, seconds: float | None = 0.3) -> Iterator[Row]:
    """Judge each case for each target; `seconds` of measurement, or None to measure no time."""
    for case in cases:
        original = counts(case.path, case.tool)
        seen: dict[bytes, tuple[dict[str, Counts | str], Latency | None]] = {}
        for target in targets:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "result.onnx")
                result = onnxnorm.optimize(case.path, target=target, verify=False)
                onnx.save(result.model, path)
                data = path.read_bytes()
                if data not in seen:
                    seen[data] = (counts(path, case.tool), _latency(case.path, path, seconds))
                found, time = seen[data]
            time = None if target == "openvino" else time
            others = OTHERS.get(target, ())
            if time is not None and time.faster(SLOWER):
                # More nodes are no harm where onnxruntime takes less time for them.
                others = (*others, *OTHERS["openvino"])
            worse = complaints({way: each for way, each in original.items() if way not in others}, found)
            size = case.path.stat().st_size, len(data)
            if size[1] > GROWTH * size[0]:
                worse.append(f"bytes: {size[0]} -> {size[1]}")
            if time is not None and time.slower(SLOWER):
                worse.append(f"latency: {time.ratio:.2f} times")
            rewrites = len(result.rewrites)
            nodes = _totals(original, found)
            yield Row(case.name, target, nodes, size, time, rewrites, tuple(worse))


def markdown(rows: list[Row]) -> str:
    """Write rows as a table; nodes and bytes are `before -> after`."""
    ways = list(dict.fromkeys(way for row in rows for way in row.nodes))
    heads = ["model", "target", *ways, "bytes", "ms", "ratio", "verdict"]
    lines = [tables.head(heads)]
    for row in rows:
        shown = (row.nodes.get(way, (None, None)) for way in ways)
        cells = ["-" if before is None else f"{before} -> {after}" for before, after in shown]
        cells.append(f"{row.size[0]} -> {row.size[1]}")
        cells += ["-", "-"] if row.latency is None else [f"{row.latency.milliseconds:.2f}", f"{row.latency.ratio:.2f}"]
        cells.append("; ".join(row.worse) or "ok")
        lines.append(tables.row([row.model, row.target, *cells]))
    return "\n".join(lines) + "\n"
