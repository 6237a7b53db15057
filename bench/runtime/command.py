"""The command of this bench, `python -m bench runtime`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import bench.runtime
from bench.runtime.exports import OPSETS, Case, cases, demo
from bench.runtime.judge import TARGETS, judge, markdown
from bench.runtime.networks import NETWORKS

SHORT = ("bert", "llama", "vit", "lstm")


def files(paths: list[Path]) -> Iterator[Case]:
    for path in paths:
        found = sorted(path.rglob("*.onnx")) if path.is_dir() else [path]
        yield from (Case(each.stem, each) for each in found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench runtime", description=bench.runtime.__doc__)
    parser.add_argument("--short", action="store_true", help=f"{', '.join(SHORT)} by one exporter, without times")
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), metavar="NAME", help="these networks alone")
    parser.add_argument("--opsets", nargs="+", type=int, default=list(OPSETS))
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--files", nargs="+", type=Path, metavar="PATH", help="files, or folders of them, instead")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-runtime"), help="a folder for exported files")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measurement per row; 0 measures no time")
    parser.add_argument("--out", type=Path, help="a file for the table in Markdown")
    arguments = parser.parse_args()
    if arguments.files:
        chosen: Iterator[Case] = files(arguments.files)
    elif arguments.short:
        chosen = cases(arguments.cache, list(SHORT), ("torchscript",), (17,), ("dynamic",))
    else:
        chosen = cases(arguments.cache, arguments.only or list(NETWORKS), opsets=tuple(arguments.opsets))
        if not arguments.only:
            chosen = itertools.chain(chosen, demo(arguments.cache))
    rows = []
    for row in judge(chosen, arguments.targets, None if arguments.short else arguments.seconds or None):
        rows.append(row)
        print(f"{row.model:32} {row.target:12} {'; '.join(row.worse) or 'ok'}", flush=True)
    if arguments.out is not None:
        arguments.out.write_text(markdown(rows), encoding="utf-8")
    failed = sum(bool(row.worse) for row in rows)
    print(f"{len(rows)} rows, {failed} worse than the original")
    return int(bool(failed))
