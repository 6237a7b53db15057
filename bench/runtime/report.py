"""Tables of the verdicts: a row for each file, and a row for each network in the documentation."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple

from bench import tables
from bench.pages import COUNT, FIGURE, TEXT, Section
from bench.runtime.judge import TARGETS, Row
from bench.runtime.predicted import agreement, fit
from bench.runtime.timing import Latency

__all__ = ["SECTIONS", "by_file", "by_network"]

_WAYS = ("basic", "extended", "all", "transformers", "openvino")
_CHANGE = r"\d+ -> \d+|-"
_SIGNED = rf"-?{FIGURE}"
SECTIONS = (
    Section(
        "runtime",
        "docs/runtime-graphs.md",
        (
            {"network": TEXT, "target": TEXT, "files": COUNT}
            | dict.fromkeys(_WAYS, _CHANGE)
            | {"KB": _CHANGE, "time": rf"{FIGURE} \({FIGURE} to {FIGURE}\)|-", "worse": COUNT},
            {"file": TEXT, "target": TEXT, "what is worse": TEXT},
            {"target": TEXT, "predicted cheaper: fewer nodes": COUNT, "as many": COUNT, "more": COUNT}
            | {"not cheaper: fewer nodes": COUNT, "as many nodes": COUNT, "more nodes": COUNT},
            {"target": TEXT, "predicted cheaper": COUNT, "of these faster": COUNT, "ns for 1000 units": _SIGNED}
            | {"correlation": _SIGNED},
            {"target": TEXT, "files not counted yet": TEXT},
        ),
        ("onnx", "onnxruntime", "openvino", "torch"),
    ),
)


def by_file(rows: Sequence[Row]) -> str:
    """Write a row for each file and target; nodes and bytes are `before -> after`."""
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


def by_network(rows: Iterable[Row], planned: Iterable[str] = ()) -> list[str]:
    """Write the tables of the page.

    They are sums over the files of each network, the files that are worse, the cost model beside the graphs and beside
    the times, and which of the `planned` files have no row.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    worse = []
    for row in rows:
        groups.setdefault((_network(row.model), row.target), []).append(row)
        worse += [(row.model, row.target, "; ".join(row.worse))] if row.worse else []
    sums, faults, graphs, times, missing = (list(columns) for columns in SECTIONS[0].tables)
    lines = [(*key, len(group), *_sums(group), sum(bool(row.worse) for row in group)) for key, group in groups.items()]
    return [
        _table(sums, lines),
        _table(faults, worse or [("none", "any", "nothing")]),
        _table(graphs, _agreements(groups)),
        _table(times, _fits(groups)),
        _table(missing, _missing(groups, list(planned))),
    ]


def _network(model: str) -> str:
    return model.partition("-")[0]


def _agreements(groups: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[tuple[object, ...]]:
    for target in dict.fromkeys(target for _, target in groups):
        pairs = []
        for row in (row for key, group in groups.items() if key[1] == target for row in group):
            before, after = row.nodes.get("openvino" if target == "openvino" else "all", (None, None))
            if before is not None and after is not None:
                pairs.append((row.work[0] - row.work[1], before - after))
        yield target, *astuple(agreement(pairs))


def _missing(groups: Mapping[tuple[str, str], Sequence[Row]], planned: Sequence[str]) -> Iterator[tuple[str, str]]:
    for target in TARGETS:
        counted = {row.model for key, group in groups.items() if key[1] == target for row in group}
        left = Counter(_network(name) for name in planned if name not in counted)
        whole = Counter(map(_network, planned))
        told = ", ".join(f"{name} {count} of {whole[name]}" for name, count in left.items())
        yield target, "all files of all networks" if left and left == whole else told or "none"


def _fits(groups: Mapping[tuple[str, str], Sequence[Row]]) -> Iterator[tuple[object, ...]]:
    timed = [
        (target, row, row.latency) for (_, target), group in groups.items() for row in group if row.latency is not None
    ]
    for target in dict.fromkeys(target for target, _, _ in timed) or ("none was timed",):
        found = fit((row.work[0] - row.work[1], _saved(taken)) for key, row, taken in timed if key == target)
        yield target, found.results, found.faster, f"{found.nanoseconds:.2f}", f"{found.correlation:.2f}"


def _saved(latency: Latency) -> float:
    return latency.milliseconds * 1e-3 * (1 - latency.ratio)


def _table(titles: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    return "\n".join([tables.head(titles), *map(tables.row, lines)])


def _sums(group: Sequence[Row]) -> Iterator[str]:
    """Yield sums of nodes for each runtime over the files that it runs before and after, then bytes and times."""
    for way in _WAYS:
        pairs = [row.nodes.get(way, (None, None)) for row in group]
        known = [(before, after) for before, after in pairs if before is not None and after is not None]
        yield f"{sum(b for b, _ in known)} -> {sum(a for _, a in known)}" if known else "-"
    before, after = (sum(row.size[place] for row in group) // 1000 for place in (0, 1))
    yield f"{before} -> {after}"
    ratios = [row.latency.ratio for row in group if row.latency is not None]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"
    yield spread
