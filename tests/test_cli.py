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
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm import _cli, _doctor, _ops, _optimize, reference
from onnxnorm._cli import inspect as inspect_command
from onnxnorm._cli.outcome import UsageError
from onnxnorm._cli.tensors import ShapeOption, read_npz, shape_option, shapes_by_name, split_name, write_npz
from onnxnorm._errors import OnnxNormWarning
from onnxnorm._runtime import find_library
from onnxnorm.passes import PASSES

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


# optimize and fold


def _operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("command", ["optimize", "fold"])
def test_optimize_prints_the_operators_before_and_after_and_what_is_left(
    capsys: Captured, tmp_path: Path, model_path: Path, command: str
) -> None:
    output = tmp_path / "out.onnx"
    before = model_path.read_bytes()
    assert _cli.main([command, str(model_path), str(output)]) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert ["operator", "before", "after", "change"] in rows
    assert ["BatchNormalization", "1", "0", "-1"] in rows
    assert ["Conv", "1", "1"] in rows
    assert ["all", "nodes", "4", "3", "-1"] in rows
    (left,) = [row for row in rows if row[:1] == ["lrn"]]
    assert left[1:4] == ["LRN", "(inter-channel)", "Nx4x8x8"] and len(left) > 6
    assert captured.out.splitlines()[-2].startswith("verification passed: ")
    assert captured.out.splitlines()[-1].startswith(f"{output}: 4 -> 3 nodes, ")
    assert captured.err == ""
    assert _operators(output) == ["Conv", "Relu", "LRN"]
    assert model_path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [model_path, output]


def test_optimize_as_json(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    output = tmp_path / "out.onnx"
    assert _cli.main(["optimize", str(model_path), str(output), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["operators_before"] == {"Conv": 1, "BatchNormalization": 1, "Relu": 1, "LRN": 1}
    assert document["operators_after"] == {"Conv": 1, "Relu": 1, "LRN": 1}
    assert document["size_before"] == model_path.stat().st_size
    assert document["size_after"] == output.stat().st_size
    fates = {record["node"]: record["fate"] for record in document["normalizations"]}
    assert fates == {"bn": "absorbed", "lrn": "left"}
    assert document["verification"]["passed"] is True


def test_optimize_in_place(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    assert _cli.main(["optimize", str(model_path), str(model_path)]) == 0
    assert _operators(model_path) == ["Conv", "Relu", "LRN"]
    assert list(tmp_path.iterdir()) == [model_path]
    assert "4 -> 3 nodes" in capsys.readouterr().out


def test_results_that_do_not_verify_are_not_written(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: Path
) -> None:
    """An optimizer that spoils a weight stands in for the one that has no known errors."""
    real = _optimize.optimize

    def spoiled(model: ir.Model, **options: Any) -> Any:
        result = real(model, **options)
        weight = result.model.graph.initializers["w"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.01), name="w")
        return result

    monkeypatch.setattr(_optimize, "optimize", spoiled)
    output = tmp_path / "out.onnx"
    assert "nothing was written" in fails(capsys, 1, "optimize", model_path, output, "--skip", "fold_affines")
    assert not output.exists()
    assert _cli.main(["optimize", str(model_path), str(output), "--skip", "fold_affines", "--no-verify"]) == 0
    assert output.exists()
    assert "not verified" in capsys.readouterr().out.splitlines()


def test_passes_are_listed_chosen_and_skipped(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        _cli.main(["optimize", "--list-passes"])
    assert stop.value.code == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == list(PASSES)
    output = tmp_path / "out.onnx"
    assert _cli.main(["optimize", str(model_path), str(output), "--skip", "fold_affines"]) == 0
    assert "BatchNormalization" in _operators(output)
    assert _cli.main(["optimize", str(model_path), str(output), "--passes", "infer_shapes,fold_affines"]) == 0
    assert "BatchNormalization" not in _operators(output)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--passes", "infer_shapes,nosuch"), "'nosuch'"),
        (("--skip", "nosuch"), "'nosuch'"),
        (("--target", "nosuch"), "'nosuch'"),
    ],
)
def test_unknown_passes_and_targets_are_refused(
    capsys: Captured, tmp_path: Path, model_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in fails(capsys, 2, "optimize", model_path, tmp_path / "out.onnx", *arguments)
    assert not (tmp_path / "out.onnx").exists()


def test_inputs_with_values_of_their_own_are_frozen_only_on_demand(capsys: Captured, tmp_path: Path) -> None:
    model = conv_bn_lrn()
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, TensorProto.FLOAT, constant.dims))
    path, output = tmp_path / "old.onnx", tmp_path / "out.onnx"
    onnx.save(model, path)
    assert _cli.main(["optimize", str(path), str(output)]) == 0
    assert "BatchNormalization" in _operators(output)
    assert _cli.main(["optimize", str(path), str(output), "--freeze-inputs"]) == 0
    assert "BatchNormalization" not in _operators(output)
    capsys.readouterr()


# inspect


def test_inspect_prints_a_line_for_each_normalization(capsys: Captured, model_path: Path) -> None:
    assert _cli.main(["inspect", str(model_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["node", "bn", "lrn", "2"]
    assert "absorbed" in lines[1] and "left" in lines[2]
    assert lines[3] == "2 normalizations: 1 absorbed, 1 left"


def test_inspect_as_json_is_only_json(capsys: Captured, model_path: Path) -> None:
    assert _cli.main(["inspect", str(model_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == str(model_path)
    records = onnxnorm.inspect(model_path)
    assert [record["node"] for record in document["normalizations"]] == [record.node for record in records]
    assert document["normalizations"][0]["shape"] == ["N", 4, 8, 8]


def test_inspect_of_a_model_without_any(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "relu.onnx"
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    assert _cli.main(["inspect", str(path)]) == 0
    assert "no normalization" in capsys.readouterr().out


# verify


def test_verify_tells_equal_models_from_others_by_its_exit_code(
    capsys: Captured, tmp_path: Path, model_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(conv_bn_lrn(bias=1.01), other)
    assert _cli.main(["verify", str(model_path), str(model_path)]) == 0
    assert "passed" in capsys.readouterr().out.lower()
    assert _cli.main(["verify", str(model_path), str(other)]) == 1
    captured = capsys.readouterr()
    assert "failed" in captured.out.lower()
    assert captured.err == ""


def test_verify_as_json_on_given_inputs(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    inputs = tmp_path / "x.npz"
    np.savez(inputs, x=np.ones((2, 3, 8, 8), np.float32))
    assert _cli.main(["verify", str(model_path), str(model_path), "--inputs", str(inputs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_verify_takes_shapes(capsys: Captured, model_path: Path) -> None:
    assert _cli.main(["verify", str(model_path), str(model_path), "--shape", "5,3,8,8", "--json"]) == 0
    assert "5" in capsys.readouterr().out
    message = fails(capsys, 2, "verify", model_path, model_path, "--shape", "x:5,3,8,9")
    assert "'x'" in message
    message = fails(capsys, 2, "verify", model_path, model_path, "--shape", "nosuch:1")
    assert "'nosuch'" in message


def test_verify_refuses_wrong_inputs(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    inputs = tmp_path / "x.npz"
    np.savez(inputs, nosuch=np.ones(2))
    assert "x" in fails(capsys, 2, "verify", model_path, model_path, "--inputs", inputs)
    assert "missing.npz" in fails(capsys, 2, "verify", model_path, model_path, "--inputs", tmp_path / "missing.npz")


# run


def test_run_on_given_inputs_writes_what_the_model_computes(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    output = tmp_path / "out.npz"
    arguments = ["--input", f"x:{tmp_path / 'x.npy'}", "--output", str(output), "--repeat", "2", "--threads", "1"]
    assert _cli.main(["run", str(model_path), *arguments]) == 0
    (y,) = onnxruntime.InferenceSession(model_path).run(None, {"x": x})
    np.testing.assert_allclose(np.load(output)["y"], y, rtol=1e-5)
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["output"]]
    assert row[1:4] == ["y", "float32", "2x4x8x8"]
    assert [float(figure) for figure in row[4:]] == pytest.approx([y.min(), y.max(), y.mean()], rel=1e-4, abs=1e-6)
    assert "2 runs" in text
    assert "none in the model" in text


def test_run_is_seeded(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    found = []
    for seed in ("0", "0", "1"):
        arguments = ["--seed", seed, "--repeat", "1", "--output", str(tmp_path / "y.npz"), "--shape", "3,3,8,8"]
        assert _cli.main(["run", str(model_path), *arguments]) == 0
        found.append(read_npz(str(tmp_path / "y.npz"))["y"])
    capsys.readouterr()
    assert found[0].shape == (3, 4, 8, 8)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_run_as_json_shows_nan(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.full((1, 3, 8, 8), np.nan, np.float32))
    arguments = ["--inputs", str(tmp_path / "x.npz"), "--repeat", "1", "--json"]
    assert _cli.main(["run", str(model_path), *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    (x,) = document["inputs"]
    assert (x["nans"], x["minimum"], x["mean"]) == (3 * 8 * 8, None, None)
    assert document["repeat"] == 1
    assert document["latency_median_ms"] > 0


def test_run_leaves_the_batch_at_one(capsys: Captured, model_path: Path) -> None:
    assert _cli.main(["run", str(model_path), "--repeat", "1", "--json"]) == 0
    (x,) = json.loads(capsys.readouterr().out)["inputs"]
    assert x["shape"] == [1, 3, 8, 8]


def test_run_finds_sizes_that_the_model_takes(capsys: Captured, tmp_path: Path) -> None:
    """Only a length that 64 divides passes this Reshape, and the model's input does not say so."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[1, L] x) => (float[A, B] y) <int64[2] s = {-1, 64}> { y = Reshape (x, s) }"""
    )
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert _cli.main(["run", str(path), "--repeat", "1", "--json"]) == 0
    captured = capsys.readouterr()
    (x,) = json.loads(captured.out)["inputs"]
    assert x["shape"][1] % 64 == 0
    assert captured.err == ""
    message = fails(capsys, 1, "run", path, "--shape", "x:1,63")
    assert "onnxruntime could not run it" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--shape", "nosuch:1"), "'nosuch'"),
        (("--shape", "x:1,3,8"), "'x'"),
        (("--shape", "x:1,4,8,8"), "'x'"),
        (("--input", "nosuch.npy"), "name:file.npy"),
        (("--input", "x:nosuch.npy"), "nosuch.npy"),
        (("--inputs", "nosuch.npz"), "nosuch.npz"),
        (("--output", "nosuch/out.npz"), "does not exist"),
    ],
)
def test_run_refuses_what_does_not_fit(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: Path, arguments: Any, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in fails(capsys, 2, "run", model_path, *arguments)


def test_run_refuses_arrays_of_the_wrong_shape_or_type_and_files_of_another_kind(
    capsys: Captured, tmp_path: Path, model_path: Path
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((1, 3, 8, 9), np.float32))
    assert "(1, 3, 8, 9)" in fails(capsys, 2, "run", model_path, "--input", f"x:{path}")
    np.save(path, np.array(["text"]))
    assert "'x'" in fails(capsys, 2, "run", model_path, "--input", f"x:{path}")
    path.write_text("no array")
    assert "x.npy" in fails(capsys, 2, "run", model_path, "--input", f"x:{path}")
    assert "x.npy" in fails(capsys, 2, "run", model_path, "--inputs", path)
    np.savez(tmp_path / "x.npz", x=np.ones((1, 3, 8, 8), np.float32))
    assert "given twice" in fails(
        capsys, 2, "run", model_path, "--inputs", tmp_path / "x.npz", "--input", f"x:{tmp_path / 'x.npz'}"
    )
    assert "--shape" in fails(capsys, 2, "run", model_path, "--inputs", tmp_path / "x.npz", "--shape", "1,3,8,8")


def test_run_tells_who_runs_the_custom_operators(capsys: Captured, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 17, "onnxnorm": 1]>
        g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) { y = onnxnorm.IntraChannelLRN <kernel_shape = [3, 3]> (x) }"""
    )
    _ops.attach_bodies(model)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert _cli.main(["run", str(path), "--repeat", "1", "--portable", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["custom_operators"], document["native_library"]) == ("portable bodies", None)
    assert _cli.main(["run", str(path), "--repeat", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    library = find_library()
    assert document["native_library"] == (None if library is None else str(library))
    assert document["custom_operators"] == ("portable bodies" if library is None else "native library")


# doctor


def test_doctor_names_the_parts_and_tests_the_operators(capsys: Captured) -> None:
    assert _cli.main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["onnxruntime"]["detail"] == onnxruntime.__version__
    assert checks["onnx"]["detail"] == onnx.__version__
    for op_type in ("InterChannelLRN", "IntraChannelLRN"):
        assert checks[f"{op_type}, portable body"]["status"] == "ok"
    assert checks["native library"]["status"] == ("note" if find_library() is None else "ok")


def test_doctor_fails_where_an_operator_computes_something_else(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_doctor._SELF_TESTS, "InterChannelLRN", {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0})
    monkeypatch.setattr(reference, "inter_channel_lrn", lambda x, **_: np.asarray(x, np.float64) * 2)
    assert _cli.main(["doctor"]) == 1
    assert "does not compute its formula" in capsys.readouterr().out


def test_doctor_says_what_a_missing_library_costs(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _doctor.metadata.version

    def version(name: str) -> str:
        if name == "torch":
            raise _doctor.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(_doctor.metadata, "version", version)
    assert _cli.main(["doctor", "--json"]) == 0
    (check,) = [c for c in json.loads(capsys.readouterr().out)["checks"] if c["name"] == "torch"]
    assert check["status"] == "note"
    assert "export" in check["detail"] and "pip install" in check["detail"]
