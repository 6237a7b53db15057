"""Runs `onnxnorm inspect`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxnorm.cli.exit_codes import UsageError, refuse_beside
from onnxnorm.cli.fail_if import Condition
from onnxnorm.cli.optimize_options import add_choices
from onnxnorm.validate.choices import nearest, target_named

if TYPE_CHECKING:
    from onnxnorm.optimizer.records import Account, NormRecord

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

# How many times as long as looking at the model once trying what helps may take.
_TRIES = 4

DESCRIPTIONS = {
    "inspect": """every normalization of a model, what optimize makes of it, and why

Of several models, or of those of a folder, a line for each: which normalizations, and what becomes of them. The
files are only read.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("model", metavar="in.onnx", nargs="+", help="a model; a folder, a pattern or several for many")
    parser.add_argument("--target", type=target_named, default="portable", help="what the result would have to run on")
    parser.add_argument("--opset", type=int, help="as if it were converted to this opset first")
    parser.add_argument(
        "--freeze-inputs", action="store_true", default=None, help="as if initializers that are inputs were constants"
    )
    add_choices(parser)
    parser.add_argument("--node", metavar="NAME", help="all that is known of this one, with its remedy tried")
    parser.add_argument("--all", action="store_true", help="a line for each, also for those of one reason")
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        type=Condition.read,
        metavar="'left>0'",
        help="exit with 1 where that holds; counts are before, after, nodes_before, nodes_after, the fates (absorbed, "
        "written_out and so on) and the codes of reasons; may be given several times",
    )
    parser.add_argument(
        "--ranges", action="store_true", help="how much the channels of weights differ, and which lose accuracy in int8"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from onnxnorm.cli.model_paths import is_batch

    one = {"--node": arguments.node, "--ranges": arguments.ranges}
    if is_batch(arguments.model):
        refuse_beside("several models", one, "of these a line each is told")
        return _run_many(arguments)
    if arguments.ranges:
        others = {"--node": arguments.node, "--fail-if": arguments.fail_if, "--all": arguments.all}
        refuse_beside("--ranges", others, "it tells of weights, not of normalizations")
    from onnxnorm.cli.normalizations import detail_lines
    from onnxnorm.cli.tables import print_json
    from onnxnorm.io.load_and_save import load
    from onnxnorm.optimizer.provenance import provenance_in

    (path,) = arguments.model
    if arguments.ranges:
        return _run_ranges(path, arguments)
    begun = time.process_time()
    records, merges = _examined(path, arguments)
    took = time.process_time() - begun
    if arguments.node is not None:
        records = _of_node(records, arguments.node, path)
    records = _tried(path, records, arguments, took)
    made = provenance_in(load(path))
    if arguments.json:
        document = {"model": path, "normalizations": records, "account": _account(records), "merges": merges}
        print_json({**document, "provenance": made} if made else document)
    elif arguments.node is not None:
        print("\n\n".join("\n".join(detail_lines(record)) for record in records))
    else:
        if records:
            _print_normalizations(records, list_all=arguments.all)
        else:
            print(f"{path}: no normalization found")
        for merge in merges:
            print(merge)
        if made:
            print("made by onnxnorm: " + ", ".join(f"{name} {value}" for name, value in made.items()))
    return _checked(path, records, arguments.fail_if)


def _run_ranges(path: str, arguments: argparse.Namespace) -> int:
    from onnxnorm.cli.ranges import print_ranges, ranges_of
    from onnxnorm.cli.tables import print_json, status
    from onnxnorm.optimizer.inspect import examine

    with status(f"optimizing a copy of {path}"):
        result, _ = examine(path, **_options(arguments))
        forms = ranges_of(path, result.ir_model)
    if arguments.json:
        ranges = {name: [record.to_dict() for record in records] for name, records in forms.items()}
        print_json({"model": path, "ranges": ranges})
    else:
        print_ranges(forms)
    return 0


def _checked(path: str, records: Sequence[NormRecord], conditions: Sequence[Condition]) -> int:
    """Tell on stderr which condition holds; return the exit code."""
    failed = [told for condition in conditions if (told := condition.holds(records)) is not None]
    for told in failed:
        print(f"onnxnorm: {path}: {told}", file=sys.stderr)
    return 1 if failed else 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "target": arguments.target,
        "opset": arguments.opset,
        "freeze_inputs": arguments.freeze_inputs,
        "fix_shapes": dict(arguments.fix_shape),
        "keep": arguments.keep,
    }


def _examined(path: str, arguments: argparse.Namespace) -> tuple[tuple[NormRecord, ...], list[str]]:
    from onnxnorm.cli.tables import status
    from onnxnorm.optimizer.inspect import examine

    with status(f"optimizing a copy of {path}"):
        result, records = examine(path, **_options(arguments))
    return records, list(dict.fromkeys(r.detail for r in result.rewrites if r.pass_name.startswith("merge_")))


def _tried(
    path: str, records: tuple[NormRecord, ...], arguments: argparse.Namespace, took: float
) -> tuple[NormRecord, ...]:
    from onnxnorm.cli.trying import tried
    from onnxnorm.io.model_source import ModelSource

    # Of one normalization all is told, however long that takes.
    seconds = _TRIES * took if arguments.node is None else float("inf")
    return tried(ModelSource(path), records, _options(arguments), took=took, seconds=seconds)


def _of_node(records: Sequence[NormRecord], name: str, path: str) -> tuple[NormRecord, ...]:
    found = tuple(record for record in records if name in (record.node, record.where))
    if not found:
        known = [record.where for record in records]
        raise UsageError(f"{path}: no normalization is called {name!r}{nearest(name, known)} (--all lists them)")
    return found


def _run_many(arguments: argparse.Namespace) -> int:
    """Print one line a model; one that cannot be read costs its line, and the exit code."""
    from onnxnorm.cli.model_paths import models_of
    from onnxnorm.cli.tables import Table, print_json, print_table
    from onnxnorm.errors import OnnxNormError

    paths = [str(path) for path in models_of(arguments.model)]
    if not paths:
        raise UsageError(f"no model (*.onnx) in {', '.join(arguments.model)}")
    documents: list[dict[str, object]] = []
    rows: list[tuple[str, str, str]] = []
    examined: list[tuple[str, Sequence[NormRecord]]] = []
    for path in paths:
        try:
            records, merges = _examined(path, arguments)
        except OnnxNormError as error:
            documents.append({"model": path, "error": str(error)})
            rows.append((path, "error", str(error)))
            continue
        account = _account(records)
        examined.append((path, records))
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
    if any("error" in document for document in documents):
        return 2
    return max((_checked(path, found, arguments.fail_if) for path, found in examined), default=0)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _account(records: Sequence[NormRecord]) -> Account:
    from onnxnorm.optimizer.records import Account

    return Account.of(records)


def _print_normalizations(records: Sequence[NormRecord], *, list_all: bool) -> None:
    from onnxnorm.cli.normalizations import Group, grouped, remedy_lines
    from onnxnorm.cli.tables import Table, format_shape, print_table

    account = _account(records)
    noun = "normalization" if account.before == 1 else "normalizations"
    fates = ", ".join(f"{count} {fate.value}" for fate, count in account.fates.items())
    print(f"{account.before} {noun}, of which optimize leaves {account.after}: {fates}\n")
    groups = [Group(record.reason, (record,)) for record in records] if list_all else grouped(records)
    rows = []
    for group in groups:
        first, more = group.first, len(group.records) - 1
        name = f"{first.where} and {more} more" if more else first.where
        rows.append((name, group.kinds, format_shape(first.shape), first.fate.value, group.reason))
    print_table(Table.of("node kind shape fate reason", rows))
    if len(groups) < len(records):
        print("--all lists them one by one")
    if remedies := remedy_lines(records):
        print("\n" + "\n".join(remedies))
