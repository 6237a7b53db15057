"""Tests of the command line, onnxnorm/_cli/."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm import _cli
from onnxnorm._cli import inspect as inspect_command
from onnxnorm._cli.outcome import UsageError
from onnxnorm._cli.tensors import ShapeOption, read_npz, shape_option, shapes_by_name, split_name, write_npz
from onnxnorm._errors import OnnxNormWarning

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "numpy", "rich"}
COMMANDS = ("export", "optimize", "fold", "inspect", "verify", "run", "doctor")

Captured = pytest.CaptureFixture[str]


def conv_bn_lrn(*, open_batch: bool = True, channels: int = 4, bias: float = 1.0) -> onnx.ModelProto:
    """Conv, a BatchNormalization that folds into it, Relu, and an LRN that stays."""
    rng = np.random.default_rng(7)

    def constant(name: str, array: np.ndarray[Any, Any]) -> onnx.TensorProto:
        return numpy_helper.from_array(array.astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], name="bn"),
        helper.make_node("Relu", ["b"], ["r"], name="relu"),
        helper.make_node("LRN", ["r"], ["y"], name="lrn", size=3, bias=bias),
    ]
    initializers = [
        constant("w", rng.normal(size=(channels, 3, 3, 3))),
        constant("scale", rng.normal(size=channels)),
        constant("shift", rng.normal(size=channels)),
        constant("mean", rng.normal(size=channels)),
        constant("var", rng.uniform(0.5, 2, size=channels)),
    ]
    batch = "N" if open_batch else 1
    graph = helper.make_graph(
        nodes,
        "conv_bn_lrn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, channels, 8, 8])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "in.onnx"
    onnx.save(conv_bn_lrn(), path)
    return path


def command_line(*arguments: str | Path, cwd: Path = ROOT, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "onnxnorm", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def fails(capsys: Captured, code: int, *arguments: str | Path) -> str:
    """Runs a command line that has to fail in one line on stderr; returns what that line says."""
    assert _cli.main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("onnxnorm: error: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err.removeprefix("onnxnorm: error: ").strip()


# Help, version and usage


@pytest.mark.parametrize("arguments", [("--help",), *((command, "--help") for command in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = textwrap.dedent(f"""
        import sys
        from onnxnorm._cli import main
        try:
            main({list(arguments)!r})
        except SystemExit as stop:
            assert stop.code == 0
        print(sorted({{name.partition(".")[0] for name in sys.modules}} & {HEAVY!r}))
    """)
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(" ".join(["usage: onnxnorm", *arguments[:-1]]))
    assert finished.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        _cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in COMMANDS)


def test_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as stop:
        _cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("onnxnorm ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "COMMAND"),
        (("nosuch",), "'nosuch'"),
        (("optimize",), "in.onnx, out.onnx"),
        (("optimize", "a.onnx"), "out.onnx"),
        (("optimize", "a.onnx", "b.onnx", "c.onnx"), "c.onnx"),
        (("inspect", "a.onnx", "--nosuch"), "--nosuch"),
        (("run", "a.onnx", "--repeat", "0"), "at least 1"),
        (("run", "a.onnx", "--repeat", "x"), "at least 1"),
        (("run", "a.onnx", "--shape", "x:1,a"), "'x:1,a' is no shape"),
        (("run", "a.onnx", "--shape", ""), "is no shape"),
        (("verify", "a.onnx", "b.onnx", "--shape", "x:1,-2"), "'x:1,-2' is no shape"),
        (("verify", "a.onnx", "b.onnx", "--seed", "x"), "--seed"),
        (("export", "models:alexnet"), "out.onnx"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(capsys: Captured, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in fails(capsys, 2, *arguments)


def test_exit_codes_of_the_process(model_path: Path, tmp_path: Path) -> None:
    wrong = command_line("optimize", tmp_path / "missing.onnx", tmp_path / "out.onnx")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("onnxnorm: error: ") and wrong.stderr.count("\n") == 1
    right = command_line("inspect", model_path)
    assert (right.returncode, right.stderr) == (0, "")


# Bad files


def _bad_file(kind: str, folder: Path) -> Path:
    path = folder / "bad.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no model\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        data = conv_bn_lrn().SerializeToString()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "dangling":
        model = conv_bn_lrn()
        model.graph.node[1].input[0] = "nowhere"
        path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "truncated", "dangling"])
@pytest.mark.parametrize("command", ["optimize", "fold", "inspect", "verify", "run"])
def test_bad_models_are_one_line_that_names_the_file(capsys: Captured, tmp_path: Path, command: str, kind: str) -> None:
    path = _bad_file(kind, tmp_path)
    more = {"optimize": [tmp_path / "out.onnx"], "fold": [tmp_path / "out.onnx"], "verify": [path]}
    message = fails(capsys, 2, command, path, *more.get(command, []))
    assert "bad.onnx" in message
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("command", ["optimize", "fold"])
def test_unwritable_outputs_are_refused_before_the_work(
    capsys: Captured, tmp_path: Path, model_path: Path, command: str
) -> None:
    assert "does not exist" in fails(capsys, 2, command, model_path, tmp_path / "nosuch" / "out.onnx")
    assert "folder" in fails(capsys, 2, command, model_path, tmp_path)
    before = model_path.read_bytes()
    assert model_path.read_bytes() == before


# Shapes and arrays


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("1,3,224,224", ShapeOption(None, (1, 3, 224, 224))),
        ("x:1,3", ShapeOption("x", (1, 3))),
        ("input:0:7", ShapeOption("input:0", (7,))),
        ("x:0", ShapeOption("x", (0,))),
    ],
)
def test_shapes_are_read(text: str, option: ShapeOption) -> None:
    assert shape_option(text) == option


def test_a_shape_without_a_name_is_that_of_the_only_input() -> None:
    assert shapes_by_name([shape_option("1,2")], ["x"]) == {"x": (1, 2)}
    with pytest.raises(UsageError, match="2 inputs"):
        shapes_by_name([shape_option("1,2")], ["x", "y"])


def test_shapes_for_unknown_inputs_and_twice_for_one_are_refused() -> None:
    with pytest.raises(UsageError, match="no input 'z'"):
        shapes_by_name([shape_option("z:1")], ["x", "y"])
    with pytest.raises(UsageError, match="'x' is given twice"):
        shapes_by_name([shape_option("x:1"), shape_option("x:2")], ["x", "y"])


def test_files_for_inputs_are_split_at_the_longest_name() -> None:
    inputs = ["input", "input:0"]
    assert split_name("input:0:C:/x.npy", inputs) == ("input:0", "C:/x.npy")
    assert split_name("input:x.npy", inputs) == ("input", "x.npy")
    for text in ("other:x.npy", "x.npy", "input:"):
        with pytest.raises(UsageError, match=r"name:file\.npy"):
            split_name(text, inputs)


def test_arrays_come_back_from_npz_whatever_their_names(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "a/b:0": np.array(2.5), "self": np.zeros((0, 2), np.float16)}
    path = tmp_path / "out.npz"
    write_npz(str(path), arrays)
    found = read_npz(str(path))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert list(tmp_path.iterdir()) == [path]


def test_half_written_npz_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    write_npz(str(path), {"x": np.ones(2)})
    before = path.read_bytes()
    with pytest.raises(ValueError):  # an array of objects cannot be written
        write_npz(str(path), {"x": np.ones(2), "y": np.array([object()])})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# What happens while a command runs


def test_warnings_are_one_line_on_stderr(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(_: object) -> int:
        warnings.warn("runs on\nportable bodies", OnnxNormWarning, stacklevel=2)
        return 0

    monkeypatch.setattr(inspect_command, "run", warn)
    assert _cli.main(["inspect", "x.onnx"]) == 0
    assert capsys.readouterr().err == "onnxnorm: warning: runs on portable bodies\n"


def test_interrupting_is_code_130(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspect_command, "run", interrupt)
    assert _cli.main(["inspect", "x.onnx"]) == 130
    assert capsys.readouterr().err == "onnxnorm: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_the_process_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n\ndef model():\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    before = {path.name for path in tmp_path.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "onnxnorm", "export", "slow:model", "out.onnx", "--shape", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "onnxnorm: interrupted\n"
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_no_error(model_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "onnxnorm", "inspect", str(model_path)],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    finally:
        os.close(writing)
    assert finished.returncode == 141
    assert finished.stderr == ""
