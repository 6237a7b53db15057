"""Tests that the site builds without a warning, and that the Python of the recipes runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_without_a_warning(site: Path) -> None:
    pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    wanted = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page.replace("README", "index") for page in wanted} | {"index"} <= pages
    assert "Transform a model into a faster one" in (site / "reference.html").read_text(encoding="utf-8")
    assert '<html lang="zh-Hans"' in (site / "tutorial" / "normalization.zh.html").read_text(encoding="utf-8")
    assert "figures/across.svg" in (site / "tutorial" / "normalization.html").read_text(encoding="utf-8")


def test_every_page_has_a_place_in_the_navigation() -> None:
    """Reasons and decisions have pages that list them."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"([\w./-]+\.md)$", text[text.index("\nnav:") :], re.MULTILINE))
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for pattern in ("*.md", "tutorial/*.md") for path in docs.glob(pattern)}
    assert named == pages | {"index.md", "reasons/README.md", "decisions/README.md"}


def test_the_recipes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == page.count("```python") >= 6
    monkeypatch.chdir(tmp_path)
    # A rule that a recipe registers ends with the test.
    monkeypatch.setattr("onnxnorm.affine.rules._REGISTERED", {})
    names: dict[str, object] = {"__name__": "recipes"}
    for place, block in enumerate(blocks):
        exec(compile(block, f"recipe {place}", "exec"), names)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"model.onnx", "fast.onnx", "folded.onnx", "half.onnx", "page.html"} <= written
