"""The portable bodies: the same numbers in onnxruntime, in the ONNX evaluator and inlined; wrong nodes are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from onnxnorm import OnnxNormError, reference, session
from onnxnorm.ops import attach
from onnxnorm.ops.bodies import portable_body
from onnxnorm.ops.schema import DOMAIN, VERSION, check_nodes
from testing.optimized import operators_in_onnxruntime

Array = npt.NDArray[Any]

TYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16}


def make(
    op: str, shape: Sequence[int | None] | None, dtype: str = "float32", *, opset: int = 18, **attributes: Any
) -> onnx.ModelProto:
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = [onnx.helper.make_tensor_value_info(name, element, shape) for name in "XY"]
    node = onnx.helper.make_node(op, ["X"], ["Y"], name="lrn", domain=DOMAIN, **attributes)
    graph = onnx.helper.make_graph([node], "ops", value[:1], value[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def with_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    attach.attach_bodies(model)
    return model


Runner = Callable[[onnx.ModelProto, Array], Array]
RUNNERS: dict[str, Runner] = {
    "portable": lambda model, x: session(model, portable=True).run(None, {"X": x})[0],
    "inlined": lambda model, x: session(attach.inline_bodies(model), portable=True).run(None, {"X": x})[0],
    "evaluator": lambda model, x: ReferenceEvaluator(model).run(None, {"X": x})[0],
    "session": lambda model, x: session(model).run(None, {"X": x})[0],
}


def assert_close(y: Array, wanted: Array) -> None:
    """A dozen roundings in the type that is computed in; half types are rounded once more at the end."""
    assert y.shape == wanted.shape
    digits = {"float32": 12 * 2.0**-23, "float64": 12 * 2.0**-52, "float16": 2.0**-10}[y.dtype.name]
    np.testing.assert_allclose(y.astype(np.float64), wanted, rtol=digits, atol=np.finfo(y.dtype).smallest_subnormal)


def values(shape: Sequence[int], dtype: str = "float32", seed: int = 0) -> Array:
    return (np.random.default_rng(seed).standard_normal(tuple(shape)) * 2).astype(TYPES[dtype])


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 3, 5, 4), (1, 2, 3, 4, 5), (0, 3, 4, 4), (1, 1, 1, 1)])
def test_same_numbers_everywhere(runner: str, dtype: str, shape: tuple[int, ...]) -> None:
    x = values(shape, dtype)
    for n in (1, 2, 3, 6, 11):
        window = [n] * (len(shape) - 2)
        intra = with_bodies(make("IntraChannelLRN", shape, dtype, kernel_shape=window, alpha=0.5, bias=2.0))
        assert_close(RUNNERS[runner](intra, x), reference.intra_channel_lrn(x, window, 0.5, 0.75, 2.0))
        inter = with_bodies(make("InterChannelLRN", shape, dtype, size=n, alpha=0.5, bias=2.0))
        assert_close(RUNNERS[runner](inter, x), reference.inter_channel_lrn(x, n, 0.5, 0.75, 2.0))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=3, max_size=5),
    windows=st.lists(st.integers(1, 12), min_size=3, max_size=3),
    beta=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, 1.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(shape: list[int], windows: list[int], beta: float, seed: int) -> None:
    x = values(shape, seed=seed)
    window = windows[: len(shape) - 2]
    model = with_bodies(make("IntraChannelLRN", shape, kernel_shape=window, alpha=0.5, beta=beta, bias=1.0))
    wanted = reference.intra_channel_lrn(x, window, 0.5, beta, 1.0)
    for runner in RUNNERS.values():
        assert_close(runner(model, x), wanted)
    model = with_bodies(make("InterChannelLRN", shape, size=windows[0], alpha=0.5, beta=beta, bias=1.0))
    wanted = reference.inter_channel_lrn(x, windows[0], 0.5, beta, 1.0)
    for runner in RUNNERS.values():
        assert_close(runner(model, x), wanted)


@pytest.mark.parametrize("beta", [0.25, 0.5, 0.6, 0.75, 1.0, 2.0])
def test_onnxruntime_keeps_one_form_of_the_power(beta: float, tmp_path: Path) -> None:
    model = with_bodies(make("IntraChannelLRN", (1, 2, 5, 5), kernel_shape=[3, 3], alpha=0.5, beta=beta))
    operators = operators_in_onnxruntime(model, tmp_path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    assert "If" not in operators
    assert ("Pow" in operators) == (beta in (0.6, 2.0))
    assert operators.count("Sqrt") == {0.25: 2, 0.5: 1, 0.75: 2}.get(beta, 0)


@pytest.mark.parametrize("runner", RUNNERS)
def test_rank_two_and_six_across_channels(runner: str) -> None:
    for shape in ((2, 9), (1, 7, 2, 2, 2, 2)):
        x = values(shape)
        model = with_bodies(make("InterChannelLRN", shape, size=4))
        assert_close(RUNNERS[runner](model, x), reference.inter_channel_lrn(x, 4))


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_windows(runner: str, value: float) -> None:
    x = values((1, 6, 6, 7))
    x[0, 2, 3, 3] = value
    for model, wanted in (
        (make("IntraChannelLRN", x.shape, kernel_shape=[3, 2]), reference.intra_channel_lrn(x, [3, 2])),
        (make("InterChannelLRN", x.shape, size=3), reference.inter_channel_lrn(x, 3)),
    ):
        y = RUNNERS[runner](with_bodies(model), x)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
        assert_close(y[~np.isnan(y)], wanted[~np.isnan(wanted)])


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("runner", RUNNERS)
def test_nothing_over_nothing_is_nan(runner: str) -> None:
    x = np.zeros((1, 3, 4, 4), np.float32)
    for model in (
        make("IntraChannelLRN", x.shape, kernel_shape=[3, 3], bias=0.0),
        make("InterChannelLRN", x.shape, size=3, bias=0.0),
    ):
        assert np.isnan(RUNNERS[runner](with_bodies(model), x)).all()


@pytest.mark.parametrize("runner", RUNNERS)
def test_nodes_of_different_windows_share_one_body(runner: str) -> None:
    x = values((1, 3, 9, 9))
    model = make("IntraChannelLRN", x.shape, kernel_shape=[3, 3])
    model.graph.node[0].output[0] = "between"
    more = onnx.helper.make_node("IntraChannelLRN", ["between"], ["Y"], domain=DOMAIN, kernel_shape=[5, 2], bias=3.0)
    model.graph.node.append(more)
    attach.attach_bodies(model)
    assert [function.name for function in model.functions] == ["IntraChannelLRN"]
    wanted = reference.intra_channel_lrn(reference.intra_channel_lrn(x, [3, 3]), [5, 2], bias=3.0)
    np.testing.assert_allclose(RUNNERS[runner](model, x), wanted, rtol=24 * 2.0**-23)


@pytest.mark.parametrize("opset", [15, 18, onnx.defs.onnx_opset_version() - 1])
def test_bodies_fit_the_opset_of_the_model(opset: int) -> None:
    x = values((1, 3, 4, 4))
    model = with_bodies(make("InterChannelLRN", x.shape, opset=opset, size=3))
    onnx.checker.check_model(model, full_check=True)
    for runner in RUNNERS.values():
        assert_close(runner(model, x), reference.inter_channel_lrn(x, 3))


def test_an_opset_too_old_for_a_body_is_refused() -> None:
    with pytest.raises(OnnxNormError, match="needs opset 15 or newer, the model has 13"):
        attach.attach_bodies(make("InterChannelLRN", [1, 2, 3, 4], opset=13, size=3))


def test_attaching_twice_changes_nothing() -> None:
    model = with_bodies(make("IntraChannelLRN", [1, 2, 3, 4], kernel_shape=[3, 3]))
    once = model.SerializeToString(deterministic=True)
    attach.attach_bodies(model)
    assert model.SerializeToString(deterministic=True) == once
    assert {entry.domain: entry.version for entry in model.opset_import}[DOMAIN] == VERSION


def test_a_model_without_the_operators_is_left_alone() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 7, opset_import: ["" : 9]> g (float[2] X) => (float[2] Y) {Y = Relu(X)}'
    )
    before = model.SerializeToString(deterministic=True)
    attach.attach_bodies(model)
    assert model.SerializeToString(deterministic=True) == before
    assert not attach.uses_ops(model)


def test_operators_inside_subgraphs_and_functions_are_found() -> None:
    model = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["" : 18, "onnxnorm" : 1, "local" : 1]>
        g (bool C, float[1,2,3,4] X) => (float[1,2,3,4] Y) {
            A = If (C) <
                then_branch = t () => (T) { T = onnxnorm.IntraChannelLRN <kernel_shape = [3, 3]> (X) },
                else_branch = e () => (E) { E = Identity(X) }
            >
            Y = local.Norm(A)
        }
        <domain: "local", opset_import: ["" : 18, "onnxnorm" : 1]>
        Norm (v) => (w) { w = onnxnorm.InterChannelLRN <size = 3> (v) }
        """
    )
    attach.attach_bodies(model)
    assert {function.name for function in model.functions} == {"Norm", "IntraChannelLRN", "InterChannelLRN"}
    x = values((1, 2, 3, 4))
    wanted = reference.inter_channel_lrn(reference.intra_channel_lrn(x, [3, 3]), 3)
    for portable in (True, False):
        y = session(model, portable=portable).run(None, {"C": np.array(True), "X": x})[0]
        np.testing.assert_allclose(y, wanted, rtol=24 * 2.0**-23)


def test_inlining_leaves_no_trace_of_the_domain() -> None:
    model = make("IntraChannelLRN", [1, 2, 3, 4], kernel_shape=[3, 3])
    before = model.SerializeToString(deterministic=True)
    inlined = attach.inline_bodies(model)
    assert not inlined.functions
    assert all(entry.domain != DOMAIN for entry in inlined.opset_import)
    assert not attach.uses_ops(inlined)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("op", "rank", "attributes", "reason"),
    [
        ("IntraChannelLRN", 4, {"kernel_shape": [3]}, "needs an input of rank 3, the input has rank 4"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 0]}, "at least 1"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 3, 3, 3]}, "1, 2 or 3 entries"),
        ("IntraChannelLRN", 4, {"kernel_shape": 3}, "whole numbers"),
        ("IntraChannelLRN", 4, {}, "kernel_shape is missing"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 3], "alpha": 1}, "alpha must be a float"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 3], "beta": float("inf")}, "beta must be finite"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 3], "k": 1.0}, "no attribute 'k'"),
        ("InterChannelLRN", 4, {"size": 0}, "at least 1"),
        ("InterChannelLRN", 1, {"size": 3}, "channel axis"),
        ("BatchNorm", 4, {}, "IntraChannelLRN, InterChannelLRN"),
    ],
)
def test_wrong_nodes_are_refused_by_name(op: str, rank: int, attributes: dict[str, Any], reason: str) -> None:
    model = make(op, [None] * rank, **attributes)
    for use in (attach.attach_bodies, session, lambda m: session(m, portable=True)):
        with pytest.raises(OnnxNormError, match=reason) as refusal:
            use(model)
        assert f"{op} node 'lrn'" in str(refusal.value)


def test_a_rank_that_only_inference_knows_is_checked() -> None:
    model = make("IntraChannelLRN", [1, 2, 3, 4], kernel_shape=[3])
    model.graph.node.insert(0, onnx.helper.make_node("Relu", ["X"], ["between"]))
    model.graph.node[1].input[0] = "between"
    with pytest.raises(OnnxNormError, match="rank 4"):
        check_nodes(model)
    model.graph.node[1].attribute[0].CopyFrom(onnx.helper.make_attribute("kernel_shape", [3, 3]))
    check_nodes(model)


def test_whole_number_inputs_are_refused() -> None:
    with pytest.raises(OnnxNormError, match="float, double, float16 or bfloat16"):
        check_nodes(make("InterChannelLRN", [1, 2, 3, 4], "int32", size=3))


def test_an_unknown_body_is_refused() -> None:
    with pytest.raises(OnnxNormError, match="has the operators"):
        portable_body("LRN")
