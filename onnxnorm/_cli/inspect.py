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
    from onnxnorm._inspect import NormRecord, inspect
    from onnxnorm._report import Table, print_json, print_table

    records = inspect(arguments.model)
    if arguments.json:
        print_json({"model": arguments.model, "normalizations": records})
        return 0
    if not records:
        print(f"{arguments.model}: no normalization found")
        return 0

    def where(record: NormRecord) -> str:
        return f"{record.path}/{record.node}" if record.path else record.node

    rows = [
        (where(record), record.kind, format_shape(record.shape), record.fate.value, record.reason) for record in records
    ]
    print_table(Table.of("node kind shape fate reason", rows))
    fates = Counter(record.fate.value for record in records)
    print(f"{len(records)} normalizations: " + ", ".join(f"{count} {fate}" for fate, count in fates.items()))
    return 0


def format_shape(shape: tuple[int | str | None, ...] | None) -> str:
    """`N x 64 x ? x ?`: symbolic dimensions by name, unknown ones as a question mark."""
    if shape is None:
        return "?"
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "scalar"
