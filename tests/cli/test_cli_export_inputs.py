"""Tests of what `onnxnorm export` takes: scripts, checkpoints, inputs of every type, names, programs; and its hints."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm import cli
from onnxnorm.errors import say_once

torch = pytest.importorskip("torch")

SCRIPT = """
import torch
from beside_for_test import width

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3), torch.nn.BatchNorm2d(width), torch.nn.ReLU())

class Words(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.norm = torch.nn.Embedding(10, 4), torch.nn.LayerNorm(4)
    def forward(self, ids, mask):
        return self.norm(self.table(ids)) * mask.unsqueeze(-1)

class Branches(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x

class Sized(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A script in a folder that nobody stands in, with a module beside it that it imports."""
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "beside_for_test.py").write_text("width = 4\n")
    path = folder / "script_under_test.py"
    path.write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    say_once.cache_clear()
    yield path
    for name in [name for name in sys.modules if name.endswith(("script_under_test", "beside_for_test"))]:
        del sys.modules[name]


def _export(*words: object) -> int:
    return cli.main(["export", *map(str, words)])


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_a_script_anywhere_is_a_target_and_dimensions_have_names(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["--input-names", "image", "--output-names", "features"]
    assert _export(f"{script}:net", "out.onnx", "--shape", "batch=1,3,height=8,8", *names) == 0
    graph = onnx.load("out.onnx").graph
    assert [(value.name, _dims(value)) for value in graph.input] == [("image", ["batch", 3, "height", 8])]
    assert [value.name for value in graph.output] == ["features"]
    assert "untrained" in capsys.readouterr().err


def test_inputs_have_types_and_names(script: Path) -> None:
    words = ["--input", "ids:int64:batch=1,length=6", "--input", "mask:batch=1,length=6"]
    assert _export(f"{script}:Words", "out.onnx", *words) == 0
    model = onnx.load("out.onnx")
    assert [(value.name, _dims(value)) for value in model.graph.input] == [
        ("ids", ["batch", "length"]),
        ("mask", ["batch", "length"]),
    ]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert "LayerNormalization" in [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("form", ["pt", "nested", "parallel", "safetensors"])
def test_weights_come_from_a_checkpoint(form: str, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(script.parent))
    import script_under_test

    net = script_under_test.net()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.add_(1)
    state = net.state_dict()
    path = Path("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        prefix = "module." if form == "parallel" else ""
        named = {prefix + name: tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, "state_dict": named} if form == "nested" else named, path)
    assert _export(f"{script}:net", "out.onnx", "--shape", "1,3,8,8", "--weights", path) == 0
    assert capsys.readouterr().err == ""
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    (found,) = onnxnorm.session("out.onnx").run(None, {onnx.load("out.onnx").graph.input[0].name: x})
    with torch.no_grad():
        np.testing.assert_allclose(found, net.eval()(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)


def test_programs_of_torch_export_are_targets(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.insert(0, str(script.parent))
    import script_under_test

    net, x = script_under_test.net().eval(), torch.randn(2, 3, 8, 8)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, "net.pt2")
    assert _export("net.pt2", "out.onnx") == 0
    for model in (onnx.load("out.onnx"), onnxnorm.export(program), onnxnorm.export("net.pt2", fold=True)):
        assert isinstance(_dims(model.graph.input[0])[0], str)
        (found,) = onnxnorm.session(model).run(None, {model.graph.input[0].name: x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, net(x).numpy(), rtol=1e-4, atol=1e-5)
    assert [node.op_type for node in onnx.load("out.onnx").graph.node] == ["Conv", "BatchNormalization", "Relu"]
    made = torch.onnx.export(net, (x,), dynamo=True, verbose=False, optimize=False)
    assert [node.op_type for node in onnxnorm.optimize(made).model.graph] == ["Conv", "Relu"]
    assert [node.op_type for node in onnxnorm.export(made, fold=True).graph.node] == ["Conv", "Relu"]
    capsys.readouterr()
    assert _export("net.pt2", "out.onnx", "--weights", "w.pt") == 2
    assert "leave --weights out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "words", "told", "untold"),
    [
        (":net", [], "--input name:int64:1,128", ""),
        (":Words", ["--shape", "1,6", "--shape", "1,6"], "--input ids:int64:", "torchscript"),
        (":Branches", ["--shape", "2,3"], "--exporter torchscript", "int64"),
        (":net", ["--shape", "1,5,8,8"], "does not run on these inputs", "torchscript"),
        (":Sized", ["--shape", "1,5"], "name a function that makes the model", ""),
        (":nett", [], "did you mean 'net'", ""),
        ("", [], ":factory", ""),
        (":net", ["--shape", "x:1,3,8,8"], "--input x:1,3,8,8", ""),
        (":net", ["--shape", "1,3,8,8", "--input", "x:1,3,8,8"], "not both", ""),
        (":net", ["--input", "x:int65:1,3"], "int64", ""),
        (":net", ["--shape", "1,3,8,8", "--weights", "nosuch.pt"], "no such file", ""),
        (":net", ["--shape", "1,3,8,8", "--weights", "other.pt"], "not the weights of Sequential", ""),
        (":net", ["--shape", "1,3,8,8", "--weights", "text.pt"], "text.pt: holds no weights, it is plain text", "("),
        (":net", ["--shape", "1,3,8,8", "--weights", "empty.pt"], "empty.pt: cannot be read as weights", "EOFError"),
        (":net", ["--shape", "1,3,8,8", "--weights", "whole.pt"], "save module.state_dict() alone", "trust"),
        (":Words", ["--input", "idz:int64:1,6", "--input", "mask:1,6"], "its forward takes ids", ""),
        (":Sized", ["--shape", "1,5"], "name a function", "factory.py"),
        (":net", ["--shape", "1,3,8,8", "--input-names", "a,b"], "2 names for the 1 inputs", ""),
        (":net", ["--shape", "1,3,8,8", "--output-names", "0.weight"], "taken", ""),
    ],
)
def test_hints_fit(
    target: str, words: list[str], told: str, untold: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"other": torch.zeros(1)}, "other.pt")
    torch.save(torch.nn.Linear(1, 1), "whole.pt")
    Path("text.pt").write_text("these are no weights\n")
    Path("empty.pt").write_bytes(b"")
    assert _export(f"{script}{target}", "out.onnx", *words) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert told in message
    assert not untold or untold not in message
    assert not Path("out.onnx").exists()


def test_a_script_named_as_a_module_and_a_checkpoint_named_as_a_model_are_told(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"w": torch.zeros(1)}, "net.pt")
    for target, told in (
        ("nets.script_under_test2:net", "no module"),
        ("nosuch.py:net", "no file 'nosuch.py'"),
        ("net.pt", "path/to/script.py:factory --weights net.pt"),
        ("net.pt2", "there is no such file"),
        ("net.onnx", "onnxnorm optimize net.onnx"),
    ):
        assert _export(target, "out.onnx") == 2
        assert told in capsys.readouterr().err
    with pytest.raises(onnxnorm.OnnxNormError, match=r"is no program .*takes a torch\.nn\.Module"):
        onnxnorm.export(script)
    assert not capsys.readouterr().err


def test_without_torch_the_hint_is_how_to_get_it(script: Path) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom onnxnorm.cli import main\n"
        f"sys.exit(main(['export', {f'{script}:net'!r}, 'out.onnx', '--shape', '1,3,8,8']))"
    )
    root = Path(onnxnorm.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.returncode == 2
    assert 'pip install "onnxnorm[torch]"' in done.stderr
    assert done.stderr.count("\n") == 1
