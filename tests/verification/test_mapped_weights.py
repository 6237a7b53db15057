"""Weights of a file stay in it while a model is verified, wherever they lie and however the file is reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.io import model_source, read
from onnxnorm.io.model_source import ModelSource
from onnxnorm.model.file_map import map_behind
from onnxnorm.model.held import HeldWeights, held_arrays, let_go
from onnxnorm.verification.message import message_of
from onnxnorm.verification.verify import verify

_WIDTH = 192


def _model(producer: str = "test") -> onnx.ModelProto:
    random = np.random.default_rng(0)
    draws = [random.standard_normal((_WIDTH, _WIDTH)).astype(np.float32) / _WIDTH**0.5 for _ in range(3)]
    weights = [numpy_helper.from_array(draw, f"w{i}") for i, draw in enumerate(draws)]
    nodes = [helper.make_node("MatMul", [f"v{i}" if i else "x", f"w{i}"], [f"v{i + 1}"], f"m{i}") for i in range(3)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, _WIDTH]) for name in ("x", "v3")]
    graph = helper.make_graph(nodes, "products", values[:1], values[1:], weights)
    return helper.make_model(graph, producer_name=producer, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _in_one_file(model: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def _with_data(model: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir()
    # What is saved so is changed.
    model = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.data")
    return folder / "model.onnx"


def _through_links(model: onnx.ModelProto, folder: Path) -> Path:
    """As caches of models have it: links into one folder of contents."""
    _with_data(model, folder)
    blobs, snapshot = folder / "blobs", folder / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    for name, content in (("model.onnx", "0123"), ("model.data", "4567")):
        (folder / name).rename(blobs / content)
        (snapshot / name).symlink_to(blobs / content)
    return snapshot / "model.onnx"


_FORMS = {"one file": _in_one_file, "data beside": _with_data, "links": _through_links}


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_source, "_LARGEST", 0)
    monkeypatch.setattr(read, "_SKIMMED_FROM", 0)


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("form", _FORMS.values(), ids=list(_FORMS))
def test_large_weights_stay_in_their_files(form: Callable[[onnx.ModelProto, Path], Path], tmp_path: Path) -> None:
    model = _model()
    held = HeldWeights()
    message = message_of(ModelSource(form(model, tmp_path / "files")), held)
    arrays = held_arrays(message)
    assert sorted(arrays) == ["w0", "w1", "w2"]
    assert all(map_behind(array) is not None for array in arrays.values())
    assert message.ByteSize() < 4096
    for _ in range(2):
        for tensor in model.graph.initializer:
            np.testing.assert_array_equal(arrays[tensor.name], numpy_helper.to_array(tensor))
        let_go(message)


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("form", _FORMS.values(), ids=list(_FORMS))
def test_a_weight_in_a_file_that_is_off_is_found(form: Callable[[onnx.ModelProto, Path], Path], tmp_path: Path) -> None:
    model, other = _model(), _model()
    values = numpy_helper.to_array(other.graph.initializer[1]).copy()
    values[3, 5] += np.float32(0.01)
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(values, "w1"))
    path = form(model, tmp_path / "a")
    assert verify(path, form(model, tmp_path / "b"))
    report = verify(path, form(other, tmp_path / "c"))
    assert not report and report.place is not None and report.place.node == "m1"


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("shift", range(4))
def test_weights_in_a_model_file_may_begin_at_any_byte(shift: int, tmp_path: Path) -> None:
    path = _in_one_file(_model("p" * (20 + shift)), tmp_path / "files")
    assert verify(path, _model())


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize("form", [_in_one_file, _with_data], ids=["one file", "data beside"])
@pytest.mark.parametrize("has_kernels", [True, False], ids=["stored so", "computed so"])
def test_bfloat16_stays_in_its_file_too(
    has_kernels: bool, form: Callable[[onnx.ModelProto, Path], Path], tmp_path: Path
) -> None:
    model = _in_bfloat16(has_kernels)
    path = form(model, tmp_path / "a")
    held = HeldWeights()
    arrays = held_arrays(message_of(ModelSource(path), held))
    assert sorted(arrays) == ["w0", "w1", "w2"]
    for tensor in model.graph.initializer:
        assert map_behind(arrays[tensor.name]) is not None
        np.testing.assert_array_equal(arrays[tensor.name], numpy_helper.to_array(tensor))
    # The other model is in memory: its weights reach onnxruntime in another way.
    assert verify(path, model)
    values = -numpy_helper.to_array(model.graph.initializer[1])
    other = onnx.ModelProto.FromString(model.SerializeToString())
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(values, "w1"))
    assert not verify(path, other)
    assert not verify(model, form(other, tmp_path / "b"))


def _in_bfloat16(has_kernels: bool) -> onnx.ModelProto:
    """Return the products with weights in bfloat16, computed in float32 or in bfloat16 too."""
    model = _model()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    if has_kernels:
        products = list(model.graph.node)
        del model.graph.node[:]
        for i, product in enumerate(products):
            product.input[1] = f"wide{i}"
            model.graph.node.extend([helper.make_node("Cast", [f"w{i}"], [f"wide{i}"], f"c{i}", to=TensorProto.FLOAT)])
            model.graph.node.append(product)
    else:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return model


def test_elements_in_memory_lie_in_no_file() -> None:
    assert map_behind(np.ones(3)[1:]) is None
