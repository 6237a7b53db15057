"""Tests of `onnxnorm run` on pictures and folders, of the favoured classes and of execution providers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnorm import cli
from tests.cli.samples import Captured, fails


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models of the mean of each channel, for both layouts, to stand in."""
    for name, shape, axes in (("nchw", ["N", 3, 8, 10], [2, 3]), ("nhwc", ["N", 8, 10, 3], [1, 2])):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
        nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=0)]
        model = helper.make_model(
            helper.make_graph(nodes, name, [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )
        onnx.save(model, tmp_path / f"{name}.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _picture(path: Path, colour: tuple[int, int, int]) -> Path:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (40, 30), colour).save(path)
    return path


def _run(capsys: Captured, *words: object) -> dict[str, object]:
    assert cli.main(["run", *map(str, words), "--json", "--repeat", "1"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_picture_is_prepared_as_imagenet_has_it(layout: str, folder: Path, capsys: Captured) -> None:
    path = _picture(folder / "a.png", (255, 128, 0))
    assert cli.main(
        ["run", f"{layout}.onnx", "--input", f"x:{path}", "--preprocess", "imagenet", "--output", "y.npz"]
    ) == 0  # fmt: skip
    (found,) = np.load("y.npz")["y"]
    wanted = (np.array([255, 128, 0]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_favoured_classes_are_told_with_their_names(folder: Path, capsys: Captured) -> None:
    np.save("x.npy", np.stack([np.full((8, 10), each, np.float32) for each in (1, 3, 2)])[None])
    Path("names.txt").write_text("red\ngreen\nblue\n")
    found = _run(capsys, "nchw.onnx", "--input", "x:x.npy", "--top", 2, "--labels", "names.txt")["favoured"]
    assert found == [{"output": "y", "classes": [1, 2], "scores": [3.0, 2.0], "labels": ["green", "blue"]}]
    assert cli.main(["run", "nchw.onnx", "--input", "x:x.npy", "--top", "1"]) == 0
    assert "y: 1 3" in capsys.readouterr().out


def test_a_folder_runs_file_by_file(folder: Path, capsys: Captured) -> None:
    (folder / "many").mkdir()
    for number in range(3):
        x = np.zeros((1, 3, 8, 10), np.float32)
        x[:, number] = 1
        np.save(folder / "many" / f"{number}.npy", x)
    (folder / "many" / "notes.txt").write_text("none of them")
    files = _run(capsys, "nchw.onnx", "--input", "x:many", "--top", 1)["files"]
    assert isinstance(files, list)
    assert [each["favoured"][0]["classes"] for each in files] == [[0], [1], [2]]
    (folder / "none").mkdir()
    assert "holds no picture" in fails(capsys, 2, "run", "nchw.onnx", "--input", "x:none")


def test_a_folder_of_pictures(folder: Path, capsys: Captured) -> None:
    (folder / "many").mkdir()
    _picture(folder / "many" / "a.png", (255, 0, 0))
    _picture(folder / "many" / "b.jpg", (0, 255, 0))
    files = _run(capsys, "nchw.onnx", "--input", "x:many", "--preprocess", "unit")["files"]
    assert isinstance(files, list)
    assert [each["favoured"][0]["classes"][0] for each in files] == [0, 1]


def test_mistakes_with_pictures_say_what_to_do(folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    assert "--preprocess imagenet reads pictures" in fails(capsys, 2, "run", "nchw.onnx", "--input", "x:cat.png")
    assert "imagenet" in fails(capsys, 2, "run", "nchw.onnx", "--preprocess", "imagnet")
    monkeypatch.setitem(sys.modules, "PIL", None)
    words = ("run", "nchw.onnx", "--input", "x:cat.png", "--preprocess", "imagenet")
    assert 'pip install "onnxnorm[pictures]"' in fails(capsys, 2, *words)


def test_a_file_that_is_no_picture_is_told(folder: Path, capsys: Captured) -> None:
    pytest.importorskip("PIL")
    Path("cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    words = ("run", "nchw.onnx", "--input", "x:cat.png", "--preprocess", "imagenet")
    assert "cannot be read as a picture" in fails(capsys, 2, *words)


def test_a_provider_is_one_that_is_there(folder: Path, capsys: Captured) -> None:
    assert _run(capsys, "nchw.onnx", "--provider", "cpu")["repeat"] == 1
    assert _run(capsys, "nchw.onnx", "--provider", "CPUExecutionProvider")["repeat"] == 1
    message = fails(capsys, 2, "run", "nchw.onnx", "--provider", "abacus")
    assert "'abacus'" in message and "cpu" in message
