"""Operands as they were aligned before opset 7: the expectation is NumPy's result with the axes written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.graph.facts import Facts

Array = npt.NDArray[Any]
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
}
LOGIC: dict[str, Callable[..., Any]] = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}


def computed(op_type: str, x: Array, y: Array, opset: int, **attributes: int) -> Array:
    node = helper.make_node(op_type, ["x", "y"], ["z"], **attributes)
    kinds = [helper.np_dtype_to_tensor_dtype(each.dtype) for each in (x, y)]
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(("x", "y"), kinds, strict=True)]
    outputs = [helper.make_tensor_value_info("z", TensorProto.UNDEFINED, None)]
    graph = helper.make_graph([node], "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    found: Array = evaluate_float64(model, {"x": x, "y": y})["z"]
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([*ARITHMETIC, *LOGIC]),
    st.lists(st.integers(1, 3), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([1, 6]),
    st.integers(0, 99),
)
def test_the_second_operand_lies_along_the_axes_that_the_node_names(
    op_type: str, shape: list[int], start: int, length: int, opset: int, seed: int
) -> None:
    start = start % len(shape)
    own = shape[start : start + length]
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(0.5, 2, each) for each in (shape, own))
    if op_type in LOGIC:
        x, y = x > 1, y > 1
    elif op_type == "Equal":
        x, y = x.round().astype(np.int64), y.round().astype(np.int64)
    spread = y.reshape([n if start <= axis < start + len(own) else 1 for axis, n in enumerate(shape)])
    wanted = {**ARITHMETIC, **LOGIC}[op_type](x, spread)
    np.testing.assert_array_equal(computed(op_type, x, y, opset, broadcast=1, axis=start), wanted)


@pytest.mark.parametrize("opset", [7, 13])
def test_later_opsets_align_by_the_last_axes(opset: int) -> None:
    x, y = np.arange(9.0).reshape(3, 3), np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(computed("Mul", x, y, opset), x * y)


def test_slopes_are_one_for_each_channel_before_opset_7() -> None:
    x, slopes = -np.ones((2, 3, 3, 3)), np.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(computed("PRelu", x, slopes, 6), x * slopes[:, None, None])
    np.testing.assert_array_equal(computed("PRelu", x, slopes, 7), x * slopes)


@pytest.mark.parametrize("extent", [4, 6])
def test_a_model_that_onnxruntime_has_no_kernels_for_is_folded_and_proved(extent: int) -> None:
    """Conv, then a scale and a shift along the channels, as converters wrote them; square maps hide a wrong axis."""
    rng = np.random.default_rng(0)
    weights, scale, shift = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 3, 1, 1), 4, 4))
    old = onnx.parser.parse_model(
        f"""<ir_version: 4, opset_import: ["": 6]> g (float[1, 3, {extent}, {extent}] x) => (float[1, 4, h, w] z)
        {{ y = Conv (x, weights) s = Mul <axis = 1, broadcast = 1> (y, scale)
        z = Add <axis = 1, broadcast = 1> (s, shift) }}"""
    )
    named = {"weights": weights, "scale": scale, "shift": shift}
    old.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in named.items())
    result = onnxnorm.optimize(old)
    assert [node.op_type for node in result.model.graph.node] == ["Conv"]
    assert result.report is not None and result.report.passed
    x = rng.standard_normal((1, 3, extent, extent)).astype(np.float32)
    wanted = np.einsum("oi,nihw->nohw", weights[:, :, 0, 0], x) * scale[:, None, None] + shift[:, None, None]
    session = onnxruntime.InferenceSession(onnxnorm.optimize(old, opset=13).model.SerializeToString())
    np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, rtol=1e-4, atol=1e-5)
    broken = onnx.ModelProto()
    broken.CopyFrom(old)
    for node in broken.graph.node[1:]:
        del node.attribute[:]
        node.attribute.extend([helper.make_attribute("axis", 3), helper.make_attribute("broadcast", 1)])
    if extent == 4:
        assert not onnxnorm.verify(old, broken)


def test_constants_of_old_models_are_computed_by_their_own_rules() -> None:
    """A square weight, whose rows another rule would take for its columns."""
    weight, scale = np.arange(9, dtype=np.float32).reshape(3, 3), np.array([1, 10, 100], np.float32)
    model = onnx.parser.parse_model(
        """<ir_version: 4, opset_import: ["": 6]> g (float[2, 3] x) => (float[2, 3] y)
        <float[3, 3] weight = {0, 1, 2, 3, 4, 5, 6, 7, 8}, float[3] scale = {1, 10, 100}>
        { scaled = Mul <axis = 0, broadcast = 1> (weight, scale) y = MatMul (x, scaled) }"""
    )
    loaded = ir.from_proto(model)
    scaled = next(iter(loaded.graph)).outputs[0]
    scaled.type, scaled.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape((3, 3))
    np.testing.assert_array_equal(Facts(loaded).constant(scaled), weight * scale[:, None])
