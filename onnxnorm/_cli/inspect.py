"""`onnxnorm inspect`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxnorm._inspect import NormRecord

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "inspect": "every normalization of a model, what optimize makes of it, and why\n\nThe file is only read.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="in.onnx")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from onnxnorm._inspect import examine
    from onnxnorm._report import print_json, status

    with status(f"optimizing a copy of {arguments.model}"):
        result, records = examine(arguments.model)
    merges = list(dict.fromkeys(r.detail for r in result.rewrites if r.pass_name.startswith("merge_")))
    if arguments.json:
        print_json({"model": arguments.model, "normalizations": records, "merges": merges})
        return 0
    if records:
        _print_normalizations(records)
    else:
        print(f"{arguments.model}: no normalization found")
    for merge in merges:
        print(merge)
    return 0


def _print_normalizations(records: Sequence[NormRecord]) -> None:
    from onnxnorm._report import Table, format_shape, print_table

    rows = [
        (record.where, record.kind, format_shape(record.shape), record.fate.value, record.reason) for record in records
    ]
    print_table(Table.of("node kind shape fate reason", rows))
    fates = Counter(record.fate.value for record in records)
    noun = "normalization" if len(records) == 1 else "normalizations"
    print(f"{len(records)} {noun}: " + ", ".join(f"{count} {fate}" for fate, count in fates.items()))
