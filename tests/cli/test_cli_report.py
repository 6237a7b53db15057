"""Tests of `onnxnorm report`, onnxnorm/cli/report.py."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

import onnxnorm
from onnxnorm import cli
from tests.cli.samples import Captured, conv_bn_lrn


def test_report_writes_a_page_and_prints_the_facts(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    page, overlay = tmp_path / "page.html", tmp_path / "fates.json"
    words = ["report", str(model_path), "-o", str(page), "--node-data", str(overlay), "--repeat", "2"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "normalizations: 2 (1 absorbed, 1 written out)" in out
    assert "verification: passed" in out and "latency: " in out
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and '"layers":[[' in text
    assert json.loads(overlay.read_text())["conv_bn_lrn"]["results"]["bn"]["value"] == "absorbed"


def test_report_of_two_models_that_differ_fails(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    other, page = tmp_path / "other.onnx", tmp_path / "page.html"
    onnx.save(conv_bn_lrn(bias=3.0), other)
    assert cli.main(["report", str(model_path), str(other), "-o", str(page)]) == 1
    assert "verification: failed" in capsys.readouterr().out and page.exists()
    onnxnorm.fold(model_path).save(other)
    assert cli.main(["report", str(model_path), str(other), "-o", str(page)]) == 0


def test_report_without_a_comparison(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    assert cli.main(["report", str(model_path), "-o", str(tmp_path / "page.html"), "--no-verify"]) == 0
    assert "verification: not run" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_told_first(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    assert cli.main(["report", str(model_path), "-o", str(tmp_path / "missing" / "page.html")]) == 2
    assert "does not exist" in capsys.readouterr().err
