"""Data of a model that was replaced go, also where the process that replaced it died before it removed them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm

_HAS_MARKS = hasattr(os, "setxattr")


class DiedError(BaseException):
    """Stands for the end of the process."""


def _model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.skipif(not _HAS_MARKS, reason="the system marks no files")
@pytest.mark.parametrize("external", [False, True])
def test_a_death_between_the_new_model_and_the_old_data_leaves_nothing_in_the_end(
    external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, result = tmp_path / "m.onnx", onnxnorm.optimize(_model(), verify=False)
    result.save(target, external_data=True)
    (old,) = {path.name for path in tmp_path.iterdir()} - {"m.onnx"}

    def dies(*_: object, **__: object) -> None:
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr("onnxnorm.io.replace.clean", dies)
        patched.setattr("onnxnorm.io.write.clean", dies)
        with pytest.raises(DiedError):
            result.save(target, external_data=external)
    assert old in {path.name for path in tmp_path.iterdir()}
    onnx.checker.check_model(str(target))
    result.save(target, external_data=external)
    onnx.checker.check_model(str(target))
    assert len(list(tmp_path.iterdir())) == 1 + external
