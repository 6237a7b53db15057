"""Tests of `onnxnorm report`, onnxnorm/cli/report.py."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import onnxnorm
from onnxnorm import cli
from tests.cli.samples import Captured, conv_bn_lrn
from tests.optimizer import test_guard, test_proved


def test_report_writes_a_page_and_prints_the_facts(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    page, overlay = tmp_path / "page.html", tmp_path / "fates.json"
    words = ["report", str(model_path), "-o", str(page), "--node-data", str(overlay), "--repeat", "2"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "normalizations: 2 -> 1 (1 absorbed, 1 written out)" in out
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


def test_a_bad_rewrite_is_left_out_as_optimize_does(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.onnx"
    onnx.save(test_proved._model(), path)
    test_proved._spoil(monkeypatch, "norm1")
    assert cli.main(["report", str(path), "-o", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "verification: passed" in out and "2 absorbed" in out
    (note,) = [line for line in out.splitlines() if line.startswith("note: ")]
    assert "norm1" in note


def test_a_pass_that_breaks_off_is_left_out_as_optimize_does(
    capsys: Captured, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXNORM_DEBUG", "0")
    test_guard._replace(monkeypatch, "clean", test_guard._break_off)
    assert cli.main(["report", str(model_path), "-o", str(tmp_path / "page.html"), "--no-verify"]) == 0
    out = capsys.readouterr().out
    assert "1 absorbed" in out and "note: the pass 'clean' failed" in out
    assert cli.main(["inspect", str(model_path)]) == 0
    assert "absorbed into Conv 'conv'" in capsys.readouterr().out


def test_report_without_a_comparison(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    assert cli.main(["report", str(model_path), "-o", str(tmp_path / "page.html"), "--no-verify"]) == 0
    assert "verification: not run" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_told_first(capsys: Captured, model_path: Path, tmp_path: Path) -> None:
    assert cli.main(["report", str(model_path), "-o", str(tmp_path / "missing" / "page.html")]) == 2
    assert "does not exist" in capsys.readouterr().err
