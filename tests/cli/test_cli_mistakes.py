"""Each mistake of a user is one line that names the file, what it is, and what to do."""

from __future__ import annotations

import bz2
import gzip
import lzma
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
from testing.builder import Builder

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
    "newer.pth": (b"\x80\x04\x95" + bytes(60), "Python pickle", "onnxnorm export"),
    "net.safetensors": (b"\x0a" + bytes(7) + b'{"a": {}} ' + bytes(20), "safetensors file", "onnxnorm export"),
    "weights.gguf": (b"GGUF\x03\x00\x00\x00" + bytes(40), "GGUF file", "fetch the model"),
    "packed.xz": (lzma.compress(bytes(99)), "compressed by xz", "unpack"),
    "packed.bz2": (bz2.compress(bytes(99)), "compressed by bzip2", "unpack"),
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


def _mistaken(folder: Path) -> None:
    """Write all that the mistakes below are about."""
    model = _model()
    onnx.save(model, folder / "m.onnx")
    data = (folder / "m.onnx").read_bytes()
    for name, text in {
        "empty.onnx": b"",
        "cut.onnx": data[: len(data) // 2],
        "text.onnx": b"no model at all, but a text\n",
        "text2.onnx": b'< ir_version: 8, opset_import: ["": 17] >',
        "lib.so": b"no library",
        "text.npy": b"1,2,3\n",
        "empty.npz": b"",
        "bad.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    }.items():
        (folder / name).write_bytes(text)
    weighted = onnx.ModelProto.FromString(data)
    weighted.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(300, np.float32), "w"))
    onnx.save(weighted, folder / "apart.onnx", save_as_external_data=True, location="apart.data", size_threshold=0)
    (folder / "apart.data").unlink()
    (folder / "folder").mkdir()
    np.save(folder / "x.npy", np.zeros((1, 3, 4, 4), np.float32))
    np.save(folder / "channels.npy", np.zeros((1, 9, 4, 4), np.float32))
    np.save(folder / "bools.npy", np.zeros((1, 3, 4, 4), bool))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "named_y.npz", y=np.zeros((1, 3, 4, 4), np.float32))


# What is typed, the exit code, and what the one line says.
MISTAKES: dict[str, tuple[int, tuple[str, ...]]] = {
    "optimize n.onnx out.onnx": (2, ("n.onnx: cannot read the model", "did you mean 'm.onnx'?")),
    "run nowhere/m.onnx": (2, ("nowhere/m.onnx: cannot read the model", "there is no folder 'nowhere'")),
    "verify folder m.onnx": (2, ("folder: is not a regular file",)),
    "optimize empty.onnx out.onnx": (2, ("empty.onnx: this is no ONNX model, it is empty",)),
    "run empty.onnx": (2, ("empty.onnx: this is no ONNX model, it is empty",)),
    "inspect cut.onnx": (2, ("cut.onnx: this is no ONNX model, or only a part of one", "fetch or export it again")),
    "inspect text.onnx": (2, ("text.onnx: is no ONNX model but plain text",)),
    "inspect text2.onnx": (2, ("text2.onnx: is no ONNX model but a model in ONNX's text form", "onnx.load")),
    "optimize apart.onnx out.onnx": (2, ("apart.onnx", "'apart.data' is missing", "beside the model")),
    "optimize m.onnx folder": (2, ("folder: is a folder; name the file to write",)),
    "optimize m.onnx nowhere/out.onnx": (2, ("the folder 'nowhere' does not exist; make it first",)),
    "optimize m.onnx /proc/out.onnx": (2, ("/proc/out.onnx: the folder '/proc' cannot be written to",)),
    "run m.onnx --output /proc/out.npz": (2, ("/proc/out.npz: the folder '/proc' cannot be written to",)),
    "optimize m.onnx out.onnx --input x:channels.npy": (2, ("m.onnx: input 'x' has the shape (1, 3, 4, 4)",)),
    "optimize m.onnx out.onnx --input x:bools.npy": (2, ("m.onnx: input 'x' takes float32, not bool",)),
    "optimize m.onnx out.onnx --input y:x.npy": (2, ("m.onnx: --input y:x.npy", "one of the model's inputs, 'x'")),
    "optimize m.onnx out.onnx --shape 1,9,4,4": (2, ("m.onnx: input 'x' has the shape (1, 3, 4, 4)",)),
    "run m.onnx --input x:objects.npy": (2, ("objects.npy: holds Python objects",)),
    "run m.onnx --input x:text.npy": (2, ("text.npy: is no .npy file but plain text; numpy.save writes one",)),
    "run m.onnx --input x:xx.npy": (2, ("xx.npy: cannot be read", "did you mean 'x.npy'?")),
    "run m.onnx --inputs empty.npz": (2, ("empty.npz: is no .npz file, or only a part of one",)),
    "run m.onnx --inputs named_y.npz": (2, ("the model has no input 'y', its inputs are 'x'",)),
    "run m.onnx --labels text.onnx": (2, ("--labels names the classes that --top N tells",)),
    "run m.onnx --custom-ops-library lib.so": (2, ("lib.so: is no library of custom operators: Failed to load",)),
    "optimize m.onnx out.onnx --passes ,": (2, ("--passes names no pass; --list-passes lists them",)),
    "optimize m.onnx out.onnx --keep nope": (2, ("m.onnx: no node is called 'nope'",)),
    "fold m.onnx out.onnx --target web": (2, ("unrecognized arguments: --target web", "an option of optimize")),
    "export m:f out.onnx --provider cpu": (2, ("unrecognized arguments: --provider cpu", "an option of profile, run")),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_with_the_file_and_what_to_do(
    words: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _mistaken(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    code, says = MISTAKES[words]
    assert cli.main(words.split()) == code
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert not captured.out and line.startswith("onnxnorm: error: ")
    assert all(text in line for text in says), line
    assert not any(text in line for text in ("pickle", "Errno", "ONNXRuntimeError", "=False", "Traceback")), line
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_what_cannot_be_proved_for_a_profile_names_the_option(tmp_path: Path, capsys: Captured) -> None:
    onnx.save(_model("Fancy", "com.acme"), tmp_path / "m.onnx")
    assert cli.main(["profile", str(tmp_path / "m.onnx")]) == 1
    error = capsys.readouterr().err
    assert "--no-verify profiles the optimized copy unproved" in error and "verify=False" not in error


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "linked.onnx"
    path.symlink_to("gone.onnx")
    for command in ("inspect", "run"):
        assert cli.main([command, str(path)]) == 2
        error = capsys.readouterr().err
        assert "is a link to 'gone.onnx', which is not there" in error and "did you mean" not in error


@pytest.mark.parametrize("words", [["profile", "--alone"], ["run"], ["optimize", "--bench", "--no-verify"]])
def test_inputs_that_cannot_be_made_up_are_told_with_the_file(
    words: list[str], tmp_path: Path, capsys: Captured
) -> None:
    model = _model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    path = tmp_path / "ranks.onnx"
    onnx.save(model, path)
    command, *options = words
    output = [str(tmp_path / "out.onnx")] if command == "optimize" else []
    assert cli.main([command, str(path), *output, *options]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and "input 'x' has no rank in the model; give its shape (--shape" in error


def test_a_page_that_cannot_be_proved_says_how_to_do_without(tmp_path: Path, capsys: Captured) -> None:
    path, page = tmp_path / "fancy.onnx", tmp_path / "page.html"
    model = _model()
    model.graph.node.append(model.graph.node[0])
    model.graph.node[0].output[0], model.graph.node[1].input[0] = "between", "between"
    for node in model.graph.node:
        node.name = "both"
    onnx.save(model, path)
    assert cli.main(["report", str(path), "-o", str(page)]) == 1
    assert "--no-verify makes the page without comparing anything" in capsys.readouterr().err and not page.exists()
    assert cli.main(["report", str(path), "-o", str(page), "--no-verify"]) == 0 and page.exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_page_of_weights_that_are_no_numbers(number: float, tmp_path: Path) -> None:
    b = Builder(dtype=np.float32)
    weight = b.normal(4, 3, 3, 3)
    weight[1, 0, 0, 0] = number
    x = b.node("Conv", b.input((1, 3, 6, 6)), b.constant(weight), name="conv")
    path, page = tmp_path / "m.onnx", tmp_path / "page.html"
    onnx.save(b.model(b.node("Sigmoid", b.batch_norm(x, 4))), path)
    assert cli.main(["report", str(path), "-o", str(page), "--no-verify"]) == 0
    assert page.stat().st_size > 10_000


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("option", ["--bench", "--diff"])
def test_the_original_is_measured_although_the_result_takes_its_place(
    option: str, large: bool, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is mapped, and gone when the result is there: that is refused before the work."""
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3), name="conv")
    path = tmp_path / "m.onnx"
    onnx.save(b.model(b.node("Sigmoid", b.batch_norm(x, 4, name="norm"))), path)
    before = path.read_bytes()
    monkeypatch.setattr("onnxnorm.io.model_source._LARGEST", 10 if large else 10**6)
    code = cli.main(["optimize", str(path), str(path), "--no-verify", option])
    told = capsys.readouterr()
    if large:
        assert code == 2 and path.read_bytes() == before
        assert f"{option}: the result takes the place of" in told.err and "name another file" in told.err
    else:
        assert code == 0 and path.read_bytes() != before
        assert ("times as fast" if option == "--bench" else "norm") in told.out


def test_a_dash_is_no_stream(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(_model(), "m.onnx")
    for words in (["inspect", "-"], ["run", "-"], ["optimize", "-", "out.onnx"]):
        assert cli.main(words) == 2
        assert "'-' means a file of that name" in capsys.readouterr().err
    for words in (["optimize", "m.onnx", "-"], ["report", "m.onnx", "-o", "-"], ["profile", "m.onnx", "--trace", "-"]):
        assert cli.main(words) == 2
        assert "not to stdout; name one" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]
