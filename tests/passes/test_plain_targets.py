"""Targets without functions get plain files: what is known when the file is written is resolved, nothing changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxnorm import optimize as optimize_and_verify
from onnxnorm import reference
from onnxnorm.ops.attach import attach_bodies
from onnxnorm.passes.targets import TARGETS

Array = npt.NDArray[Any]
PLAIN = [name for name, target in TARGETS.items() if not target.knows_functions]
WINDOWS = {
    "IntraChannelLRN": [
        ((1, 16, 5, 6), [2, 3]),
        ((2, 3, 7), [4]),
        ((1, 2, 5, 6), [3, 2]),
        ((1, 2, 5, 4), [1, 1]),
        ((1, 2, 3, 4, 5), [3, 1, 2]),
    ],
    "InterChannelLRN": [((3, 6), 3), ((2, 6, 5), 4), ((2, 7, 3, 2), 5), ((1, 5, 2, 3, 2), 2), ((2, 5, 4), 1)],
}
CASES = [(op_type, *case) for op_type, cases in WINDOWS.items() for case in cases]
UNITS = {np.float32: 24 * 2.0**-23, np.float16: 2 * 2.0**-10, np.float64: 32 * 2.0**-52}


def optimize(model: onnx.ModelProto, *, target: str = "portable") -> Any:
    """Optimize without the proof: the tests compare with formulas, and some models do not run as they are."""
    return optimize_and_verify(model, target=target, verify=False)


def custom(op_type: str, shape: Any, window: Any, *, opset: int = 18, dtype: Any = np.float32, **more: float) -> Any:
    """Return a model that is one custom operator, with its body."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = [helper.make_tensor_value_info(name, element, shape) for name in "XY"]
    attributes = {"kernel_shape" if op_type == "IntraChannelLRN" else "size": window, **more}
    node = helper.make_node(op_type, ["X"], ["Y"], name="n", domain="onnxnorm", **attributes)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("onnxnorm", 1)]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=imports, ir_version=10 if opset > 18 else 8)
    attach_bodies(model)
    return model


def run(model: onnx.ModelProto, feeds: dict[str, Array], *, optimized: bool = True) -> list[Array]:
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    results: list[Array] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return results


def assert_plain(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert not model.functions
    assert [entry.domain for entry in model.opset_import] == [""]
    operators = {node.op_type for node in model.graph.node}
    assert operators.isdisjoint({"If", "CastLike", "Constant", "Shape", "Identity"})
    assert all(attribute.name != "auto_pad" for node in model.graph.node for attribute in node.attribute)
    names = [node.name for node in model.graph.node]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("op_type", "shape", "window"), CASES)
@pytest.mark.parametrize(("opset", "dtype"), [(15, np.float32), (18, np.float16), (18, np.float64), (21, np.float32)])
def test_custom_operators_become_plain_ones(op_type: str, shape: Any, window: Any, opset: int, dtype: Any) -> None:
    constants = {"alpha": 0.5, "beta": 0.75, "bias": 2.0}
    model = custom(op_type, shape, window, opset=opset, dtype=dtype, **constants)
    after = optimize(model).model
    assert_plain(after)
    # A converter that misses the mode of a Pad pads nothing.
    assert all("mode" in {given.name for given in node.attribute} for node in after.graph.node if node.op_type == "Pad")
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    formula = getattr(reference, {"IntraChannelLRN": "intra_channel_lrn"}.get(op_type, "inter_channel_lrn"))
    wanted = formula(x, window, **constants)
    for optimized in (True, False):
        (y,) = run(after, {"X": x}, optimized=optimized)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, wanted, rtol=UNITS[dtype])


@pytest.mark.parametrize("shape", [(1, 16, 9, 8), (1, 3, 9, 8)])
@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("target", PLAIN)
def test_no_plain_file_relies_on_padding_that_a_runtime_counts_wrong(target: str, opset: int, shape: Any) -> None:
    """OpenCV 4 counts no padding, onnxruntime 1.21 to 1.24 counts it wrong from opset 19 on."""
    for op_type, window in (("IntraChannelLRN", [3, 5]), ("InterChannelLRN", 4)):
        nodes = optimize(custom(op_type, shape, window, opset=opset), target=target).model.graph.node
        pads = [{a.name for a in node.attribute} & {"pads"} for node in nodes if node.op_type == "AveragePool"]
        assert not any(pads) or (opset < 19 and TARGETS[target].counts_padding)


@pytest.mark.parametrize("beta", [0.25, 0.5, 0.6, 0.75, 0.9, 1.0, -0.5])
@pytest.mark.parametrize("alpha", [0.5, -0.01])
def test_every_power_is_resolved(beta: float, alpha: float) -> None:
    after = optimize(custom("IntraChannelLRN", (1, 2, 5, 5), [3, 3], alpha=alpha, beta=beta, bias=2.0)).model
    assert_plain(after)
    assert len(after.graph.node) <= 9
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 5)).astype(np.float32)
    wanted = reference.intra_channel_lrn(x, [3, 3], float(np.float32(alpha)), float(np.float32(beta)), 2.0)
    np.testing.assert_allclose(run(after, {"X": x})[0], wanted, rtol=UNITS[np.float32])


@pytest.mark.parametrize("target", PLAIN)
def test_every_plain_target_gets_a_plain_file(target: str) -> None:
    assert_plain(optimize_and_verify(custom("IntraChannelLRN", (1, 2, 5, 5), [3, 3]), target=target).model)


def test_onnxruntime_keeps_the_operator_and_its_body() -> None:
    after = optimize(custom("IntraChannelLRN", (1, 2, 5, 5), [3, 3]), target="onnxruntime").model
    assert [node.op_type for node in after.graph.node] == ["IntraChannelLRN"]
    assert [function.name for function in after.functions] == ["IntraChannelLRN"]


@pytest.mark.parametrize("op_type", ["IntraChannelLRN", "InterChannelLRN"])
def test_an_infinity_reaches_its_windows_alone(op_type: str) -> None:
    shape, window = ((1, 2, 9), [3]) if op_type == "IntraChannelLRN" else ((1, 9, 1), 3)
    x = np.ones(shape)
    flat = x.reshape(-1)
    flat[0] = np.inf
    y = run(optimize(custom(op_type, shape, window, dtype=np.float64)).model, {"X": x})[0].reshape(-1)
    assert np.isnan(y[0]) and y[1] == 0
    assert np.isfinite(y[2:9]).all() and (y[2:9] > 0).all()


def test_an_unknown_rank_leaves_the_body_in_place() -> None:
    model = custom("InterChannelLRN", None, 3)
    after = optimize(model).model
    assert not after.functions and all(node.domain != "onnxnorm" for node in after.graph.node)
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(run(after, {"X": x})[0], reference.inter_channel_lrn(x, 3), rtol=UNITS[np.float32])


FUNCTION = """
    <ir_version: 8, opset_import: ["": 17, "own": 1]>
    g (float[1, 2, 6, 7] X) => (float[1, 2, N, M] Y) {
        A = own.Twice <by = 2.0> (X)
        Y = own.Twice <by = 3.0> (A)
    }
    <domain: "own", opset_import: ["": 17]>
    Twice <by> (x) => (y) {
        factor = Constant <value_float: float = @by> ()
        like = CastLike (factor, x)
        twice = Mul (x, like)
        y = Tanh (twice)
    }"""


@pytest.mark.parametrize("target", TARGETS)
def test_functions_stay_only_where_they_are_known(target: str) -> None:
    model = onnx.parser.parse_model(FUNCTION)
    after = optimize(model, target=target).model
    assert bool(after.functions) == TARGETS[target].knows_functions
    if not TARGETS[target].knows_functions:
        assert_plain(after)
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 7)).astype(np.float32)
    np.testing.assert_allclose(run(after, {"X": x})[0], run(model, {"X": x}, optimized=False)[0], rtol=1e-6)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("Conv", {"strides": [2, 1]}),
        ("MaxPool", {"strides": [2, 2]}),
        ("AveragePool", {"strides": [1, 1]}),
        ("AveragePool", {"strides": [2, 2], "count_include_pad": 1}),
    ],
)
def test_pads_are_said(op_type: str, attributes: dict[str, Any], mode: str) -> None:
    model = _padded(op_type, (1, 2, 8, 9), auto_pad=mode, **attributes)
    after = optimize(model).model
    assert_plain(after)
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 9)).astype(np.float32)
    wanted = run(model, {"X": x}, optimized=False)[0]
    np.testing.assert_allclose(run(after, {"X": x}, optimized=False)[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("extents", "strides", "ceil_mode", "said"),
    [((None, None), [1, 1], 0, True), ((None, None), [2, 1], 0, False), ((8, 9), [2, 2], 1, False)],
)
def test_pads_that_depend_on_the_input_are_left(extents: Any, strides: list[int], ceil_mode: int, said: bool) -> None:
    model = _padded("MaxPool", (1, 2, *extents), auto_pad="SAME_UPPER", strides=strides, ceil_mode=ceil_mode)
    (pool,) = [node for node in optimize(model).model.graph.node if node.op_type == "MaxPool"]
    assert ("auto_pad" in [attribute.name for attribute in pool.attribute]) != said


def _padded(op_type: str, shape: Any, **attributes: Any) -> onnx.ModelProto:
    weight = np.random.default_rng(1).standard_normal((2, 2, 3, 2)).astype(np.float32)
    constants = [onnx.numpy_helper.from_array(weight, "W")] if op_type == "Conv" else []
    node = helper.make_node(op_type, ["X", *["W"] * len(constants)], ["A"], kernel_shape=[3, 2], **attributes)
    # What follows keeps the model from the shorter way of plain networks.
    half = helper.make_node("Constant", [], ["half"], value_float=0.5)
    values = [
        helper.make_tensor_value_info("X", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("Y", TensorProto.FLOAT, (1, 2, None, None)),
    ]
    graph = helper.make_graph(
        [node, half, helper.make_node("Mul", ["A", "half"], ["B"]), helper.make_node("Sin", ["B"], ["Y"])],
        "g",
        values[:1],
        values[1:],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_names_of_nodes_are_made_unique_and_constants_of_branches_hold_tensors() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (bool C, float[4] X) => (float[4] Y) {
            [same] A = Exp (X)
            [same] B = Sin (A)
            Y = If (C) <
                then_branch = t () => (float[4] T) {
                    two = Constant <value_float = 2.0> ()
                    [same] T = Pow (B, two)
                },
                else_branch = e () => (float[4] E) { [same] E = Cos (B) }
            >
        }"""
    )
    after = optimize(model).model
    inner = [node for attribute in after.graph.node[-1].attribute for node in attribute.g.node]
    names = [node.name for node in (*after.graph.node, *inner)]
    assert len(names) == len(set(names)) and "same" in names
    assert [[attribute.name for attribute in node.attribute] for node in inner if node.op_type == "Constant"] in (
        [],
        [["value"]],
    )
