"""Tests that a result that fails is shown where it goes wrong, and that the smallest pair that differs is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxnorm
from onnxnorm import cli
from onnxnorm.verification.verify import verify
from testing.builder import Builder


def _network(dtype: type = np.float32) -> onnx.ModelProto:
    b = Builder(dtype=dtype)
    x = b.input(("n", 3, 8, 8))
    for stage in range(3):
        before = x
        x = b.batch_norm(b.conv(x, 3, 3, (3, 3), name=f"conv{stage}", pads=[1, 1, 1, 1]), 3, name=f"norm{stage}")
        x = b.node("Relu", x, name=f"relu{stage}")
        x = b.node("Add", x, before, name=f"sum{stage}")
    return b.model(x)


def _spoiled(model: onnx.ModelProto, name: str, factor: float = 1.01) -> onnx.ModelProto:
    """Change one element of the first weight of a node."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    node = next(node for node in copy.graph.node if node.name == name)
    tensor = next(tensor for tensor in copy.graph.initializer if tensor.name == node.input[1])
    values = np.array(numpy_helper.to_array(tensor))
    values.flat[int(np.argmax(np.abs(values)))] *= factor
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy


@pytest.mark.parametrize("name", ["conv0", "conv1", "conv2"])
def test_a_mistake_in_a_folded_result_is_found_at_its_node(name: str, tmp_path: Path) -> None:
    """The normalizations are gone, so that values of the result mean what others mean in the original."""
    model = _network()
    folded = onnxnorm.optimize(model).model
    assert len(folded.graph.node) < len(model.graph.node)
    broken = _spoiled(folded, name)
    report = verify(model, broken, bisect=tmp_path)
    place = report.place
    assert place is not None and place.node == name
    assert place.error_result > 100 * place.error_original
    # The error is followed to the output, and stays far above that of the original.
    assert place.growth[0].result_value == place.result_value
    assert place.growth[-1].value == model.graph.output[0].name
    assert all(error.error_result > 10 * error.error_original for error in place.growth)
    one, two = (onnx.load(tmp_path / f"{part}.onnx") for part in ("original", "result"))
    assert {node.name for node in two.graph.node} == {name}
    assert {node.name for node in one.graph.node} <= {name, f"norm{name[-1]}"}
    again = verify(one, two, tmp_path / "inputs.npz")
    assert not again and again.place is not None and again.place.node == name


def test_a_right_result_has_no_place_and_no_pair(tmp_path: Path) -> None:
    model = _network()
    folder = tmp_path / "pair"
    report = verify(model, onnxnorm.optimize(model).model, bisect=folder)
    assert report.passed and report.place is None and not folder.exists()


def test_values_that_half_arithmetic_ruins_are_found() -> None:
    """A large constant is added and taken away again: in halves nothing is left, in float32 it does no harm."""
    b = Builder(dtype=np.float16)
    x = b.input((2, 8))
    model = b.model(b.node("Mul", x, b.constant(np.full(8, 1.5)), name="scale", out="y"))
    b = Builder(dtype=np.float16)
    x = b.input((2, 8))
    far = b.node("Add", x, b.constant(np.full(8, 3e3)), name="away")
    near = b.node("Sub", far, b.constant(np.full(8, 3e3)), name="back")
    broken = b.model(b.node("Mul", near, b.constant(np.full(8, 1.5)), name="scale", out="y"))
    report = verify(model, broken)
    assert not report and report.place is not None
    assert report.place.node == "scale"


def test_the_command_says_the_place_and_writes_the_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _network()
    one, two, folder = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "pair"
    onnx.save(model, one)
    onnx.save(_spoiled(model, "conv1"), two)
    assert cli.main(["verify", str(one), str(two), "--bisect", str(folder)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "made by node 'conv1' (Conv)" in said and str(folder / "original.onnx") in said
    assert cli.main(["verify", *(str(folder / f"{part}.onnx") for part in ("original", "result"))]) == 1
    capsys.readouterr()
    assert cli.main(["verify", str(one), str(two), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["place"]["node"] == "conv1" and record["place"]["growth"][0]["op_type"] == "Conv"
