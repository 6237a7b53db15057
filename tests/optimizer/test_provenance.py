"""Tests of what the metadata of a result say of how it was made, and that a switch leaves it out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxnorm
from onnxnorm import cli
from testing.builder import Builder


def _model(*, plain: bool) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    y = b.batch_norm(b.conv(b.input((2, 3, 6, 6)), 3, 4, (3, 3)), 4)
    model = b.model(y if plain else b.node("Sigmoid", b.node("Mul", y, b.constant(np.full(1, 0.5)))))
    model.metadata_props.add(key="author", value="me")
    return model


def _told(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


@pytest.mark.parametrize("plain", [True, False], ids=["by the fast path", "by the passes"])
@pytest.mark.parametrize("form", ["path", "proto", "ir"])
def test_a_result_says_what_made_it(form: str, plain: bool, tmp_path: Path) -> None:
    model = _model(plain=plain)
    before = model.SerializeToString(deterministic=True)
    onnx.save(model, tmp_path / "in.onnx")
    given = {"path": tmp_path / "in.onnx", "proto": model, "ir": ir.from_proto(model)}[form]
    result = onnxnorm.optimize(given, target="ort")  # type: ignore[call-overload]
    result.save(tmp_path / "out.onnx")
    told = _told(onnx.load(tmp_path / "out.onnx"))
    assert told.pop("author") == "me"
    assert result.report is not None
    worst = max(output.error_result for output in result.report.outputs)
    assert told == {
        "onnxnorm.version": onnxnorm.__version__,
        "onnxnorm.passes": "default",
        "onnxnorm.target": "onnxruntime" if not plain else told["onnxnorm.target"],
        "onnxnorm.verified": "yes",
        "onnxnorm.error": f"{worst:.3g}",
        "onnxnorm.error_of_original": told["onnxnorm.error_of_original"],
    }
    assert model.SerializeToString(deterministic=True) == before
    # Another result says what made that one.
    again = onnxnorm.optimize(tmp_path / "out.onnx", passes=["clean"], verify=False)
    assert {key: value for key, value in _told(again.model).items() if key.startswith("onnxnorm")} == {
        "onnxnorm.version": onnxnorm.__version__,
        "onnxnorm.passes": "clean",
        "onnxnorm.target": "portable",
        "onnxnorm.verified": "no",
    }
    for call in (onnxnorm.optimize, onnxnorm.fold):
        assert _told(call(model, provenance=False, verify=False).model) == {"author": "me"}


def test_the_command_line_writes_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for plain in (True, False):
        onnx.save(_model(plain=plain), tmp_path / "in.onnx")
        words = ["optimize", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx")]
        assert cli.main(words) == 0
        assert _told(onnx.load(tmp_path / "out.onnx"))["onnxnorm.verified"] == "yes"
        capsys.readouterr()
        assert cli.main(["inspect", str(tmp_path / "out.onnx")]) == 0
        assert "made by onnxnorm: version" in capsys.readouterr().out
        assert cli.main(["inspect", str(tmp_path / "out.onnx"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["provenance"]["passes"] == "default"
        assert cli.main([*words, "--no-provenance"]) == 0
        assert _told(onnx.load(tmp_path / "out.onnx")) == {"author": "me"}
        capsys.readouterr()
        assert cli.main(["inspect", str(tmp_path / "out.onnx")]) == 0
        assert "made by" not in capsys.readouterr().out
