"""Each mistake of a user is one line that names the file, what it is, and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxnorm
from onnxnorm import cli
from onnxnorm.errors import OnnxNormError
from onnxnorm.passes.targets import TARGETS
from onnxnorm.validate.choices import TARGET_NAMES, closest, target_named

Captured = pytest.CaptureFixture[str]


def _model(operator: str = "Relu", domain: str = "", opset: int = 17) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, 1, [1, 3, 4, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], domain=domain)], "g", values[:1], values[1:])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


FILES = {
    "small.pt": (b"PK\x03\x04" + bytes(60), "PyTorch checkpoint", "onnxnorm export"),
    "old.pth": (b"\x80\x02}q" + bytes(60), "Python pickle", "onnxnorm export"),
    "pointer.onnx": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
    "page.onnx": (b"\n<!DOCTYPE html><html>", "web page", "fetch the model itself"),
    "packed.onnx": (gzip.compress(bytes(99)), "compressed by gzip", "unpack"),
    "lite.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite", "tf2onnx"),
}


@pytest.mark.parametrize("command", ["optimize", "inspect", "run"])
@pytest.mark.parametrize("name", FILES)
def test_files_of_other_kinds_are_told(name: str, command: str, tmp_path: Path, capsys: Captured) -> None:
    data, what, remedy = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    assert cli.main([command, str(path), *([str(tmp_path / "out.onnx")] if command == "optimize" else [])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line and what in line and remedy in line
    assert not (tmp_path / "out.onnx").exists()


def test_files_of_arrays_that_are_others(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_model(), path)
    np.save(tmp_path / "x.npy", np.zeros(3, np.float32))
    assert cli.main(["run", str(path), "--inputs", str(tmp_path / "x.npy")]) == 2
    assert "holds one array, without a name; give it with --input name:" in capsys.readouterr().err
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    assert cli.main(["run", str(path), "--input", f"x:{tmp_path / 'cat.png'}"]) == 2
    error = capsys.readouterr().err
    assert "is no .npy file but a PNG picture" in error and "pickle" not in error


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_model(opset=40), "is written in opset 40, and onnxruntime"),
        (_model("Fancy", "com.acme"), "has no operator com.acme::Fancy"),
    ],
)
def test_what_onnxruntime_cannot_run_is_said_in_a_sentence(
    model: onnx.ModelProto, says: str, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    for words in (["run", str(path)], ["optimize", str(path), str(tmp_path / "out.onnx")]):
        assert cli.main(words) != 0
        error = capsys.readouterr().err
        assert says in error and "onnxruntime_src" not in error
    with pytest.raises(OnnxNormError, match=says):
        onnxnorm.session(path)


@pytest.mark.parametrize(
    ("words", "meant", "helps"),
    [
        (["optimise", "a", "b"], "'optimize'", "onnxnorm --help"),
        (["optimize", "a", "b", "--verfy"], "'--verify'", "onnxnorm optimize --help"),
        (["optimize", "a", "b", "--target", "openvina"], "'openvino'", ""),
        (["optimize", "a", "b", "--passes", "fold_afines"], "'fold_affines'", ""),
    ],
)
def test_what_was_meant_is_asked(
    words: list[str], meant: str, helps: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(_model(), "a")
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert f"did you mean {meant}?" in error and helps in error


def test_targets_have_their_usual_short_names() -> None:
    assert tuple(TARGETS) == TARGET_NAMES
    assert target_named("ort") == "onnxruntime" and target_named("TensorRT") == "tensorrt"
    assert closest("zebra", TARGET_NAMES) == ""
    with pytest.raises(OnnxNormError, match="there is no target 'cpu'; there are: portable"):
        onnxnorm.optimize(_model(), target="cpu", verify=False)
    assert (
        onnxnorm.optimize(_model(), target="ort", verify=False).model
        == onnxnorm.optimize(_model(), target="onnxruntime", verify=False).model
    )
