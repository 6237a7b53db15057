"""Graphs on which folding tools have gone wrong, each with a twin that may fold.

Where a report is known, the test names it: project and number of the issue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.evaluate.evaluator import evaluate_float64
from testing.builder import Builder, affines, assert_same, count, folded, random_feeds, same_in_onnxruntime
from tests.affine.pairs import MIXED, POSITIVE, SHIFT, scalar


def _folds(b: Builder, *outputs: str, left: int = 0, **options: Any) -> onnx.ModelProto:
    result = folded(b.model(*outputs), **options)
    assert affines(result.model) == left, [str(decline) for decline in result.declined]
    return result.model


def _stays(b: Builder, *outputs: str, **options: Any) -> onnx.ModelProto:
    model = b.model(*outputs)
    result = folded(model, **options)
    assert affines(result.model) >= affines(model), [rewrite.detail for rewrite in result.rewrites]
    return result.model


# Constants that broadcast (openvino 25649; seen in onnxslim and onnxsim).


@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 4), (4, 1, 1), (1, 4, 1, 1), (1, 1, 1, 4)])
def test_a_vector_as_long_as_width_height_and_channels(shape: tuple[int, ...]) -> None:
    b = Builder()
    x = b.conv(b.input((4, 4, 4, 4)), 4, 4, (1, 1))
    y = b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED).reshape(shape))))
    if len(shape) >= 3 and shape[-3] == 4:
        _folds(b, y)
    else:
        _stays(b, y)


def test_a_constant_that_enlarges_the_batch() -> None:
    b = Builder()
    x = b.conv(b.input((1, 4, 3, 3)), 4, 4, (1, 1))
    _stays(b, b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED).reshape(4, 1, 1, 1)))))


def test_a_constant_of_the_shape_of_the_batch() -> None:
    b = Builder()
    x = b.conv(b.input((4, 4, 3, 3)), 4, 4, (1, 1))
    _stays(b, b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED).reshape(4, 1, 1, 1)))))


@pytest.mark.parametrize("operator", ["Mul", "Add", "Sub", "Div"])
def test_a_constant_that_raises_the_rank(operator: str) -> None:
    b = Builder()
    x = b.conv(b.input((2, 4, 3, 3)), 4, 4, (1, 1))
    _stays(b, b.node("Sigmoid", b.node(operator, x, b.constant(np.array(MIXED).reshape(1, 1, 4, 1, 1)))))


def test_a_constant_that_enlarges_a_channel_axis_of_one() -> None:
    b = Builder()
    x = b.conv(b.input((2, 3, 5)), 3, 1)
    _stays(b, b.node("Sigmoid", b.node("Mul", x, b.constant(np.array(MIXED).reshape(4, 1)))))


def test_grouped_convolution_and_a_full_tensor() -> None:
    """onnxruntime 12498."""
    b = Builder()
    x = b.conv(b.input((1, 4, 3, 3)), 4, 4, (1, 1), group=4)
    _stays(b, b.node("Sigmoid", b.node("Add", x, b.constant(b.normal(1, 4, 3, 3)))))


def test_grouped_convolution_and_a_column() -> None:
    b = Builder()
    x = b.conv(b.input((1, 4, 3, 3)), 4, 4, (1, 1), group=4)
    _folds(b, b.node("Sigmoid", b.node("Add", x, b.constant(b.normal(1, 4, 1, 1)))))


# Names and constants that several share.


def test_an_unrelated_initializer_bears_the_name_of_the_bias_to_be_made() -> None:
    names = [
        f"{stem}{suffix}" for stem in ("conv", "w") for suffix in ("_bias", "_folded", "_weight", "_scale", ".bias")
    ]
    b = Builder()
    x = b.node("Conv", b.input((2, 3, 5)), b.constant(b.normal(4, 3, 1), name="w"), name="conv")
    y = b.node("Sigmoid", b.affine(x, MIXED, SHIFT))
    for name in names:
        y = b.node("Where", b.constant(np.array(True)), y, b.constant(np.array(np.nan), name=name))
    model = _folds(b, y)
    assert all(np.isnan(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer if tensor.name in names)


def test_two_norms_that_share_scale_and_bias_but_not_the_statistics() -> None:
    """onnxruntime-qnn 582."""
    b = Builder()
    gamma, beta, mean, variance = map(b.constant, b.statistics(4))
    _, _, other_mean, other_variance = b.statistics(4)
    x = b.input((2, 3, 5))
    first = b.node("BatchNormalization", b.conv(x, 3, 4), gamma, beta, mean, variance)
    second = b.node(
        "BatchNormalization", b.conv(x, 3, 4), gamma, beta, b.constant(other_mean), b.constant(other_variance)
    )
    _folds(b, b.node("Sigmoid", first), b.node("Sigmoid", second))


def test_one_weight_and_two_norms() -> None:
    """pytorch 104593, torchao 2795, TNN 808."""
    b = Builder()
    x, weight = b.input((2, 3, 5)), b.constant(b.normal(4, 3, 1))
    first = b.affine(b.node("Conv", x, weight), MIXED, SHIFT)
    second = b.affine(b.node("Conv", b.node("Relu", x), weight), POSITIVE, SHIFT)
    _folds(b, b.node("Sigmoid", first), b.node("Sigmoid", second))


def test_one_weight_folded_once_and_used_once_plain() -> None:
    b = Builder()
    x, weight = b.input((2, 3, 5)), b.constant(b.normal(4, 3, 1))
    first = b.affine(b.node("Conv", x, weight), MIXED, SHIFT)
    _folds(b, b.node("Sigmoid", first), b.node("Sigmoid", b.node("Conv", x, weight)))


def test_a_weight_that_is_an_output_too() -> None:
    b = Builder()
    weight = b.told(b.constant(b.normal(4, 3, 1), name="w"), (4, 3, 1))
    y = b.affine(b.node("Conv", b.input((2, 3, 5)), weight), MIXED, SHIFT)
    _folds(b, b.node("Sigmoid", y), weight)


def test_a_weight_that_a_subgraph_captures() -> None:
    b = Builder()
    x, weight = b.input((2, 3, 5)), b.constant(b.normal(4, 3, 1))
    y = b.affine(b.node("Conv", x, weight), MIXED, SHIFT)
    bodies = []
    for prefix in ("t_", "e_"):
        body = Builder(prefix=prefix)
        body.output(body.node("Sigmoid", body.node("Conv", x, weight)), shape=(2, 4, 5))
        bodies.append(body)
    asked = b.input((), name="asked", element=TensorProto.BOOL)
    z = b.node("If", asked, then_branch=bodies[0].graph(), else_branch=bodies[1].graph())
    _folds(b, b.node("Sigmoid", y), z)


@pytest.mark.parametrize("ir_version", [3, 8])
def test_an_initializer_that_is_an_input_too(ir_version: int) -> None:
    """onnxruntime 32143; seen in onnxsim and onnxslim. Before IR version 4 every initializer was listed so."""
    b = Builder(ir_version=ir_version, opset=8 if ir_version == 3 else 18)
    x = b.input((2, 3, 5))
    y = b.node("Sigmoid", b.affine(b.conv(x, 3, 4), MIXED, SHIFT))
    for tensor in b.constants:
        b.inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    if ir_version == 3:
        model = _folds(b, y)
        assert {tensor.name for tensor in model.graph.initializer} <= {value.name for value in model.graph.input}
        return
    model = b.model(y)
    result = folded(model)
    assert affines(result.model) == 1
    assert "freeze_inputs" in result.declined[0].reason
    # A caller who does override gets what the original gives.
    feeds = random_feeds(model) | {
        tensor.name: np.abs(np.random.default_rng(3).normal(size=tuple(tensor.dims))) + 0.5
        for tensor in model.graph.initializer
    }
    assert_same(evaluate_float64(model, feeds), evaluate_float64(result.model, feeds), 1e-9)
    assert affines(folded(model, freeze_inputs=True).model) == 0


def test_several_readers_of_a_scaled_product() -> None:
    """MatMul * Mul with several consumers (openvino 26525)."""
    b = Builder()
    product = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    scaled = b.node("Mul", product, b.constant(np.array(MIXED)))
    _stays(b, b.node("Sigmoid", scaled), product)


def test_several_readers_of_a_scaled_product_that_all_want_it_scaled() -> None:
    b = Builder()
    product = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    scaled = b.node("Mul", product, b.constant(np.array(MIXED)))
    _folds(b, b.node("Sigmoid", scaled), b.node("Tanh", scaled))


# Operators in between, and their attributes.


def test_a_product_with_its_own_sigmoid_lets_nothing_pass() -> None:
    """opencv 28689."""
    b = Builder()
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    y = b.node("Mul", x, b.node("Sigmoid", x))
    _stays(b, b.node("Sigmoid", b.affine(y, MIXED, SHIFT)))


def test_a_product_with_another_gate_lets_a_scale_pass() -> None:
    b = Builder()
    x = b.input((2, 3, 5))
    y = b.node("Mul", b.conv(x, 3, 4), b.node("Sigmoid", b.conv(x, 3, 4)))
    _folds(b, b.node("Sigmoid", b.affine(y, MIXED)), left=1)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("alpha", [1.0, -2.0])
def test_gemm_with_alpha_and_beta(alpha: float, beta: float) -> None:
    """onnxscript 3027."""
    b = Builder()
    x = b.node("Gemm", b.input((2, 3)), b.constant(b.normal(3, 4)), b.constant(b.normal(4)), alpha=alpha, beta=beta)
    _folds(b, b.node("Sigmoid", b.affine(x, MIXED, SHIFT)))


def test_gemm_whose_bias_runs_along_the_rows() -> None:
    b = Builder()
    x = b.node("Gemm", b.input((4, 3)), b.constant(b.normal(3, 4)), b.constant(b.normal(4, 1)))
    _folds(b, b.node("Sigmoid", b.affine(x, MIXED, SHIFT)))


@pytest.mark.parametrize("group", [1, 2, 4])
def test_grouped_transposed_convolution(group: int) -> None:
    """pytorch 184076, ultralytics 25364, executorch 22517, Paddle 37799."""
    b = Builder()
    weight = b.constant(b.normal(4, 4 // group, 2, 2))
    x = b.node("ConvTranspose", b.input((1, 4, 3, 3)), weight, group=group, strides=[2, 2])
    _folds(b, b.node("Sigmoid", b.affine(x, MIXED, SHIFT)))


def test_a_shift_before_a_transposed_convolution() -> None:
    b = Builder()
    x = b.affine(b.input((1, 4, 3, 3)), MIXED, SHIFT)
    _stays(b, b.node("Sigmoid", b.node("ConvTranspose", x, b.constant(b.normal(4, 2, 2, 2)), group=2)))


@pytest.mark.parametrize("name", ["", None])
def test_a_convolution_with_an_empty_bias_name(name: str | None) -> None:
    b = Builder()
    inputs = [b.input((2, 3, 5)), b.constant(b.normal(4, 3, 1))] + ([name] if name is not None else [])
    _folds(b, b.node("Sigmoid", b.affine(b.node("Conv", *inputs), MIXED, SHIFT)))


def test_an_operator_of_another_domain_that_is_called_conv() -> None:
    b = Builder(opsets={"elsewhere": 1})
    b.functions.append(
        helper.make_function(
            "elsewhere",
            "Conv",
            ["x", "w"],
            ["y"],
            [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Sigmoid", ["c"], ["y"])],
            [helper.make_opsetid("", 18)],
        )
    )
    x = b.node("Conv", b.input((2, 3, 5)), b.constant(b.normal(4, 3, 1)), domain="elsewhere")
    _stays(b, b.node("Sigmoid", b.affine(b.told(x, (2, 4, 5)), MIXED, SHIFT)))


@pytest.mark.parametrize("time", [4, 5])
def test_a_product_of_rank_3_whose_norm_runs_along_time(time: int) -> None:
    """Fused along the wrong axis by some versions of onnxruntime (22512)."""
    b = Builder()
    x = b.node("MatMul", b.input((2, time, 3)), b.constant(b.normal(3, 4)))
    _stays(b, b.node("Sigmoid", b.batch_norm(x, time)))


def test_a_product_of_rank_3_whose_norm_runs_along_its_columns() -> None:
    b = Builder()
    x = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    x = b.node("Reshape", x, b.ints(-1, 4))
    _folds(b, b.node("Sigmoid", b.affine(x, MIXED, SHIFT)))


def test_a_product_of_rank_3_transposed_for_its_norm() -> None:
    b = Builder()
    x = b.node("MatMul", b.input((2, 5, 3)), b.constant(b.normal(3, 4)))
    _folds(b, b.node("Sigmoid", b.affine(b.node("Transpose", x, perm=[0, 2, 1]), MIXED)))


# Training.


@pytest.mark.parametrize(("opset", "attributes"), [(15, {"training_mode": 1}), (9, {}), (7, {})])
def test_training_outputs_that_are_read(opset: int, attributes: dict[str, int]) -> None:
    """Training mode folded as inference: seen in onnxscript."""
    b = Builder(opset=opset)
    x = b.conv(b.input((3, 3, 5)), 3, 4)
    parameters = [b.constant(array) for array in b.statistics(4)]
    outputs = 3 if opset >= 14 else 5
    y, mean, *_ = b.nodes_out("BatchNormalization", x, *parameters, outputs=outputs, **attributes)
    model = b.model(b.node("Sigmoid", y), b.told(b.node("Sigmoid", mean), (4,)))
    result = folded(model, check=opset >= 14)
    assert count(result.model, "BatchNormalization") == 1
    assert "training" in result.declined[0].reason


def test_training_mode_alone() -> None:
    b = Builder(opset=15)
    parameters = [b.constant(array) for array in b.statistics(4)]
    y, *_ = b.nodes_out("BatchNormalization", b.conv(b.input((3, 3, 5)), 3, 4), *parameters, outputs=3, training_mode=1)
    result = folded(b.model(b.node("Sigmoid", y)))
    assert count(result.model, "BatchNormalization") == 1
    assert "training" in result.declined[0].reason


def test_training_mode_switched_off() -> None:
    b = Builder(opset=15)
    x = b.conv(b.input((3, 3, 5)), 3, 4)
    _folds(b, b.node("Sigmoid", b.affine(x, MIXED, SHIFT, training_mode=0, momentum=0.5)))


# Types.


def test_half_precision_with_single_precision_statistics() -> None:
    """A float16 convolution, BatchNormalization 15 with float32 statistics; those of the second overflow float16.

    Folded, the second would lose its weights to underflow.
    """
    for mean, variance in ((0.5, 2.0), (3e5, 4e10)):
        b = Builder(dtype=np.float16, opset=15)
        x = b.conv(b.input((1, 3, 5)), 3, 4)
        halves = [b.constant(np.array(vector)) for vector in (POSITIVE, SHIFT)]
        wide = [b.constant(np.full(4, value), dtype=np.float32) for value in (mean, variance)]
        model = b.model(b.node("Sigmoid", b.node("BatchNormalization", x, *halves, *wide)))
        result = onnxnorm.fold(model, verify=False)
        assert affines(result.model) == (0 if mean < 1 else 1)
        onnx.checker.check_model(result.model, full_check=True)
        assert onnxnorm.verify(model, result.model).passed


def test_what_would_overflow_half_precision() -> None:
    """coreai-torch 54 casts such statistics to infinity."""
    b = Builder(dtype=np.float16, opset=15)
    x = b.node("Conv", b.input((1, 3, 5)), b.constant(np.full((4, 3, 1), 3e4)))
    halves = [b.constant(np.array(vector)) for vector in ((3.0, 2.0, 1.0, 2.0), SHIFT)]
    wide = [b.constant(np.full(4, value), dtype=np.float32) for value in (0.0, 0.25)]
    model = b.model(b.node("Sigmoid", b.node("BatchNormalization", x, *halves, *wide)))
    result = onnxnorm.fold(model, verify=False)
    assert affines(result.model) == 1
    assert "overflow" in result.declined[0].reason


@pytest.mark.parametrize(("weight", "scale", "folds"), [(1.0, 1e37, False), (1.0, 1e17, True), (3e30, 100.0, True)])
def test_weights_whose_products_overflow_before_they_are_summed_up(weight: float, scale: float, folds: bool) -> None:
    """In float64 all of these fold; what is so large in the original already may be larger."""
    for dtype in (np.float32, np.float64):
        b = Builder(dtype=dtype)
        kernel = (
            weight * np.random.default_rng(1).uniform(0.5, 1.0, (4, 3, 3)) * np.array([1, -1, 1, -1])[:, None, None]
        )
        x = b.node("Conv", b.input((2, 3, 6)), b.constant(kernel))
        model = b.model(b.node("Sigmoid", b.affine(x, (scale, -scale, scale, 1.0), SHIFT)))
        result = onnxnorm.fold(model, verify=False)
        assert affines(result.model) == (0 if folds or dtype is np.float64 else 1)
        assert all("leaves no room in float for sums of products" in decline.reason for decline in result.declined)
        if dtype is np.float32:
            assert onnxnorm.verify(model, result.model).passed


def test_a_shift_that_another_reader_would_have_to_undo() -> None:
    """A scale of 1e-7 and a shift of about one go through Concat to a convolution that another norm reads as well.

    Undone there, the shift would leave no digit of the value in single precision.
    """
    b = Builder(dtype=np.float32)
    x = b.input((2, 4, 5))
    v = b.conv(x, 4, 3)
    joined = b.node("Concat", v, b.conv(x, 4, 1), axis=1)
    tiny = b.affine(joined, (0.4, -0.3, 1e-7, 1.2), (1.5, -1.7, -0.7, 0.2))
    other = b.affine(v, (0.8, 0.1, 1.1), (0.3, 0.2, 0.1))
    model = b.model(b.node("Sigmoid", tiny), b.node("Sigmoid", other))
    report = onnxnorm.verify(model, onnxnorm.fold(model, verify=False).model)
    assert report.passed, str(report)


@pytest.mark.parametrize("spelling", ["batch norm", "scale, then shift"])
def test_a_shift_beside_a_value_that_was_scaled_before(spelling: str) -> None:
    """The scale of 1e-6 may go into the convolution; its shift may not follow, for the other norm has to undo it."""
    b = Builder(dtype=np.float32)
    v = b.conv(b.input((2, 4, 5)), 4, 3)
    scale, shift = (0.4, -0.3, 1e-6), (1.5, -1.7, -0.7)
    if spelling == "batch norm":
        tiny = b.affine(v, scale, shift)
    else:
        columns = [b.constant(np.reshape(vector, (3, 1))) for vector in (scale, shift)]
        tiny = b.node("Add", b.node("Mul", v, columns[0]), columns[1])
    model = b.model(b.node("Sigmoid", tiny), b.node("Sigmoid", b.affine(v, (0.8, 0.1, 1.1), (0.3, 0.2, 0.1))))
    report = onnxnorm.verify(model, onnxnorm.fold(model, verify=False).model)
    assert report.passed, str(report)


def test_a_shift_that_a_sum_asks_of_its_terms() -> None:
    """The norm behind the sum lets its shift go forward; on the way back it must not meet what was scaled by 1e-6."""
    b = Builder(dtype=np.float32)
    x = b.input((2, 4, 5))
    v = b.node("Sub", b.node("Relu", b.affine(x, (0.4, 0.3, 1.0, 0.9), SHIFT)), b.constant(np.full((4, 1), 0.9)))
    tiny = b.node("Mul", v, b.constant(np.reshape((1.7, 0.6, 1e-6, 1.1), (4, 1))))
    moved = b.node("Add", tiny, b.constant(np.reshape((0.4, -1.2, 0.8, 0.1), (4, 1))))
    total = b.affine(b.node("Add", moved, b.conv(moved, 4, 4)), (0.4, 0.7, 1.3, 2.1), SHIFT)
    outputs = b.node("Sigmoid", total), b.node("Sigmoid", b.affine(v, (0.8, 0.1, 1.1, 0.6), SHIFT))
    model = b.model(*outputs, b.node("Tanh", b.affine(moved, (0.3, 0.9, 1.4, 0.7), SHIFT)))
    report = onnxnorm.verify(model, onnxnorm.fold(model, verify=False).model)
    assert report.passed, str(report)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_statistics_that_are_not_those_of_the_value(dtype: type) -> None:
    """A mean of 600 where values are about one: undone for the other reader, it would cost nine bits."""
    b = Builder(dtype=dtype, opset=15)
    v = b.conv(b.input((2, 4, 5)), 4, 3)
    wrong = b.node("BatchNormalization", v, *(b.constant(np.full(3, value)) for value in (1.0, 0.5, 600.0, 1300.0)))
    model = b.model(b.node("Sigmoid", wrong), b.node("Tanh", b.conv(v, 3, 2)))
    report = onnxnorm.verify(model, onnxnorm.fold(model, verify=False).model)
    assert report.passed, str(report)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_statistics_that_are_not_finite(value: float) -> None:
    b = Builder()
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    parameters = b.statistics(4)
    parameters[2][1] = value
    _stays(b, b.node("Sigmoid", b.node("BatchNormalization", x, *map(b.constant, parameters))))


def test_a_negative_variance() -> None:
    b = Builder()
    parameters = b.statistics(4)
    parameters[3][2] = -1.0
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    _stays(b, b.node("Sigmoid", b.node("BatchNormalization", x, *map(b.constant, parameters))))


# What a model says about itself.


def test_metadata_doc_strings_and_names_stay() -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((2, 3, 5), name="image"), 3, 4, name="conv")
    model = b.model(b.node("Sigmoid", b.affine(x, MIXED, SHIFT), out="shares", name="last"))
    model.doc_string, model.graph.doc_string, model.domain = "what it is", "how it is built", "org.example"
    model.producer_name, model.producer_version, model.model_version = "maker", "2", 7
    helper.set_model_props(model, {"licence": "free"})
    model.graph.node[0].doc_string = "the first layer"
    model.graph.metadata_props.add(key="a", value="b")
    after = folded(model, tolerance=1e-5).model
    for field in ("doc_string", "domain", "producer_name", "producer_version", "model_version", "ir_version"):
        assert getattr(after, field) == getattr(model, field)
    own = {entry.key: entry.value for entry in after.metadata_props if not entry.key.startswith("onnxnorm.")}
    assert own == {"licence": "free"}
    assert after.graph.metadata_props == model.graph.metadata_props
    assert (after.graph.name, after.graph.doc_string) == (model.graph.name, "how it is built")
    assert [(node.name, node.doc_string) for node in after.graph.node] == [("conv", "the first layer"), ("last", "")]
    same_in_onnxruntime(model, after)


# Broadcasting of old.


@pytest.mark.parametrize("axis", [1, 2])
def test_broadcasting_before_opset_7(axis: int) -> None:
    """`axis` says where the constant lies. The oracle is the same graph of opset 7, its constant reshaped."""

    def built(opset: int) -> onnx.ModelProto:
        b = Builder(opset=opset, ir_version=3)
        x = b.conv(b.input((2, 3, 4, 4)), 3, 4, (1, 1))
        shape = (4,) if opset < 7 else (4, 1) if axis == 2 else (4, 1, 1)
        extra = {"axis": axis, "broadcast": 1} if opset < 7 else {}
        x = b.node("Mul", x, b.constant(np.array(MIXED).reshape(shape)), **extra)
        x = b.node("Add", x, b.constant(np.array(SHIFT).reshape(shape)), **extra)
        for tensor in b.constants:
            b.inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        return b.model(b.told(b.node("Sigmoid", x), (2, 4, 4, 4)))

    old, new = built(6), built(7)
    result = folded(old, evaluate=False).model
    if affines(result):
        assert [node.op_type for node in result.graph.node] == [node.op_type for node in old.graph.node]
        assert [node.attribute for node in result.graph.node] == [node.attribute for node in old.graph.node]
    else:
        assert axis == 1
        feeds = random_feeds(new)
        assert_same(evaluate_float64(new, feeds), evaluate_float64(result, feeds), 1e-9)


# Sparse constants.


def test_a_sparse_weight() -> None:
    b = Builder(dtype=np.float32)
    dense = np.zeros((4, 3, 1), np.float32)
    dense.flat[[1, 5, 10]] = (0.5, -1.5, 2.0)
    y = b.node("Sigmoid", b.affine(b.node("Conv", b.input((2, 3, 5)), "sparse"), MIXED, SHIFT))
    model = b.model(b.told(y, (2, 4, 5)))
    values = numpy_helper.from_array(dense.flat[[1, 5, 10]], "sparse")
    indices = numpy_helper.from_array(np.array([1, 5, 10], np.int64), "sparse_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 3, 1]))
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.sparse_initializer[:]
    plain.graph.initializer.append(numpy_helper.from_array(dense, "sparse"))
    after = folded(model, evaluate=False, check=False).model
    same_in_onnxruntime(plain, after)


# Functions.


def _norm_function(name: str, domain: str = "local") -> onnx.FunctionProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["y"], name="norm"),
    ]
    inputs = ["x", "w", "gamma", "beta", "mean", "variance"]
    return helper.make_function(domain, name, inputs, ["y"], nodes, [helper.make_opsetid("", 18)])


def test_a_function_called_with_different_weights() -> None:
    b = Builder(opsets={"local": 1})
    b.functions.append(_norm_function("Block"))
    x = b.input((2, 4, 5))
    for _ in range(2):
        weights = [b.constant(array) for array in (b.normal(4, 4, 1), *b.statistics(4))]
        x = b.node("Sigmoid", b.told(b.node("Block", x, *weights, domain="local"), (2, 4, 5)))
    folded(b.model(b.told(x, (2, 4, 5))))


def test_a_function_with_its_own_constants() -> None:
    b = Builder(opsets={"local": 1})
    names = [f"k{index}" for index in range(6)]
    arrays = [b.normal(4, 4, 1), *b.statistics(4), b.normal(4)]
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in zip(names, arrays, strict=True)
    ]
    nodes.append(helper.make_node("Conv", ["x", "k0", "k5"], ["c"], name="conv"))
    nodes.append(helper.make_node("BatchNormalization", ["c", *names[1:5]], ["y"], name="norm"))
    b.functions.append(helper.make_function("local", "Block", ["x"], ["y"], nodes, [helper.make_opsetid("", 18)]))
    x = b.input((2, 4, 5))
    for _ in range(2):
        x = b.node("Sigmoid", b.told(b.node("Block", x, domain="local"), (2, 4, 5)))
    assert affines(folded(b.model(b.told(x, (2, 4, 5)))).model) == 0


def test_statistics_behind_a_divisor() -> None:
    """Caffe keeps sums and their count: mean and variance are constants divided by a constant (caffe 4885)."""
    b = Builder()
    gamma, beta, mean, variance = b.statistics(4)
    factor = scalar(b, 999.98)
    statistics = [b.node("Div", b.constant(array * 999.98), factor) for array in (mean, variance)]
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    y = b.node("BatchNormalization", x, b.constant(gamma), b.constant(beta), *statistics)
    assert count(folded(b.model(b.node("Sigmoid", y))).model, "BatchNormalization") == 0


# Scopes.


def _nested(b: Builder, x: str, deepest: str) -> str:
    """Two Ifs, one in the other; the inner one reads `x`, for a convolution and for `deepest`."""
    asked = b.input((), name="asked", element=TensorProto.BOOL)
    inner = []
    for prefix in ("a_", "b_"):
        body = Builder(prefix=prefix)
        y = body.conv(x, 4, 4) if prefix == "a_" or deepest == "Conv" else body.node(deepest, x)
        body.output(y, shape=(2, 4, 5))
        inner.append(body)
    outer = []
    for prefix in ("c_", "d_"):
        body = Builder(prefix=prefix)
        if prefix == "c_":
            y = body.node("If", asked, then_branch=inner[0].graph(), else_branch=inner[1].graph())
        else:
            y = body.conv(x, 4, 4)
        body.output(y, shape=(2, 4, 5))
        outer.append(body)
    return b.node("Sigmoid", b.node("If", asked, then_branch=outer[0].graph(), else_branch=outer[1].graph()))


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("deepest", ["Conv", "Sigmoid"])
def test_a_value_captured_through_two_scopes(deepest: str, asked: bool) -> None:
    b = Builder()
    model = b.model(_nested(b, b.affine(b.input((2, 4, 5)), MIXED, SHIFT), deepest))
    feeds = random_feeds(model) | {"asked": np.array(asked)}
    assert affines(folded(model, feeds=feeds).model) == (0 if deepest == "Conv" else 1)


def test_a_value_that_a_loop_reads_from_outside() -> None:
    b = Builder()
    x = b.affine(b.input((2, 4, 5)), MIXED, SHIFT)
    body = Builder(prefix="l_")
    body.input((), name="l_i", element=TensorProto.INT64)
    body.input((), name="l_go", element=TensorProto.BOOL)
    carried = body.input((2, 4, 5), name="l_y")
    total = body.node("Add", carried, body.node("Tanh", body.conv(x, 4, 4)))
    body.output(body.node("Identity", "l_go"), shape=(), element=TensorProto.BOOL)
    body.output(total, shape=(2, 4, 5))
    trips, go = b.constant(np.array(2, np.int64)), b.constant(np.array(True))
    y = b.node("Loop", trips, go, b.input((2, 4, 5), name="start"), body=body.graph())
    assert affines(folded(b.model(b.told(y, (2, 4, 5)))).model) == 1


@pytest.mark.parametrize("normed", [0, 1])
def test_one_constant_starts_two_states(normed: int) -> None:
    """The norm behind one of the final states changes how that state starts, not how the other does."""
    b = Builder()
    body = Builder(seed=5, prefix="s_")
    states = [body.input((2, 4), name=name) for name in ("s_one", "s_two")]
    element = body.input((2, 4), name="s_element")
    body.output(
        *(body.node("Add", s, body.node("Gemm", element, body.constant(body.normal(4, 4)))) for s in states),
        shape=(2, 4),
    )
    zero = b.constant(np.zeros((2, 4)))
    graph = body.graph("body")
    finals = b.nodes_out("Scan", zero, zero, b.input((3, 2, 4)), outputs=2, body=graph, num_scan_inputs=1)
    finals[normed] = b.affine(finals[normed], MIXED, SHIFT)
    assert affines(folded(b.model(*(b.told(b.node("Sigmoid", y), (2, 4)) for y in finals))).model) == 2
