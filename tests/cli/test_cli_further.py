"""Tests of `optimize --dry-run`, `--diff` and `--bench`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from onnxnorm import cli
from tests.cli.samples import Captured, fails


def _document(capsys: Captured, *words: object) -> dict[str, object]:
    capsys.readouterr()
    assert cli.main(["optimize", *map(str, words), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_dry_run_tells_all_and_writes_nothing(model_path: Path, capsys: Captured) -> None:
    output, before = model_path.with_name("out.onnx"), sorted(model_path.parent.iterdir())
    dry = _document(capsys, model_path, output, "--dry-run")
    assert sorted(model_path.parent.iterdir()) == before
    assert dry.pop("output") == f"{output} (not written)"
    wet = _document(capsys, model_path, output)
    assert output.exists()
    assert wet.pop("output") == str(output)
    for each in (dry, wet):
        # Figures of a run.
        each.pop("verification")
    assert dry == wet
    assert cli.main(["optimize", str(model_path), "/nosuch/folder/out.onnx", "--dry-run"]) == 0
    assert "not written" in capsys.readouterr().out


def test_the_difference_names_every_node_and_why(model_path: Path, capsys: Captured) -> None:
    output = model_path.with_name("out.onnx")
    found = _document(capsys, model_path, output, "--diff", "--target", "onnxruntime")["diff"]
    assert isinstance(found, list)
    by_node = {each["node"]: each for each in found}
    assert by_node["bn"]["change"] == "gone"
    assert "absorbed into Conv" in by_node["bn"]["why"]
    assert by_node["conv"]["change"] == "changed"
    assert "constants" in by_node["conv"]["why"] and "took up BatchNormalization 'bn'" in by_node["conv"]["why"]
    assert "relu" not in by_node
    # Nothing more is done to the result.
    again = _document(capsys, output, output, "--diff", "--target", "onnxruntime")
    assert again["diff"] == []


def test_the_latency_of_both_is_measured(model_path: Path, capsys: Captured) -> None:
    output = model_path.with_name("out.onnx")
    words = (model_path, output, "--bench", "--dry-run", "--no-verify")
    assert "(2, 3, 9, 8)" in fails(capsys, 2, "optimize", *words, "--shape", "2,3,9,8")
    found = _document(capsys, *words, "--shape", "2,3,8,8")["latency"]
    assert isinstance(found, dict)
    assert found["before_ms"] > 0 and found["after_ms"] > 0 and found["runs"] > 10
    assert cli.main(["optimize", str(model_path), str(output), "--bench", "--diff"]) == 0
    shown = capsys.readouterr().out
    (ratio,) = re.findall(r", ([\d.]+) times as fast", shown)
    assert shown.splitlines()[0].endswith(f"verified, {ratio}x")
    assert "gone" in shown


@pytest.mark.parametrize("option", ["--dry-run", "--diff", "--bench"])
def test_they_take_one_model(option: str, model_path: Path, capsys: Captured) -> None:
    assert "one model at a time" in fails(capsys, 2, "optimize", model_path.parent, model_path.parent / "out", option)
