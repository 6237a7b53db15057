"""Tests of onnxnorm/cli/rewrites.py: what was done in one way is one line, whatever the operators and names."""

from __future__ import annotations

from onnxnorm.cli.rewrites import rewrite_table
from onnxnorm.journal import Rewrite
from onnxnorm.journal.words import say


def _cells(rewrites: list[Rewrite], *, list_all: bool = False) -> list[tuple[str, ...]]:
    return list(rewrite_table(rewrites, list_all=list_all).rows)


def test_one_way_is_one_line_for_all_operators() -> None:
    operators = ["Shape", "Gather", "Cast", "Cast", "Mul", "Add"]
    done = [Rewrite("simplify", f"n{n}", op_type, "reads extents") for n, op_type in enumerate(operators)]
    assert _cells(done) == [("reads extents", "simplify", "6", "Cast 2, Shape 1, Gather 1 and 2 more", "n0")]
    assert _cells(done[2:4]) == [("reads extents", "simplify", "2", "Cast", "n2")]


def test_names_are_told_of_one_node_alone() -> None:
    done = [Rewrite("fold", f"n{n}", "Mul", say("absorbed into {}", say(f"Conv 'c{n}'"))) for n in range(2)]
    assert _cells(done[:1]) == [("absorbed into Conv 'c0'", "fold", "1", "Mul", "n0")]


def test_the_most_frequent_ways_come_first_and_the_others_are_counted() -> None:
    ways = [("a", 1), ("b", 3), ("c", 1), ("d", 2), ("e", 1), ("f", 1)]
    done = [Rewrite("p", f"{way}{n}", "Add", way) for way, count in ways for n in range(count)]
    told = _cells(done)
    assert [(row[0], row[2]) for row in told[:4]] == [("b", "3"), ("d", "2"), ("a", "1"), ("c", "1")]
    assert told[4] == ("2 further ways; --all lists them", "p", "2", "Add", "e0")
    for rows in (told, _cells(done, list_all=True)):
        assert sum(int(row[2]) for row in rows) == len(done)
    assert len(_cells(done, list_all=True)) == len(ways)
    assert [row[0] for row in _cells(done[:-1])] == ["b", "d", "a", "c", "e"], "one more is told as it is"
