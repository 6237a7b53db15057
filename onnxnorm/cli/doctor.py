"""Runs `onnxnorm doctor`."""

from __future__ import annotations

import argparse

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "doctor": "what is installed, whether it works together, and what a missing part costs\n\n"
    "The exit code is 1 where something that has to work does not.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from onnxnorm.cli.tables import Table, print_json, print_table
    from onnxnorm.runtime.doctor import Status, diagnose

    checks = diagnose()
    if arguments.json:
        print_json({"checks": checks})
    else:
        print_table(Table.of("part state detail", [(check.name, check.status.value, check.detail) for check in checks]))
    return 1 if any(check.status is Status.FAILED for check in checks) else 0
