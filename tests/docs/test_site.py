"""Tests that the site builds without a warning, and that the Python of the recipes runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(tmp_path).with_suffix("").as_posix() for path in tmp_path.rglob("*.html")}
    wanted = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page.replace("README", "index") for page in wanted} | {"index"} <= pages
    assert "Transform a model into a faster one" in (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert "figures/across.svg" in (tmp_path / "tutorial" / "normalization.html").read_text(encoding="utf-8")


def test_the_recipes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == page.count("```python") >= 6
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "recipes"}
    for place, block in enumerate(blocks):
        exec(compile(block, f"recipe {place}", "exec"), names)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"model.onnx", "fast.onnx", "folded.onnx", "half.onnx", "page.html"} <= written
