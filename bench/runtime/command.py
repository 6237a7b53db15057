"""The command of this bench, `python -m bench runtime`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import bench.runtime
from bench.pages import add_out
from bench.runtime.exports import EXPORTERS, OPSETS, QUANTIZATIONS, Case, cases, demo, planned
from bench.runtime.judge import TARGETS, judge, verdict
from bench.runtime.networks import NETWORKS
from bench.runtime.report import SECTIONS, by_file, by_network
from bench.runtime.store import Store

__all__ = ["SECTIONS", "main"]

SHORT = ("bert", "llama", "vit", "lstm")
DEMO = "models"


def files(paths: list[Path]) -> Iterator[Case]:
    for path in paths:
        found = sorted(path.rglob("*.onnx")) if path.is_dir() else [path]
        yield from (Case(each.stem, each) for each in found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench runtime",
        description=bench.runtime.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [*NETWORKS, DEMO]
    parser.add_argument("--short", action="store_true", help=f"{', '.join(SHORT)} by one exporter, without times")
    parser.add_argument("--networks", nargs="*", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--exporters", nargs="+", choices=EXPORTERS, default=list(EXPORTERS), metavar="NAME")
    parser.add_argument("--opsets", nargs="+", type=int, default=list(OPSETS))
    parser.add_argument(
        "--quantizations", nargs="*", choices=QUANTIZATIONS, default=list(QUANTIZATIONS), metavar="NAME"
    )
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--files", nargs="+", type=Path, metavar="PATH", help="files, or folders of them, instead")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-runtime"), help="what is kept between runs")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measurement per row; 0 counts nodes alone")
    parser.add_argument(
        "--doubtful-seconds",
        type=float,
        default=0,
        metavar="SECONDS",
        help="of measurement in each runtime that is left with more nodes; 0 lets the nodes decide",
    )
    parser.add_argument("--rows", type=Path, metavar="FILE", help="a file for a table with a row for each file")
    add_out(parser, *SECTIONS)
    return parser


def _chosen(arguments: argparse.Namespace) -> Iterator[Case]:
    if arguments.files:
        return files(arguments.files)
    if arguments.short:
        return cases(arguments.cache, list(SHORT), ("torchscript",), (17,), ("dynamic",))
    names = [name for name in arguments.networks if name != DEMO]
    made = cases(
        arguments.cache, names, tuple(arguments.exporters), tuple(arguments.opsets), tuple(arguments.quantizations)
    )
    return itertools.chain(made, demo(arguments.cache) if DEMO in arguments.networks else ())


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.out and (arguments.files or arguments.short):
        parser.error("--out is for the networks of this bench, not for --files or --short")
    # What others can find anew with a file of the same name is not kept.
    store = None if arguments.files else Store(arguments.cache)
    rows = []
    seconds = None if arguments.short else arguments.seconds
    for row in judge(_chosen(arguments), arguments.targets, seconds, store, arguments.doubtful_seconds):
        rows.append(row)
        print(f"{row.model:32} {row.target:12} {'; '.join(row.worse) or 'ok'}", flush=True)
    if arguments.rows is not None:
        arguments.rows.write_text(by_file(rows), encoding="utf-8")
    if arguments.out is not None and store is not None:
        SECTIONS[0].write(arguments.out, by_network(map(verdict, store), planned(arguments.cache)))
    failed = sum(bool(row.worse) for row in rows)
    print(f"{len(rows)} rows, {failed} worse than the original")
    return int(bool(failed))
