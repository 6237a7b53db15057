"""`onnxnorm inspect`."""

from __future__ import annotations

import argparse
from collections import Counter

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "inspect": "every normalization of a model, what optimize makes of it, and why\n\nThe file is only read.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="in.onnx")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from onnxnorm._inspect import inspect
    from onnxnorm._report import Table, format_shape, print_json, print_table, status

    with status(f"optimizing a copy of {arguments.model}"):
        records = inspect(arguments.model)
    if arguments.json:
        print_json({"model": arguments.model, "normalizations": records})
        return 0
    if not records:
        print(f"{arguments.model}: no normalization found")
        return 0

    rows = [
        (record.where, record.kind, format_shape(record.shape), record.fate.value, record.reason) for record in records
    ]
    print_table(Table.of("node kind shape fate reason", rows))
    fates = Counter(record.fate.value for record in records)
    noun = "normalization" if len(records) == 1 else "normalizations"
    print(f"{len(records)} {noun}: " + ", ".join(f"{count} {fate}" for fate, count in fates.items()))
    return 0
