"""Tests of `onnxnorm run`, onnxnorm/cli/run.py and feeds.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxnorm import cli
from onnxnorm.cli.tensor_files import read_npz
from onnxnorm.ops import attach
from onnxnorm.runtime.library import find_library
from tests.cli.samples import Captured, fails


def test_run_on_given_inputs_writes_what_the_model_computes(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    output = tmp_path / "out.npz"
    arguments = ["--input", f"x:{tmp_path / 'x.npy'}", "--output", str(output), "--repeat", "2", "--threads", "1"]
    assert cli.main(["run", str(model_path), *arguments]) == 0
    (y,) = onnxruntime.InferenceSession(model_path).run(None, {"x": x})
    np.testing.assert_allclose(np.load(output)["y"], y, rtol=1e-5)
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines()]
    (row,) = [row for row in rows if row[:1] == ["output"]]
    assert row[1:4] == ["y", "float32", "2,4,8,8"]
    assert [float(figure) for figure in row[4:]] == pytest.approx([y.min(), y.max(), y.mean()], rel=1e-4, abs=1e-6)
    assert "2 runs" in text
    assert "none in the model" in text


def test_run_is_seeded(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    found = []
    for seed in ("0", "0", "1"):
        arguments = ["--seed", seed, "--repeat", "1", "--output", str(tmp_path / "y.npz"), "--shape", "3,3,8,8"]
        assert cli.main(["run", str(model_path), *arguments]) == 0
        found.append(read_npz(str(tmp_path / "y.npz"))["y"])
    capsys.readouterr()
    assert found[0].shape == (3, 4, 8, 8)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_run_as_json_shows_nan(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.full((1, 3, 8, 8), np.nan, np.float32))
    arguments = ["--inputs", str(tmp_path / "x.npz"), "--repeat", "1", "--json"]
    assert cli.main(["run", str(model_path), *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    (x,) = document["inputs"]
    assert (x["nans"], x["minimum"], x["mean"]) == (3 * 8 * 8, None, None)
    assert document["repeat"] == 1
    assert document["latency_median_ms"] > 0


def test_run_leaves_the_batch_at_one(capsys: Captured, model_path: Path) -> None:
    assert cli.main(["run", str(model_path), "--repeat", "1", "--json"]) == 0
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
    assert cli.main(["run", str(path), "--repeat", "1", "--json"]) == 0
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
    attach.attach_bodies(model)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert cli.main(["run", str(path), "--repeat", "1", "--portable", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["custom_operators"], document["native_library"]) == ("portable bodies", None)
    assert cli.main(["run", str(path), "--repeat", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    library = find_library()
    assert document["native_library"] == (None if library is None else str(library))
    assert document["custom_operators"] == ("portable bodies" if library is None else "native library")
