"""Tests of the tutorial: its code runs as it stands there and draws its figures, and both languages agree."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "tutorial"
ENGLISH = (FOLDER / "normalization.md").read_text(encoding="utf-8")
CHINESE = (FOLDER / "normalization.zh.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawing() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "draw.py"))


@pytest.fixture(scope="module")
def variables(drawing: dict[str, Any]) -> dict[str, Any]:
    return drawing["variables_of"](ENGLISH)


def code(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_the_code_runs_and_what_it_asserts_is_true(variables: dict[str, Any]) -> None:
    assert len(code(ENGLISH)) >= 14
    assert all("assert" in block or "def " in block or "import" in block for block in code(ENGLISH))
    assert variables["ratio"]["without"] > variables["ratio"]["with batch norm"] > 0


def test_both_languages_have_the_same_code_and_figures() -> None:
    def bare(blocks: list[str]) -> list[str]:
        # Comments are in the language of the page.
        return [re.sub(r"\s*#.*", "", block) for block in blocks]

    assert bare(code(CHINESE)) == bare(code(ENGLISH))
    figures = [re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page) for page in (ENGLISH, CHINESE)]
    assert figures[0] == figures[1]
    headings = [len(re.findall(r"^## ", page, re.MULTILINE)) for page in (ENGLISH, CHINESE)]
    assert headings[0] == headings[1]


def test_every_figure_is_one_that_the_code_draws(drawing: dict[str, Any], variables: dict[str, Any]) -> None:
    named = set(re.findall(r"\(figures/(\w+)\.svg\)", ENGLISH))
    assert named == set(drawing["FIGURES"]) == {path.stem for path in (FOLDER / "figures").glob("*.svg")}
    for name, draw in drawing["FIGURES"].items():
        text = draw(variables)
        assert text.startswith("<svg") and text.count("<") > 20, name
        if name != "shift":  # the trained weights differ in their last digits from machine to machine
            assert (FOLDER / "figures" / f"{name}.svg").read_text(encoding="utf-8") == text, "run docs/tutorial/draw.py"
