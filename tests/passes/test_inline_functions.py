"""Tests of the pass `inline_functions`: which functions go into the places of their calls."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxnorm
from testing.builder import count, same_in_onnxruntime

LINEAR = {
    "Conv": "Conv (X, W)",
    "ConvTranspose": "ConvTranspose (X, W)",
    "Gemm": "Gemm (X, W)",
    "MatMul": "MatMul (X, W)",
}


def _model(body: str, *, normalizes: bool, domain: str = "modules") -> onnx.ModelProto:
    """A function of one module, called between two nodes of the graph, the second a BatchNormalization or a Sigmoid."""
    image = "Conv" in body
    behind = "BatchNormalization (y, s, s, s, s)" if normalizes else "Sigmoid (y)"
    shape, weight = ("1, 3, 5, 5", "3, 3, 1, 1") if image else ("2, 3", "3, 3")
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "{domain}": 1]>
        g (float[{shape}] x) => (float[{shape}] z) <float[3] s, float[{weight}] w>
        {{ t = Tanh (x)  y = {domain}.Layer (t, w)  z = {behind} }}
        <domain: "{domain}", opset_import: ["": 17]> Layer (X, W) => (Y) {{ Y = {body} }}"""
    )
    random = np.random.default_rng(0)
    del model.graph.initializer[:]
    for name, extents in (("s", (3,)), ("w", (3, 3, 1, 1) if image else (3, 3))):
        model.graph.initializer.append(
            numpy_helper.from_array(random.uniform(0.5, 1, extents).astype(np.float32), name)
        )
    return model


@pytest.mark.parametrize("target", ["portable", "onnxruntime"])
@pytest.mark.parametrize("op_type", LINEAR)
def test_a_function_that_absorbs_what_stands_behind_its_call_is_opened(op_type: str, target: str) -> None:
    model = _model(LINEAR[op_type], normalizes=True)
    result = onnxnorm.optimize(model, target=target).model
    assert count(result, "BatchNormalization") == count(result, "Layer") == 0
    same_in_onnxruntime(model, result)


@pytest.mark.parametrize(
    ("body", "normalizes", "domain"),
    [("Conv (X, W)", False, "modules"), ("Relu (X)", True, "modules"), ("Conv (X, W)", True, "com.microsoft.own")],
)
def test_a_function_stays_where_nothing_is_to_be_gained(body: str, normalizes: bool, domain: str) -> None:
    model = _model(body, normalizes=normalizes, domain=domain)
    result = onnxnorm.optimize(model, passes=("inline_functions",), verify=False).model
    assert len(result.functions) == 1


@pytest.mark.parametrize("target", ["portable", "openvino", "tensorrt", "web"])
@pytest.mark.parametrize("body", ["Mul (X, S)", "Neg (X)", "Relu (X)"])
def test_where_the_target_knows_no_functions_none_stops_an_affine(body: str, target: str) -> None:
    """Each call would be opened in the end, and a second run would find what stopped at it."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "modules": 1]>
        g (float[2, 3] x) => (float[2, 3] z) <float[3] s, float[3, 3] w, float[3, 3] v>
        {{ a = MatMul (x, w)  b = modules.Layer (a, s)  c = Mul (b, s)  z = MatMul (c, v) }}
        <domain: "modules", opset_import: ["": 17]> Layer (X, S) => (Y) {{ Y = {body} }}"""
    )
    random = np.random.default_rng(0)
    del model.graph.initializer[:]
    for name, extents in (("s", (3,)), ("w", (3, 3)), ("v", (3, 3))):
        weight = random.uniform(0.5, 1, extents).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    result = onnxnorm.optimize(model, target=target).model
    assert count(result, "Layer", "Mul", "Neg") == 0
    assert not onnxnorm.optimize(result, target=target, verify=False).rewrites
    same_in_onnxruntime(model, result)
