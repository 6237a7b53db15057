"""Tests of `onnxnorm optimize` and `onnxnorm fold`, onnxnorm/cli/optimize.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

import onnxnorm.optimizer.accounted as accounting
from onnxnorm import cli
from onnxnorm.passes import PASSES
from tests.cli.samples import Captured, conv_bn_lrn, fails


def _operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("command", ["optimize", "fold"])
def test_optimize_prints_the_operators_before_and_after_and_what_is_left(
    capsys: Captured, tmp_path: Path, model_path: Path, command: str
) -> None:
    output = tmp_path / "out.onnx"
    before = model_path.read_bytes()
    # For any runtime, LRN is written out by default.
    options = ["--skip", "accelerate"] if command == "optimize" else []
    assert cli.main([command, str(model_path), str(output), *options]) == 0
    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert captured.out.splitlines()[0] == "BatchNorm 1 -> 0, LRN 1 -> 1, 1 node fewer, verified"
    assert "2 normalizations, 1 after: 1 absorbed, 1 left" in captured.out.splitlines()
    assert ["operator", "before", "after", "change"] in rows
    assert ["BatchNormalization", "1", "0", "-1"] in rows
    assert ["Conv", "1", "1"] in rows
    assert ["all", "nodes", "4", "3", "-1"] in rows
    (left,) = [row for row in rows if row[:1] == ["lrn"]]
    assert left[1:4] == ["LRN", "(inter-channel)", "N,4,8,8"] and len(left) > 6
    assert captured.out.splitlines()[-2].startswith("verification passed: ")
    assert captured.out.splitlines()[-1].startswith(f"{output}: 4 -> 3 nodes, ")
    assert captured.err == ""
    assert _operators(output) == ["Conv", "Relu", "LRN"]
    assert model_path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [model_path, output]


def test_optimize_as_json(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    output = tmp_path / "out.onnx"
    assert cli.main(["optimize", str(model_path), str(output), "--json", "--skip", "accelerate"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["operators_before"] == {"Conv": 1, "BatchNormalization": 1, "Relu": 1, "LRN": 1}
    assert document["operators_after"] == {"Conv": 1, "Relu": 1, "LRN": 1}
    assert document["size_before"] == model_path.stat().st_size
    assert document["size_after"] == output.stat().st_size
    fates = {record["node"]: record["fate"] for record in document["normalizations"]}
    assert fates == {"bn": "absorbed", "lrn": "left"}
    assert document["verification"]["passed"] is True


def test_lrn_is_written_out_for_any_runtime_and_kept_whole_for_onnxruntime(tmp_path: Path, model_path: Path) -> None:
    output = tmp_path / "out.onnx"
    assert cli.main(["optimize", str(model_path), str(output)]) == 0
    assert "LRN" not in _operators(output) and "AveragePool" in _operators(output)
    assert cli.main(["optimize", str(model_path), str(output), "--target", "onnxruntime"]) == 0
    assert _operators(output) == ["Conv", "Relu", "InterChannelLRN"]


def test_optimize_in_place(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    assert cli.main(["optimize", str(model_path), str(model_path), "--skip", "accelerate"]) == 0
    assert _operators(model_path) == ["Conv", "Relu", "LRN"]
    assert list(tmp_path.iterdir()) == [model_path]
    assert "4 -> 3 nodes" in capsys.readouterr().out


def test_results_that_do_not_verify_are_not_written(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: Path
) -> None:
    """An optimizer that spoils a weight stands in for the one that has no known errors."""
    real = accounting.transform

    def spoiled(model: ir.Model, **options: Any) -> Any:
        result = real(model, **options)
        weight = result.ir_model.graph.initializers["w"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.01), name="w")
        return result

    monkeypatch.setattr(accounting, "transform", spoiled)
    output = tmp_path / "out.onnx"
    assert "nothing was written" in fails(capsys, 1, "optimize", model_path, output, "--skip", "fold_affines")
    assert not output.exists()
    assert cli.main(["optimize", str(model_path), str(output), "--skip", "fold_affines", "--no-verify"]) == 0
    assert output.exists()
    assert "not verified" in capsys.readouterr().out.splitlines()


def test_passes_are_listed_chosen_and_skipped(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["optimize", "--list-passes"])
    assert stop.value.code == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert listed == list(PASSES)
    output = tmp_path / "out.onnx"
    assert cli.main(["optimize", str(model_path), str(output), "--skip", "fold_affines,fold_affines_nearby"]) == 0
    assert "BatchNormalization" in _operators(output)
    assert cli.main(["optimize", str(model_path), str(output), "--passes", "infer_shapes,fold_affines"]) == 0
    assert "BatchNormalization" not in _operators(output)
    capsys.readouterr()


def test_nodes_of_one_name_are_told_apart_and_get_names_of_their_own(capsys: Captured, tmp_path: Path) -> None:
    model = conv_bn_lrn()
    for node in model.graph.node:
        node.name = "twin"
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model, path)
    # onnxruntime refuses such models, so there is nothing to verify against.
    assert cli.main(["optimize", str(path), str(output), "--no-verify", "--json", "--skip", "accelerate"]) == 0
    records = json.loads(capsys.readouterr().out)["normalizations"]
    assert [record["fate"] for record in records] == ["absorbed", "left"]
    assert len({record["node"] for record in records}) == 2
    names = [node.name for node in onnx.load(output).graph.node]
    assert len(set(names)) == len(names) and "twin" in names


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
    assert cli.main(["optimize", str(path), str(output)]) == 0
    assert "BatchNormalization" in _operators(output)
    assert cli.main(["optimize", str(path), str(output), "--freeze-inputs"]) == 0
    assert "BatchNormalization" not in _operators(output)
    capsys.readouterr()


def test_the_verification_takes_inputs_and_shapes(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    output, array, archive = tmp_path / "out.onnx", tmp_path / "x.npy", tmp_path / "x.npz"
    x = np.ones((3, 3, 8, 8), np.float32)
    np.save(array, x)
    np.savez(archive, x=x)
    for options in (["--input", f"x:{array}"], ["--inputs", str(archive)], ["--shape", "3,3,8,8"]):
        assert cli.main(["optimize", str(model_path), str(output), "--json", *options]) == 0
        samples = json.loads(capsys.readouterr().out)["verification"]["samples"]
        assert all(sample == {"x": [3, 3, 8, 8]} for sample in samples)
        assert cli.main(["verify", str(model_path), str(output), *options]) == 0
        capsys.readouterr()
    assert "'x'" in fails(capsys, 2, "optimize", model_path, output, "--shape", "x:5,3,8,9")
    assert "nosuch" in fails(capsys, 2, "optimize", model_path, output, "--shape", "nosuch:1")
    assert "both" in fails(capsys, 2, "optimize", model_path, output, "--input", f"x:{array}", "--shape", "3,3,8,8")


def test_inputs_that_are_not_given_are_random(capsys: Captured, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
        g (float[n, 4] x, float[n, 4] z) => (float[n, 4] y) { a = Mul (x, z) y = Relu (a) }"""
    path, output, array = tmp_path / "in.onnx", tmp_path / "out.onnx", tmp_path / "z.npy"
    onnx.save(onnx.parser.parse_model(text), path)
    np.save(array, np.ones((5, 4), np.float32))
    assert cli.main(["optimize", str(path), str(output), "--json", "--input", f"z:{array}"]) == 0
    samples = json.loads(capsys.readouterr().out)["verification"]["samples"]
    assert samples and all(sample == {"x": [5, 4], "z": [5, 4]} for sample in samples)


def test_one_normalization_is_explained_step_by_step(capsys: Captured, tmp_path: Path, model_path: Path) -> None:
    output = str(tmp_path / "out.onnx")
    assert cli.main(["optimize", str(model_path), output, "--no-verify", "--explain", "bn"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = lines[lines.index(next(line for line in lines if line.startswith("node: ") and line.endswith(" bn"))) :]
    assert any(line.startswith("fate:") and line.endswith("absorbed") for line in told)
    assert any(line.startswith("step 1:") and "BatchNormalization absorbed into Conv" in line for line in told)
    assert cli.main(["optimize", str(model_path), output, "--no-verify", "--explain", "nb"]) == 2
    assert "no normalization is called 'nb'" in capsys.readouterr().err
