"""Tests of models with operators that onnxruntime does not know: run with their library, or cut around them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxnorm
from onnxnorm import OnnxNormError, cli
from onnxnorm.runtime import foreign_ops, library, session
from onnxnorm.verification.verify import verify
from testing.builder import Builder, affines

NATIVE = library.find_library()


def _model(*, typed: bool = True, after: float = 1.0, before: float = 1.0) -> onnx.ModelProto:
    """A convolution and its normalization on both sides of an operator that nobody knows."""
    b = Builder(dtype=np.float32, opsets={"foreign": 1})
    x = b.input(("n", 3, 8, 8))
    x = b.batch_norm(b.conv(x, 3, 4, (3, 3)), 4)
    x = b.node("Mul", x, b.constant(np.float32(before)))
    given = b.node("Mystery", x, domain="foreign", name="mystery", strength=2)
    if typed:
        b.told(given, ("n", 4, 6, 6))
    x = b.batch_norm(b.conv(given, 4, 5, (3, 3)), 5)
    return b.model(b.node("Mul", x, b.constant(np.float32(after))))


def test_the_rest_is_optimized_and_proved() -> None:
    model = _model()
    result = onnxnorm.optimize(model)
    assert affines(result.model) == 0
    assert result.report is not None and result.report.passed
    (note,) = [note for note in result.report.notes if "foreign::Mystery" in note]
    assert "made up by its shape" in note and "--custom-ops-library" in note
    # What the node is given is compared as an output.
    assert len(result.report.outputs) == 2


@pytest.mark.parametrize("change", [{"before": 1.001}, {"after": 1.001}])
def test_a_mistake_on_either_side_is_found(change: dict[str, float]) -> None:
    report = verify(_model(), _model(**change))
    assert not report.passed
    assert report.place is not None and report.place.op_type == "Mul"


def test_given_inputs_are_completed() -> None:
    model = _model()
    (name,) = [value.name for value in model.graph.input]
    given = {name: np.ones((2, 3, 8, 8), np.float32)}
    assert verify(model, model, given).passed
    assert not verify(model, _model(after=1.001), given).passed


def test_a_node_of_unknown_type_cannot_be_cut_around() -> None:
    with pytest.raises(OnnxNormError, match=r"'mystery' \(foreign::Mystery\) is unknown.*--custom-ops-library"):
        verify(_model(typed=False), _model(typed=False))


def test_another_unknown_node_in_the_result_is_no_match() -> None:
    other = _model()
    node = next(node for node in other.graph.node if node.op_type == "Mystery")
    node.attribute[0].i = 3
    with pytest.raises(OnnxNormError, match="the result has no such node"):
        verify(_model(), other)


@pytest.mark.skipif(NATIVE is None, reason="needs a library of custom operators")
def test_a_library_is_registered_for_every_session(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This project's library stands for a foreign one: under another name, and as if it were not installed."""
    assert NATIVE is not None
    file = tmp_path / NATIVE.name.replace("onnxnorm", "foreign")
    shutil.copy(NATIVE, file)
    for module in (foreign_ops, session):
        monkeypatch.setattr(module, "find_library", lambda: None)
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "onnxnorm": 1]> g (float[2, 3, 6, 6] x) => (float[2, 3, 6, 6] y) '
        "{ a = onnxnorm.IntraChannelLRN <kernel_shape = [3, 3]> (x) y = Relu (a) }"
    )
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model, path)
    registered: list[str] = []
    register = onnxruntime.SessionOptions.register_custom_ops_library

    def seen(options: onnxruntime.SessionOptions, name: str) -> None:
        registered.append(name)
        register(options, name)

    monkeypatch.setattr(onnxruntime.SessionOptions, "register_custom_ops_library", seen)
    option = ["--custom-ops-library", str(file)]
    assert cli.main(["optimize", str(path), str(output), *option]) == 0
    assert cli.main(["verify", str(path), str(output), *option]) == 0
    assert cli.main(["run", str(output), *option, "--repeat", "1"]) == 0
    assert registered == [str(file)] * 3
    options = onnxruntime.SessionOptions()
    before = options.graph_optimization_level
    options.register_custom_ops_library(str(file))
    assert verify(path, output, session_options=options).passed
    assert options.graph_optimization_level == before
    assert onnxnorm.optimize(path, session_options=options).report is not None
    capsys.readouterr()
    assert cli.main(["verify", str(path), str(output), "--custom-ops-library", str(tmp_path / "none.so")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    (tmp_path / "bad.so").write_bytes(b"no library")
    assert cli.main(["run", str(output), "--custom-ops-library", str(tmp_path / "bad.so")]) == 2
    assert "is no library of custom operators" in capsys.readouterr().err
