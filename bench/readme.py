"""The README's table, gathered from the pages that other benches wrote; nothing is measured here.

python -m bench readme [--out README.md]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from bench.pages import TEXT, Section, add_out, rows_of
from bench.tables import Table

__all__ = ["SECTIONS", "main", "measured"]

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = (Section("readme", "README.md", ({"what": TEXT, "result": TEXT, "command": r"`python -m \S+.*`"},), None),)


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _row(rows: list[dict[str, str]], **cells: str) -> dict[str, str]:
    return next(row for row in rows if all(row[title] == cell for title, cell in cells.items()))


def measured() -> Iterator[tuple[str, str, str]]:
    """Yield what was measured, the result and the command."""
    benchmarks = _page("benchmarks.md")
    yield from _left(rows_of(benchmarks, "model", "affines"))
    merged = _row(rows_of(_page("merging.md"), "model", "speed-up merged"), model="mobileone")
    before, after, _ = merged["nodes as exported, merged, collapsed"].split(", ")
    speed = merged["speed-up merged"]
    yield "MobileOne with its branches merged", f"{before} nodes become {after}, {speed} times as fast", "bench merge"
    lrn = _row(rows_of(benchmarks, "window", "portable body"), window="inter 5", tensor="8x64x112x112")
    what = "inter-channel LRN of size 5 on 8x64x112x112, one thread"
    yield what, f"{lrn['onnxruntime'].split(', ')[0]} times as fast as onnxruntime's own", "bench lrn"
    models = [row for row in rows_of(benchmarks, "target onnxruntime") if row["threads"] == "1"]
    names, speeds = (", ".join(row[title] for row in models) for title in ("model", "target onnxruntime"))
    what = f"{names} for `--target onnxruntime`, one thread"
    yield what, f"{speeds} times as fast as in onnxruntime alone", "bench models"
    scale = rows_of(benchmarks, "seconds at nodes", "48000")
    own, runtime = (_row(scale, **{"seconds at nodes": tool})["48000"] for tool in ("onnxnorm optimize", "onnxruntime"))
    result = f"folded in {own} s of processor time, import included; onnxruntime's own optimizer takes {runtime} s"
    yield "16,000 blocks of Conv, BatchNormalization and Relu", result, "bench scale --nodes 1000,10000,48000 --rivals"
    large = next(row for row in rows_of(benchmarks, "tool", "memory") if row["tool"] == "onnxnorm")
    copies = f"{large['times `cp`']} times as long as `cp`, {large['times `cp` and `sync`']} times `cp` and `sync`"
    yield f"a model of {large['model']}", f"{copies}; {large['memory']} of memory", "bench large"
    yield from _proved(rows_of(_page("verification.md"), "one run", "`verify`"))
    networks, wrong = re.findall(r"^(\d+) networks of \d+ nodes: (\d+) wrong", _page("verification.md"), re.MULTILINE)[
        0
    ]
    what = f"{int(networks):,} random networks, compared in float64"
    result = (
        f"{wrong} wrong result{'s' * (wrong != '1')} ([which](docs/verification.md#how-the-folding-engine-is-tested))"
    )
    yield what, result, f"fuzz networks --networks {networks} --jobs 2"


def _proved(rows: list[dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        if row["model"].startswith("large"):
            seconds, memory = row["`optimize`"].split(", ")
            run_seconds, run_memory = row["one run"].split(", ")
            result = (
                f"{seconds} of processor time, {memory}; one run of it in onnxruntime takes {run_seconds}, {run_memory}"
            )
            yield "the same model optimized with its proof", result, "bench verify --rivals"


def _left(rows: list[dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    for name, title in (("mobileone", "MobileOne"), ("levit", "LeViT")):
        row = _row(rows, model=name)
        tools = [tool for tool in row if tool not in ("model", "affines", "onnxnorm")]
        counts = {tool: int(found[0]) for tool in tools if (found := re.match(r"\d+(?= )", row[tool]))}
        own = row["onnxnorm"].split()[0]
        peers = f"the best of {len(counts)} peers leaves {min(counts.values())}"
        yield f"affines left in {title}, of {row['affines']}", f"{own}; {peers}", "bench fold"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench readme", description=(__doc__ or "").splitlines()[0])
    add_out(parser, *SECTIONS)
    arguments = parser.parse_args()
    table = Table(*SECTIONS[0].tables[0])
    for what, result, command in measured():
        table.add(what, result, f"`python -m {command}`")
    if arguments.out:
        SECTIONS[0].write(arguments.out, [table])
