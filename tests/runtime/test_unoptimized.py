"""Sessions with onnxruntime's optimizations off."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

import onnxnorm
from onnxnorm.runtime.unoptimized import open_session

_MODEL = """
    <ir_version: 4, opset_import: ["" : {opset}]>
    net (float[1, 2, 2] x) => (float[1, 2, 2] y)
    <float[2] scale = {{2, -1}}, float[2] bias = {{0.5, 1}}, float[2] mean = {{1, -2}}, float[2] var = {{4, 0.25}}>
    {{ h = Abs(x)  y = BatchNormalization <epsilon = 0.0> (h, scale, bias, mean, var) }}
"""


@pytest.mark.parametrize("opset", [7, 8])
@pytest.mark.parametrize("left_out", [0, 4])
def test_outputs_that_are_left_out_do_not_end_the_process(opset: int, left_out: int) -> None:
    model = parser.parse_model(_MODEL.format(opset=opset))
    model.graph.node[1].output.extend([""] * left_out)
    before = model.SerializeToString()
    x = np.array([[[3.0, -5.0], [7.0, 0.0]]], np.float32)
    (y,) = open_session(model, "off").run(None, {"x": x})
    np.testing.assert_allclose(y, [[[2.5, 4.5], [-17.0, -3.0]]], rtol=1e-6)
    assert model.SerializeToString() == before
    assert onnxnorm.verify(model, onnxnorm.optimize(model).model).passed
