"""Tests that a model goes through `optimize(path, verify=True)` as the architecture page says, function by function."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from testing.builder import Builder

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "onnxnorm"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WAY = PAGE[PAGE.index("## The way of a model") :]
STEP = re.compile(r"`([\w/]+\.py)`: `(\w+)`")
# For files that are parsed in part, models that are verified in pieces, and verdicts that the runs leave open.
ONLY_SOMETIMES = {
    ("io/read.py", "read_model"),
    ("io/skip_weights.py", "skim"),
    ("verification/piecewise.py", "in_pieces"),
    ("verification/cuts.py", "borders_of"),
    ("verification/shaken_runs.py", "add_shaken"),
}


def steps(first: int, last: int) -> list[tuple[str, str]]:
    """Return the functions that the page names from one heading to another, each once, in order."""
    text = WAY[WAY.index(f"### {first}. ") : WAY.find(f"### {last + 1}. ")]
    return list(dict.fromkeys(STEP.findall(text)))


def plain(b: Builder) -> str:
    return b.node("Relu", b.batch_norm(b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3)), 4))


def not_plain(b: Builder) -> str:
    """The batch normalization stands behind a sum of two convolutions of one value: it moves, and they merge."""
    x = b.input((1, 3, 6, 6))
    total = b.node("Add", b.conv(x, 3, 4, (1, 1)), b.node("Relu", b.conv(x, 3, 4, (1, 1))))
    return b.node("Concat", b.batch_norm(total, 4), b.conv(x, 3, 4, (1, 1)), axis=1)


def called(path: Path) -> list[tuple[str, str]]:
    """Return the functions of the package that run, in the order of their first calls."""
    seen: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            file = Path(code.co_filename).relative_to(PACKAGE).as_posix()
            seen[file, code.co_name] = None

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        onnxnorm.optimize(path, verify=True)
    finally:
        sys.setprofile(before)
    return list(seen)


@pytest.mark.parametrize(
    ("build", "parts"),
    [pytest.param(plain, [(1, 2), (6, 6)], id="plain"), pytest.param(not_plain, [(1, 1), (3, 6)], id="by the passes")],
)
def test_functions_run_in_the_order_of_the_page(build: Any, parts: list[tuple[int, int]], tmp_path: Path) -> None:
    b = Builder(dtype=np.float32)
    onnx.save(b.model(build(b)), tmp_path / "model.onnx")
    named = [step for first, last in parts for step in steps(first, last)]
    ran = called(tmp_path / "model.onnx")
    assert [step for step in named if step not in ran and step not in ONLY_SOMETIMES] == []
    assert [step for step in ran if step in named] == [step for step in named if step in ran]
