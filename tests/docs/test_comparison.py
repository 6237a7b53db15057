"""Tests of the tables that compare normalizations: both languages agree, and costs are those that the benches wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
ENGLISH, CHINESE = DOCS / "comparison.md", DOCS / "tutorial" / "comparison.zh.md"
LRN, NORMS = DOCS / "benchmarks.md", DOCS.parent / "custom_ops" / "README.md"
# The costs in the order of the tables, as multiples of a copy: page, how the row begins, and the column.
COSTS = [
    (LRN, ["inter 5", "8x64x112x112"], "onnxnorm, copies"),
    (LRN, ["intra 5", "8x64x112x112"], "onnxnorm, copies"),
    (NORMS, ["channel layer", "1x256x128x128"], "onnxnorm, copies"),
    (NORMS, ["layer over C,H,W", "1x256x128x128"], "onnxnorm, copies"),
    (NORMS, ["group 32", "1x256x128x128"], "onnxnorm, copies"),
    (NORMS, ["instance", "1x256x128x128"], "onnxnorm, copies"),
    (NORMS, ["channel RMS", "1x256x128x128"], "onnxnorm, copies"),
    (NORMS, ["global response", "1x256x128x128"], "onnxnorm, copies"),
]


def rows(page: Path) -> list[list[str]]:
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def measured(page: Path, begin: list[str], column: str) -> float:
    """Return the first figure of a cell, which is that of one thread."""
    heads = [row for row in rows(page) if column in row]
    (row,) = [row for row in rows(page) if row[: len(begin)] == begin]
    return float(row[heads[0].index(column)].split(",")[0])


def test_both_languages_have_the_same_tables() -> None:
    assert [len(row) for row in rows(ENGLISH)] == [len(row) for row in rows(CHINESE)]


def test_costs_are_those_that_were_measured() -> None:
    wanted = [measured(*cost) for cost in COSTS]
    for page, head in ((ENGLISH, "cost, one thread"), (CHINESE, "单线程开销")):
        told = " ".join(" ".join(row[1:]) for row in rows(page) if row[0] == head)
        # A later run of a bench moves a figure a little.
        assert [float(each) for each in re.findall(r"\d\.\d", told)] == pytest.approx(wanted, rel=0.25)
