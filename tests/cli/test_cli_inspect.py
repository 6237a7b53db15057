"""Tests of `onnxnorm inspect`, onnxnorm/cli/inspect.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm import cli
from testing.builder import Builder
from tests.cli.samples import Captured


def test_inspect_prints_a_line_for_each_normalization(capsys: Captured, model_path: Path) -> None:
    assert cli.main(["inspect", str(model_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 normalizations, of which optimize leaves 1: 1 absorbed, 1 written out"
    assert [line.split()[0] for line in lines[2:]] == ["node", "bn", "lrn"]
    assert "absorbed" in lines[3] and "written out" in lines[4]


def test_inspect_as_json_is_only_json(capsys: Captured, model_path: Path) -> None:
    assert cli.main(["inspect", str(model_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == str(model_path)
    records = onnxnorm.inspect(model_path)
    assert [record["node"] for record in document["normalizations"]] == [record.node for record in records]
    assert document["normalizations"][0]["shape"] == ["N", 4, 8, 8]


def test_inspect_of_a_model_without_any(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    assert cli.main(["inspect", str(path)]) == 0
    assert "no normalization" in capsys.readouterr().out


def test_inspect_says_what_is_merged(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "branches.onnx"
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
    <float[2, 2, 1, 1] w = {1, 2, 3, 4}> {
        [a] a = Conv (x, w)
        [b] b = Conv (x, w)
        c = Add (a, b)
        y = Add (c, x)
    }"""
    onnx.save(onnx.parser.parse_model(text), path)
    assert cli.main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["3 branches merged into Conv 'a'"]
    assert cli.main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["merges"] == ["3 branches merged into Conv 'a'"]


def test_inspect_of_a_folder_is_a_line_for_each_model(capsys: Captured, model_path: Path) -> None:
    folder = model_path.parent
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    (folder / "deeper").mkdir()
    onnx.save(onnx.parser.parse_model(text), folder / "deeper" / "relu.onnx")
    assert cli.main(["inspect", str(folder)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["model", "normalizations", "fate"]
    assert lines[1][1:] == ["none"]
    assert " ".join(lines[2][1:]) == "1 BatchNormalization, 1 LRN (inter-channel) 1 absorbed, 1 written out"


def test_inspect_of_several_models_goes_on_after_one_that_is_none(
    capsys: Captured, model_path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "a_broken.onnx"
    broken.write_bytes(b"no model")
    assert cli.main(["inspect", str(broken), str(model_path), "--json"]) == 2
    first, second = json.loads(capsys.readouterr().out)["models"]
    assert first["model"] == str(broken)
    assert "a_broken.onnx" in first["error"]
    assert [record["kind"] for record in second["normalizations"]] == ["BatchNormalization", "LRN (inter-channel)"]


def test_inspect_of_a_folder_without_models(capsys: Captured, tmp_path: Path) -> None:
    assert cli.main(["inspect", str(tmp_path)]) == 2
    assert "no model (*.onnx)" in capsys.readouterr().err


def _several(path: Path) -> Path:
    b = Builder(dtype=np.float32)
    x = b.input(("N", 3, "H", "W"))
    for name in ("a", "b", "c"):
        x = b.node("Sigmoid", b.batch_norm(x, 3, name=name))
    onnx.save(b.model(x), path)
    return path


def test_identical_reasons_are_one_line(capsys: Captured, tmp_path: Path) -> None:
    path = str(_several(tmp_path / "m.onnx"))
    assert cli.main(["inspect", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "Sigmoid" in line]) <= 2
    assert "--all lists them one by one" in lines
    assert cli.main(["inspect", path, "--all"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[3:6]] == ["a", "b", "c"]


def test_one_node_is_told_in_full(capsys: Captured, tmp_path: Path) -> None:
    path = str(_several(tmp_path / "m.onnx"))
    assert cli.main(["inspect", path, "--node", "b"]) == 0
    told = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert told["node"].strip() == "b" and told["fate"].strip() == "left"
    code = told["code"].split()[0]
    assert f"`onnxnorm reasons {code}`" in told["code"] and "Sigmoid" in told["in the way"] and told["advice"].strip()
    assert cli.main(["reasons", code]) == 0
    capsys.readouterr()
    assert cli.main(["inspect", path, "--node", "bb"]) == 2
    assert "no normalization is called 'bb'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("condition", "code"),
    [("left>0", 1), ("left > 3", 0), ("absorbed>=1", 0), ("after==3", 1), ("written_out!=0", 0), ("operator>0", 1)],
)
def test_a_condition_fails_a_pipeline(capsys: Captured, tmp_path: Path, condition: str, code: int) -> None:
    path = str(_several(tmp_path / "m.onnx"))
    assert cli.main(["inspect", path, "--fail-if", condition]) == code
    assert bool(capsys.readouterr().err) == bool(code)
    assert cli.main(["inspect", path, path, "--fail-if", condition]) == code


@pytest.mark.parametrize(("condition", "told"), [("left", "no condition"), ("lefd>0", "did you mean 'left'")])
def test_a_condition_that_is_none_is_refused(capsys: Captured, tmp_path: Path, condition: str, told: str) -> None:
    assert cli.main(["inspect", str(tmp_path), "--fail-if", condition]) == 2
    assert told in capsys.readouterr().err


def test_inspect_takes_the_choices_of_optimize(capsys: Captured, model_path: Path) -> None:
    def fates(*options: str) -> dict[str, str]:
        assert cli.main(["inspect", str(model_path), "--json", *options]) == 0
        records = json.loads(capsys.readouterr().out)["normalizations"]
        return {record["node"]: record["fate"] for record in records}

    assert fates() == {"bn": "absorbed", "lrn": "written out"}
    assert fates("--target", "onnxruntime") == {"bn": "absorbed", "lrn": "accelerated"}
    assert fates("--keep", "bn") == {"bn": "left", "lrn": "written out"}
    assert fates("--opset", "18", "--freeze-inputs") == {"bn": "absorbed", "lrn": "written out"}
