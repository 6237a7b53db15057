"""Tests of the gallery: a card and a page for each model, ours and the light ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from models import MODELS
from models.gallery import LIGHT, main


def test_the_gallery_has_a_card_and_a_page_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["per-activation"]
    assert main(["--out", str(tmp_path), "--only", *names]) == 0
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<a href="([\w-]+)\.html">', page) == names
    assert "normalizations: " in page and MODELS["per-activation"].summary in page
    for name in names:
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert text.startswith("<!doctype html>") and len(text) < 2_000_000
    assert len(LIGHT) == 9 and "1 pages" in capsys.readouterr().out
