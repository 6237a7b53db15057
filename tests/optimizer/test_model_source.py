"""A file is opened once, whatever is done with it, unless it is large; what comes out does not depend on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxnorm
from onnxnorm import cli
from onnxnorm.errors import OnnxNormError
from onnxnorm.io import model_source
from onnxnorm.io.model_source import ModelSource
from testing.builder import Builder, affines

_OPENED: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        _OPENED.append(os.fsdecode(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def _listening() -> None:
    # A hook stays for the life of the process; it only writes names down.
    sys.addaudithook(_hook)


def _model(plain: bool) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.affine(b.conv(b.input((2, 3, 5)), 3, 4), (1.0, 2.0, 3.0, 4.0), (0.1, 0.2, 0.3, 0.4))
    return b.model(b.node("Relu", x) if plain else b.node("PRelu", x, b.node("Exp", b.input((4, 1), "slope"))))


def _opened(path: Path, work: Callable[[], object]) -> int:
    _OPENED.clear()
    work()
    return sum(Path(name) == path for name in _OPENED)


@pytest.mark.parametrize("plain", [False, True])
def test_a_small_file_is_opened_once(plain: bool, tmp_path: Path) -> None:
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(_model(plain), path)
    assert _opened(path, lambda: onnxnorm.optimize(path, verify=False)) == 1
    assert _opened(path, lambda: onnxnorm.optimize(path, verify=True)) == 1
    assert _opened(path, lambda: cli.main(["optimize", str(path), str(output)])) == 1
    assert _opened(path, lambda: cli.main(["optimize", str(path), str(output), "--no-verify"])) == 1
    assert _opened(path, lambda: onnxnorm.verify(path, output)) == 1
    assert affines(onnx.load(output)) == 0


def test_a_large_file_gives_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.onnx"
    onnx.save(_model(False), path)
    small = onnxnorm.optimize(path, verify=True).model
    monkeypatch.setattr(model_source, "_LARGEST", 100)
    assert onnxnorm.optimize(path, verify=True).model == small


def test_each_graph_is_a_copy_and_the_message_stays(tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    onnx.save(_model(False), path)
    source = ModelSource(path)
    before = source.message.SerializeToString(deterministic=True)
    first, second = source.graph(), source.graph()
    assert first is not second and isinstance(first, ir.Model)
    first.graph[0].name = "changed"
    assert second.graph[0].name != "changed"
    assert source.message.SerializeToString(deterministic=True) == before


def test_a_file_that_refers_to_others_is_read_with_its_data(tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    onnx.save(_model(False), path, save_as_external_data=True, location="data", size_threshold=0)
    source = ModelSource(path)
    assert source.message is None
    assert affines(onnxnorm.optimize(path, verify=True).model) == 0


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    model = _model(False)
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, path)
    with pytest.raises(OnnxNormError, match=str(path)):
        onnxnorm.optimize(path, verify=False)


class _Counted(ir.Tensor):
    """A weight that counts how often its bytes are made."""

    serialized = 0

    def tobytes(self) -> bytes:
        self.serialized += 1
        return super().tobytes()


def test_the_bytes_of_a_weight_are_made_at_most_once() -> None:
    b = Builder(dtype=np.float32)
    x = b.affine(b.conv(b.input((2, 3, 5)), 3, 64), np.linspace(0.5, 2.0, 64), np.linspace(-1.0, 1.0, 64))
    original = b.model(b.conv(b.node("Sigmoid", x), 64, 64))

    def counted() -> tuple[ir.Model, list[_Counted]]:
        model = ir.from_proto(original)
        weights = []
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            if value.const_value.size > 1000:
                weights.append(_Counted(value.const_value.numpy(), name=value.name))
                value.const_value = weights[-1]
        return model, weights

    model, weights = counted()
    assert len(weights) == 1
    result = onnxnorm.optimize(model, verify=False)
    assert [weight.serialized for weight in weights] == [0]
    assert onnxnorm.verify(model, result.model).passed
    assert weights[0].serialized <= 1
    model, weights = counted()
    assert affines(ir.to_proto(onnxnorm.optimize(model, verify=True).model)) == 0
    # Once more by the line above, which makes a message of the result.
    assert weights[0].serialized <= 2
