"""Tests of the line that says first what was done."""

from __future__ import annotations

import pytest

from onnxnorm.cli.normalizations import headline
from onnxnorm.optimizer.records import Fate, NormRecord


def _record(fate: Fate) -> NormRecord:
    return NormRecord("BatchNormalization", "norm", (1, 3), fate, "", "BatchNormalization", "", "")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"Conv": 3}, {"Conv": 3}, "as many nodes"),
        ({"Conv": 3}, {"Conv": 2}, "1 node fewer"),
        ({"Conv": 3, "Constant": 2}, {"Conv": 2, "Constant": 2}, "1 node fewer"),
        ({"Conv": 3, "Constant": 4}, {"Conv": 2}, "5 nodes fewer (without Constants 1 node fewer)"),
        ({"Conv": 3, "Constant": 4}, {"Conv": 3}, "4 nodes fewer (without Constants as many nodes)"),
        ({"Conv": 3, "Constant": 2}, {"Conv": 5}, "as many nodes (without Constants 2 nodes more)"),
    ],
)
def test_nodes_that_no_runtime_runs_are_told_apart(before: dict[str, int], after: dict[str, int], told: str) -> None:
    assert headline((), (before, after), True) == f"no normalization, {told}, verified"


def test_what_is_left_in_part_is_told() -> None:
    line = headline([_record(Fate.ABSORBED), _record(Fate.PARTLY), _record(Fate.LEFT)], ({}, {}), None)
    assert line == "BatchNorm 3 -> 1 (1 partly), as many nodes, not verified"
