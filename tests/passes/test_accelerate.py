"""LRN in the form that is fastest where the model runs: the same numbers, nothing lost, a reason where it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnorm import optimize, reference, session, verify

Array = npt.NDArray[Any]
PASSES = ("infer_shapes", "accelerate", "clean", "account")


def lrn_model(
    shape: tuple[int, ...], *, opset: int = 18, element: int = TensorProto.FLOAT, **attributes: Any
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, element, shape) for name in "XY"]
    node = helper.make_node("LRN", ["X"], ["Y"], name="lrn", **attributes)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]), opset_imports=imports, ir_version=8
    )


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    result = optimize(model, passes=PASSES, verify=False)
    assert isinstance(result.model, onnx.ModelProto)
    onnx.checker.check_model(result.model, full_check=True)
    return result.model


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, x: Array) -> Array:
    y: Array = session(model, threads=1).run(None, {"X": x})[0]
    return y


@pytest.mark.parametrize("shape", [(2, 7, 5), (2, 7, 4, 5), (1, 1, 3, 3), (1, 3, 1, 1)])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.75, 1.0, 0.6, -0.5])
def test_written_out_it_is_the_formula(shape: tuple[int, ...], size: int, beta: float) -> None:
    x = np.random.default_rng(size).standard_normal(shape).astype(np.float32)
    model = written_out(lrn_model(shape, size=size, alpha=0.5, beta=beta, bias=2.0))
    assert "LRN" not in operators(model)
    assert ("Pow" in operators(model)) == (beta in (0.6, -0.5))
    wanted = reference.inter_channel_lrn(x, size, 0.5, float(np.float32(beta)), 2.0)
    np.testing.assert_allclose(run(model, x), wanted, rtol=12 * 2.0**-23)


@pytest.mark.parametrize("opset", [7, 9, 12, 13, 21])
def test_written_out_for_every_opset(opset: int) -> None:
    shape = (1, 6, 3, 4)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model = written_out(lrn_model(shape, opset=opset, size=3))
    # From opset 19 on onnxruntime's pools over channels are slow.
    assert operators(model).count("AveragePool") == (opset < 19)
    np.testing.assert_allclose(run(model, x), reference.inter_channel_lrn(x, 3), rtol=12 * 2.0**-23)


def test_dimensions_that_nobody_knows() -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 4)).astype(np.float32)
    model = written_out(lrn_model(("n", 5, "h", "w"), size=3))  # type: ignore[arg-type]
    assert "LRN" not in operators(model)
    np.testing.assert_allclose(run(model, x), reference.inter_channel_lrn(x, 3), rtol=12 * 2.0**-23)


def test_squares_that_overflow_stay_in_their_windows() -> None:
    x = np.ones((1, 9, 2, 2), np.float32)
    x[0, 0], x[0, 8, 0, 0] = 1e30, np.inf
    y = run(written_out(lrn_model(x.shape, size=3)), x)
    # Divided by infinity all is zero, but infinity itself.
    np.testing.assert_array_equal(np.argwhere(np.isnan(y)), [[0, 8, 0, 0]])
    np.testing.assert_array_equal(y[0, :2], 0)
    np.testing.assert_allclose(y[0, 2:7], reference.inter_channel_lrn(x, 3)[0, 2:7], rtol=12 * 2.0**-23)


def run_unoptimized(model: onnx.ModelProto, x: Array) -> Array:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    y: Array = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"X": x})[0]
    return y


@pytest.mark.parametrize(("alpha", "bias"), [(1.0, -5.0), (1.0, -0.0)])
def test_powers_of_negative_bases_are_left_to_pow(alpha: float, bias: float) -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 3, 3)).astype(np.float32)
    model = written_out(lrn_model(x.shape, size=3, alpha=alpha, bias=bias))
    assert "Pow" in operators(model)
    wanted = run_unoptimized(lrn_model(x.shape, size=3, alpha=alpha, bias=bias), x)
    np.testing.assert_allclose(run(model, x), wanted, rtol=24 * 2.0**-23)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lrn_model((1, 4, 3, 3), element=TensorProto.FLOAT16, size=3), "half precision"),
        (lrn_model((1, 4, 3, 3), element=TensorProto.DOUBLE, size=3), "float inputs"),
        (lrn_model((1, 4, 2, 3, 3), size=3), "rank 3 or 4"),
        (lrn_model((1, 4), size=3), "rank 3 or 4"),
        (lrn_model((1, 4, 3, 3), opset=6, size=3), "opset 7"),
    ],
)
def test_where_it_stays_there_is_a_reason(model: onnx.ModelProto, reason: str) -> None:
    result = optimize(model, passes=PASSES, verify=False)
    assert [node.op_type for node in result.model.graph.node] == ["LRN"]
    (decline,) = result.declined
    assert decline.node == "lrn"
    assert reason in decline.reason


def test_several_in_one_model_and_inside_a_subgraph() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (bool C, float[1,6,3,3] X) => (float[1,6,3,3] Y) {
            A = LRN <size = 3> (X)
            B = LRN <size = 5, bias = 2.0> (A)
            Y = If (C) <
                then_branch = t () => (float[1,6,3,3] T) { T = LRN <size = 7, beta = 0.5> (B) },
                else_branch = e () => (float[1,6,3,3] E) { E = Identity(B) }
            >
        }"""
    )
    after = optimize(model, verify=True).model
    assert "LRN" not in operators(after)
    assert verify(model, after).passed
    x = np.random.default_rng(0).standard_normal((1, 6, 3, 3)).astype(np.float32)
    wanted = reference.inter_channel_lrn(x, 3)
    wanted = reference.inter_channel_lrn(wanted, 5, bias=2.0)
    wanted = reference.inter_channel_lrn(wanted, 7, beta=0.5)
    y = session(after).run(None, {"C": np.array(True), "X": x})[0]
    np.testing.assert_allclose(y, wanted, rtol=36 * 2.0**-23)


@pytest.mark.parametrize("opset", [9, 18])
def test_for_onnxruntime_it_becomes_the_custom_operator(opset: int, tmp_path: Path) -> None:
    model = lrn_model((1, 6, 3, 4), opset=opset, size=3)
    result = optimize(model, target="onnxruntime", verify=True)
    assert [(node.domain, node.op_type) for node in result.model.graph.node] == [("onnxnorm", "InterChannelLRN")]
    result.save(tmp_path / "fast.onnx")
    x = np.random.default_rng(0).standard_normal((1, 6, 3, 4)).astype(np.float32)
    for portable in (False, True):
        y = session(tmp_path / "fast.onnx", portable=portable).run(None, {"X": x})[0]
        np.testing.assert_allclose(y, reference.inter_channel_lrn(x, 3), rtol=12 * 2.0**-23)
