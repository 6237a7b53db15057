"""Runs `onnxnorm inspect`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxnorm.optimizer.records import Account, NormRecord

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "inspect": """every normalization of a model, what optimize makes of it, and why

Of several models, or of those of a folder, a line for each: which normalizations, and what becomes of them. The
files are only read.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("model", metavar="in.onnx", nargs="+", help="a model; a folder, a pattern or several for many")
    parser.add_argument("--all", action="store_true", help="a line for each, also for those of one reason")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from onnxnorm.cli.model_paths import is_batch

    if is_batch(arguments.model):
        return _run_many(arguments)
    from onnxnorm.cli.tables import print_json

    (path,) = arguments.model
    records, merges = _examined(path)
    if arguments.json:
        print_json({"model": path, "normalizations": records, "account": _account(records), "merges": merges})
        return 0
    if records:
        _print_normalizations(records, list_all=arguments.all)
    else:
        print(f"{path}: no normalization found")
    for merge in merges:
        print(merge)
    return 0


def _examined(path: str) -> tuple[tuple[NormRecord, ...], list[str]]:
    from onnxnorm.cli.tables import status
    from onnxnorm.optimizer.inspect import examine

    with status(f"optimizing a copy of {path}"):
        result, records = examine(path)
    return records, list(dict.fromkeys(r.detail for r in result.rewrites if r.pass_name.startswith("merge_")))


def _run_many(arguments: argparse.Namespace) -> int:
    """Print one line a model; one that cannot be read costs its line, and the exit code."""
    from onnxnorm.cli.exit_codes import UsageError
    from onnxnorm.cli.model_paths import models_of
    from onnxnorm.cli.tables import Table, print_json, print_table
    from onnxnorm.errors import OnnxNormError

    paths = [str(path) for path in models_of(arguments.model)]
    if not paths:
        raise UsageError(f"no model (*.onnx) in {', '.join(arguments.model)}")
    documents: list[dict[str, object]] = []
    rows: list[tuple[str, str, str]] = []
    for path in paths:
        try:
            records, merges = _examined(path)
        except OnnxNormError as error:
            documents.append({"model": path, "error": str(error)})
            rows.append((path, "error", str(error)))
            continue
        account = _account(records)
        documents.append({"model": path, "normalizations": records, "account": account, "merges": merges})
        kinds, fates = (
            Counter(record.kind for record in records),
            Counter(record.fate.value for record in records),
        )
        rows.append((path, _counted(kinds) or "none", _counted(fates)))
    if arguments.json:
        print_json({"models": documents})
    else:
        print_table(Table.of("model normalizations fate", rows))
    return 2 if any("error" in document for document in documents) else 0


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _account(records: Sequence[NormRecord]) -> Account:
    from onnxnorm.optimizer.records import Account

    return Account.of(records)


def _print_normalizations(records: Sequence[NormRecord], *, list_all: bool) -> None:
    from onnxnorm.cli.normalizations import Group, grouped, remedy_lines
    from onnxnorm.cli.tables import Table, format_shape, print_table

    groups = [Group(record.reason, (record,)) for record in records] if list_all else grouped(records)
    rows = []
    for group in groups:
        first, more = group.first, len(group.records) - 1
        name = f"{first.where} and {more} more" if more else first.where
        rows.append((name, first.kind, format_shape(first.shape), first.fate.value, group.reason))
    print_table(Table.of("node kind shape fate reason", rows))
    if len(groups) < len(records):
        print("--all lists them one by one")
    print(_account(records))
    print("\n".join(remedy_lines(records)), end="\n" if remedy_lines(records) else "")
