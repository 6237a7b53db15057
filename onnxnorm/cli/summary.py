"""Tells what `onnxnorm optimize` and `fold` did when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxnorm.journal import Rewrite
    from onnxnorm.optimizer.inspect import NormRecord
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["Changes", "print_changes"]


@dataclass(frozen=True)
class Changes:
    """The changes to report; sizes in bytes, with external data."""

    input: str
    output: str
    operators_before: Mapping[str, int]
    operators_after: Mapping[str, int]
    size_before: int
    size_after: int
    rewrites: tuple[Rewrite, ...]
    normalizations: tuple[NormRecord, ...]
    notes: tuple[str, ...]
    verification: Mapping[str, Any] | None

    def summary(self) -> dict[str, int]:
        """Return the changes as numbers."""
        return {
            "rewrites": len(self.rewrites),
            "nodes_before": sum(self.operators_before.values()),
            "nodes_after": sum(self.operators_after.values()),
            "size_before": self.size_before,
            "size_after": self.size_after,
        }


def print_changes(changes: Changes, proof: VerifyReport | None) -> None:
    """Print the changes as tables, and the proof where there is one."""
    from onnxnorm.cli.tables import Table, format_size, operator_table, print_table

    print_table(operator_table(changes.operators_before, changes.operators_after))
    if changes.rewrites:
        kinds: dict[tuple[str, str], list[Rewrite]] = {}
        for rewrite in changes.rewrites:
            kinds.setdefault((rewrite.pass_name, rewrite.op_type), []).append(rewrite)
        rows = [(*kind, len(found), f"{found[0].node}: {found[0].detail}") for kind, found in kinds.items()]
        print("\nRewritten:")
        print_table(Table.of("pass operator >nodes for_example", rows))
    else:
        print("\nNothing to rewrite was found.")
    if changes.normalizations:
        _print_left(changes.normalizations)
    sizes = f"{format_size(changes.size_before)} -> {format_size(changes.size_after)}"
    if changes.size_after > changes.size_before:
        sizes += f" (+{100 * (changes.size_after / max(changes.size_before, 1) - 1):.1f} %)"
    nodes = f"{sum(changes.operators_before.values())} -> {sum(changes.operators_after.values())} nodes"
    notes = [*changes.notes, *(() if proof is None else proof.unreached)]
    if notes:
        print("\n" + "\n".join(f"note: {note}" for note in notes))
    print("\nnot verified" if proof is None else f"\nverification {proof}")
    print(f"{changes.output}: {nodes}, {sizes}")


def _print_left(records: tuple[NormRecord, ...]) -> None:
    from onnxnorm.cli.tables import Table, format_shape, print_table
    from onnxnorm.optimizer.inspect import Fate

    left = [record for record in records if record.fate is Fate.LEFT]
    if left:
        print("\nNormalizations left:")
        rows = [(record.where, record.kind, format_shape(record.shape), record.reason) for record in left]
        print_table(Table.of("node kind shape reason", rows))
