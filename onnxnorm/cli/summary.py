"""Tells what `onnxnorm optimize` and `fold` did when they are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxnorm.journal import Rewrite
    from onnxnorm.optimizer.records import Account, NormRecord
    from onnxnorm.verification.verify import VerifyReport

__all__ = ["Changes", "print_changes", "print_explained"]


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

    @property
    def account(self) -> Account:
        """The sum of the normalizations: how many there were, how many there are, and how many had each fate."""
        from onnxnorm.optimizer.records import Account

        return Account.of(self.normalizations)

    def document(self) -> dict[str, object]:
        """Return all there is to tell, for JSON."""
        return {**vars(self), "account": self.account}

    def summary(self) -> dict[str, int]:
        """Return the changes as numbers."""
        return {
            "rewrites": len(self.rewrites),
            "nodes_before": sum(self.operators_before.values()),
            "nodes_after": sum(self.operators_after.values()),
            "size_before": self.size_before,
            "size_after": self.size_after,
        }


def print_explained(changes: Changes, name: str) -> None:
    """Print what was done with the normalization of this name, step by step, and all that is known of it.

    Raises:
        UsageError: no normalization has the name.
    """
    from onnxnorm.cli.exit_codes import UsageError
    from onnxnorm.cli.normalizations import detail_lines
    from onnxnorm.validate.choices import nearest

    found = [record for record in changes.normalizations if name in (record.node, record.where)]
    if not found:
        known = [record.where for record in changes.normalizations]
        raise UsageError(f"{changes.input}: no normalization is called {name!r}{nearest(name, known)}")
    for record in found:
        print("\n" + "\n".join(detail_lines(record)))
        steps = [rewrite for rewrite in changes.rewrites if rewrite.node == record.node]
        for number, rewrite in enumerate(steps, 1):
            print(f"{f'step {number}:':12} {rewrite.pass_name}: {rewrite.op_type} {rewrite.detail}")


def print_changes(
    changes: Changes, proof: VerifyReport | None, *, list_all: bool = False, speed: float | None = None
) -> None:
    """Print the headline, the changes as tables, and the proof where there is one.

    Args:
        changes: what there is to tell.
        proof: the verification of the result; None where it was left out.
        list_all: list all normalizations that are left, not one line for those of one reason, and all that was done.
        speed: how many times as fast the result is, where that was measured.
    """
    from onnxnorm.cli.normalizations import headline
    from onnxnorm.cli.rewrites import rewrite_table
    from onnxnorm.cli.tables import format_size, operator_table, print_table

    nodes = (changes.operators_before, changes.operators_after)
    passed = None if proof is None else proof.passed
    print(headline(changes.normalizations, nodes, passed, speed=speed), end="\n\n")
    print_table(operator_table(changes.operators_before, changes.operators_after))
    if changes.rewrites:
        print("\nRewritten:")
        print_table(rewrite_table(changes.rewrites, list_all=list_all))
    else:
        print("\nNothing to rewrite was found.")
    if changes.normalizations:
        _print_left(changes.normalizations, list_all=list_all)
    sizes = f"{format_size(changes.size_before)} -> {format_size(changes.size_after)}"
    if changes.size_after > changes.size_before:
        sizes += f" (+{100 * (changes.size_after / max(changes.size_before, 1) - 1):.1f} %)"
    counts = f"{sum(changes.operators_before.values())} -> {sum(changes.operators_after.values())} nodes"
    notes = [*changes.notes, *(() if proof is None else (*proof.notes, *proof.unreached))]
    if notes:
        print("\n" + "\n".join(f"note: {note}" for note in notes))
    print("\nnot verified" if proof is None else f"\nverification {proof}")
    print(f"{changes.output}: {counts}, {sizes}")


def _print_left(records: tuple[NormRecord, ...], *, list_all: bool) -> None:
    from onnxnorm.cli.normalizations import Group, group_line, grouped, remedy_lines
    from onnxnorm.cli.tables import Table, format_shape, print_table
    from onnxnorm.optimizer.records import Account, Fate

    print(f"\n{Account.of(records)}")
    left = [record for record in records if record.fate in (Fate.LEFT, Fate.PARTLY, Fate.NEW)]
    if not left:
        return
    groups = [Group(record.reason, (record,)) for record in left] if list_all else grouped(left)
    in_part = " or left in part" if any(record.fate is Fate.PARTLY for record in left) else ""
    print(f"\nNormalizations left{in_part}:")
    several = [group_line(group) for group in groups if len(group.records) > 1]
    if several:
        print("\n".join(several) + "; --all lists them")
    rows = [
        (group.first.where, group.kinds, format_shape(group.first.shape), group.reason)
        for group in groups
        if len(group.records) == 1
    ]
    if rows:
        print_table(Table.of("node kind shape reason", rows))
    if remedies := remedy_lines(left):
        print("\n" + "\n".join(remedies))
