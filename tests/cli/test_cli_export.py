"""Tests of `onnxnorm export`, onnxnorm/cli/export.py and target.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from onnxnorm import cli
from onnxnorm.cli.exit_codes import UsageError
from onnxnorm.cli.factory import load_target

torch = pytest.importorskip("torch")

NETS = """
import torch

def tiny():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())

class Tiny(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(4, 2))

instance = Tiny()

class Spec:
    dynamic_shapes = ({0: "batch"},)
    def build(self):
        return Tiny()
    def example_inputs(self):
        return (torch.ones(2, 4),)

MODELS = {"with-dash": Spec(), "broken": lambda: 1 / 0}
text = "no module"

def wrong():
    return 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to stand in with a module `nets_for_test`."""
    (tmp_path / "nets_for_test.py").write_text(NETS)
    (tmp_path / "syntax_for_test.py").write_text("def (:\n")
    (tmp_path / "needs_for_test.py").write_text("import nosuchmodule\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    sys.modules.pop("nets_for_test", None)


def test_factories_classes_instances_and_specs_are_targets(nets: Path) -> None:
    assert isinstance(load_target("nets_for_test:tiny").module, torch.nn.Sequential)
    assert type(load_target("nets_for_test:Tiny").module).__name__ == "Tiny"
    assert load_target("nets_for_test:instance").module is sys.modules["nets_for_test"].instance
    assert load_target("nets_for_test:tiny").example_inputs is None
    for path in ("with-dash", "MODELS.with-dash"):
        target = load_target(f"nets_for_test:{path}")
        assert type(target.module).__name__ == "Tiny"
        assert target.example_inputs is not None
        assert target.example_inputs[0].shape == (2, 4)
        assert target.dynamic_shapes == ({0: "batch"},)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nets_for_test", "module:factory"),
        ("nets_for_test:", "module:factory"),
        (":tiny", "module:factory"),
        ("nosuch_for_test:tiny", "no module 'nosuch_for_test'"),
        ("nets_for_test.sub:tiny", "no module"),
        ("nets_for_test:nosuch", "has no 'nosuch'; it offers with-dash, broken"),
        ("nets_for_test:instance.nosuch", "Tiny has no 'nosuch'"),
        ("nets_for_test:text", "gives an object of type str"),
        ("nets_for_test:wrong", "gives an object of type int"),
        ("nets_for_test:broken", r"ZeroDivisionError: division by zero \(nets_for_test.py:21\)"),
        ("syntax_for_test:x", r"SyntaxError: .*\(syntax_for_test.py:1\)"),
        ("needs_for_test:x", r"ModuleNotFoundError: No module named 'nosuchmodule' \(needs_for_test.py:1\)"),
    ],
)
def test_targets_that_lead_nowhere_say_why(nets: Path, spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_target(spec)


def test_export_writes_a_model_with_its_normalization_as_one_node(
    nets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = nets / "out.onnx"
    arguments = ["--shape", "1,3,8,8", "--dynamic", "batch", "--opset", "18", "--json"]
    assert cli.main(["export", "nets_for_test:tiny", str(output), *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    model = onnx.load(output)
    assert [node.op_type for node in model.graph.node] == ["Conv", "BatchNormalization", "Relu"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert model.graph.input[0].type.tensor_type.shape.dim[2].dim_value == 8
    assert document["operators"] == {"Conv": 1, "BatchNormalization": 1, "Relu": 1}
    assert document["opsets"][""] == 18
    assert document["size"] == output.stat().st_size


def test_export_of_a_spec_needs_no_shape(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "nets_for_test:with-dash", "out.onnx"]) == 0
    captured = capsys.readouterr()
    assert "out.onnx: 1 nodes" in captured.out
    assert captured.err == ""
    assert onnx.load(nets / "out.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nets_for_test:tiny", "out.onnx"), "--shape"),
        (("nets_for_test:tiny", "out.onnx", "--shape", "x:1,3,8,8"), "'x'"),
        (("nets_for_test:tiny", "nosuch/out.onnx", "--shape", "1,3,8,8"), "does not exist"),
        (("nets_for_test:tiny", "out.onnx", "--shape", "1,3,8,8", "--opset", "1"), "opset"),
        (("nets_for_test:tiny", "out.onnx", "--shape", "1,7,8,8"), ""),
        (("nets_for_test:tiny", "out.onnx", "--dynamic", "sideways"), "sideways"),
    ],
)
def test_export_refuses_in_one_line_and_writes_nothing(
    nets: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    assert cli.main(["export", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("onnxnorm: error: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    assert not (nets / "out.onnx").exists()


def test_the_older_exporter_may_be_asked_for(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "nets_for_test:tiny", "old.onnx", "--shape", "1,3,8,8", "--opset", "11"]
    assert cli.main(arguments) == 2
    assert "opset must be a whole number from 13" in capsys.readouterr().err
    assert cli.main([*arguments, "--exporter", "torchscript", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["opsets"] == {"": 11}
    assert document["operators"] == {"BatchNormalization": 1, "Conv": 1, "Relu": 1}
