"""Tests that arguments of the wrong kind are told by their names, for every public function that takes models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import onnxnorm
from testing.builder import Builder

Call = Callable[[onnx.ModelProto], Any]


def _model() -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.node("Conv", b.input((1, 3, 6, 6)), b.constant(b.normal(4, 3, 3, 3)))
    return b.model(b.node("Sigmoid", b.batch_norm(x, 4, name="norm")))


def _saved(**options: Any) -> Call:
    return lambda model: onnxnorm.optimize(model, verify=False).save(**options)


def _optimized(**options: Any) -> Call:
    return lambda model: onnxnorm.optimize(model, **{"verify": False, **options})


def _verified(**options: Any) -> Call:
    return lambda model: onnxnorm.verify(model, model, **options)


def _opened(**options: Any) -> Call:
    return lambda model: onnxnorm.session(model, **options)


CALLS: dict[str, tuple[Call, str]] = {
    "passes": (_optimized(passes=3), "passes is a list, such as"),
    "target None": (_optimized(target=None), "there is no target None; there are: portable"),
    "target": (_optimized(target=3), "there is no target 3; there are: portable"),
    "keep": (_optimized(keep=3), "keep is a list of names"),
    "keep of numbers": (_optimized(keep=[3]), "keep is a list of names"),
    "verify": (_optimized(verify="no"), "verify is True or False, not 'no'"),
    "freeze_inputs": (_optimized(freeze_inputs="no"), "freeze_inputs is True or False, not 'no'"),
    "runtime": (_optimized(runtime=1.16), "a runtime is a name, or a name and a version"),
    "workspace": (_optimized(workspace=3), "workspace is a path, not a int"),
    "normalize_input": (_optimized(normalize_input="imagenet"), "normalize_input is a dictionary"),
    "normalize_input of numbers": (_optimized(normalize_input=(1, 2)), "normalize_input is a dictionary"),
    "session_options": (_optimized(session_options={}), "session_options is an onnxruntime.SessionOptions, not a dict"),
    "shapes": (_verified(shapes="1,3,6,6"), "shapes is a dictionary"),
    "a shape": (_verified(shapes={"x": 5}), "shapes: the shape of 'x' is 5; it is a number for each axis"),
    "a shape of names": (_verified(shapes={"x": ("N", 3, 6, 6)}), "it is a number for each axis"),
    "samples": (_verified(samples="2"), "samples is a whole number of at least 1, not '2'"),
    "no samples": (_verified(samples=0), "samples is a whole number of at least 1, not 0"),
    "seed": (_verified(seed=-1), "seed is a whole number of at least 0, not -1"),
    "strict": (_verified(strict="yes"), "strict is True or False, not 'yes'"),
    "atol": (_verified(atol="a"), "atol is a number, not 'a'"),
    "cosine": (_verified(cosine=True), "cosine is a number, not True"),
    "inputs": (_verified(inputs=3), "inputs is a dictionary of arrays, a list of such or a .npz file, not 3"),
    "bisect": (_verified(bisect=True), "bisect is a path, not a bool"),
    "options of verify": (
        _verified(session_options=[]),
        "session_options is an onnxruntime.SessionOptions, not a list",
    ),
    "sess_options": (_opened(sess_options={}), "sess_options is an onnxruntime.SessionOptions, not a dict"),
    "threads": (_opened(threads="2"), "threads is a whole number of at least 0, not '2'"),
    "providers": (_opened(providers="CPUExecutionProvider"), "providers is a list, such as"),
    "path None": (_saved(path=None), "path is a path, not None"),
    "path": (_saved(path=1), "path is a path, not a int"),
    "shard_size": (_saved(path="m.onnx", shard_size="2GB"), "shard_size must be at least 1 byte, not '2GB'"),
    "external_data": (_saved(path="m.onnx", external_data="m.data"), "external_data is True or False, not 'm.data'"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_kind_is_told_by_the_name_of_the_argument(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, told = CALLS[name]
    with pytest.raises(onnxnorm.OnnxNormError) as caught:
        call(_model())
    assert told in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_is_right_passes(tmp_path: Any) -> None:
    model = _model()
    result = onnxnorm.optimize(model, keep=None, freeze_inputs=None, workspace=tmp_path, verify=np.True_)
    result.save(str(tmp_path / "m.onnx"), external_data=True)
    shapes = {"x": np.array((1, 3, 6, 6))}
    assert onnxnorm.verify(model, tmp_path / "m.onnx", samples=np.int64(1), shapes=shapes, strict=False).passed
    onnxnorm.session(model, providers=("CPUExecutionProvider",), threads=1)
