"""Tests that the reason for what is left names the obstacle that counts, and is true: without it the affine goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxnorm
from onnxnorm.journal import Code
from onnxnorm.optimizer.records import Fate, NormRecord
from testing.builder import Builder

_TRAINING = "BatchNormalization (training mode)"


def _record(model: onnx.ModelProto, **options: Any) -> NormRecord:
    (record,) = onnxnorm.optimize(model, verify=False, **options).normalizations
    return record


def _without_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    other = onnx.ModelProto.FromString(model.SerializeToString())
    kept = [value for value in other.graph.output if value.name != name]
    del other.graph.output[:]
    other.graph.output.extend(kept)
    return other


def test_an_output_before_the_norm_is_named_not_the_one_behind_it() -> None:
    b = Builder(dtype=np.float32)
    b.node("Conv", b.input((1, 3, 8, 8)), b.constant(b.normal(4, 3, 3, 3)), out="y0", name="stem")
    model = b.model("y0", b.batch_norm("y0", 4, name="bn", out="y"))
    record = _record(model)
    assert (record.fate, record.code, record.value) == (Fate.LEFT, Code.GRAPH_OUTPUT, "y0")
    assert record.readers == ("graph output",) and "'y0'" in record.reason and "'y'" not in record.reason
    assert record.remedy is not None and record.remedy.output == "y0"
    assert _record(_without_output(model, "y0")).fate is Fate.ABSORBED


def _padded(b: Builder, x: str, dims: tuple[int | str, ...]) -> str:
    """A norm, a padded convolution and one that sees all places at once: with known extents everything goes."""
    x = b.conv(b.batch_norm(x, 3, name="bn"), 3, 4, (3, 3), pads=[1, 1, 1, 1], name="padded")
    return b.conv(x, 4, 2, (8, 8), name="last")


def _in_main(dims: tuple[int | str, ...]) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    return b.model(b.node("Sigmoid", _padded(b, b.input(dims), dims)))


def _in_if(dims: tuple[int | str, ...]) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.input(dims)
    condition = b.input((), "condition", TensorProto.BOOL)
    inner = Builder(dtype=np.float32, prefix="t_")
    given = inner.node("Sigmoid", _padded(inner, x, dims))
    other = Builder(dtype=np.float32, prefix="e_")
    plain = other.node("Sigmoid", other.conv(x, 3, 2, (8, 8)))
    graphs = {
        f"{name}_branch": helper.make_graph(
            part.nodes, name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)], part.constants
        )
        for name, part, out in (("then", inner, given), ("else", other, plain))
    }
    return b.model(b.node("If", condition, **graphs))


def _in_loop(dims: tuple[int | str, ...]) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.input(dims)
    inner = Builder(dtype=np.float32, prefix="b_")
    given = inner.node("Sigmoid", _padded(inner, x, dims))
    again = inner.node("Identity", "going")
    body = helper.make_graph(
        inner.nodes,
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info(again, TensorProto.BOOL, []),
            helper.make_tensor_value_info(given, TensorProto.FLOAT, None),
        ],
        inner.constants,
    )
    trips = b.constant(np.array(2, np.int64))
    return b.model(b.node("Loop", trips, "", body=body))


@pytest.mark.parametrize("make", [_in_main, _in_if, _in_loop])
def test_a_padding_of_unknown_extent_is_named_not_the_input(make: Callable[..., onnx.ModelProto]) -> None:
    model = make(("N", 3, "H", "W"))
    record = _record(model)
    assert record.code is Code.UNKNOWN_SHAPE and record.blocker_op_type in ("Conv", "")
    # Two convolutions in a row are one by then.
    assert record.blocker.endswith(("padded", "last"))
    assert "pads an input of unknown height or width" in record.reason and "is an input of" not in record.reason
    assert record.remedy is not None and record.remedy.options == ("--fix-shape", "x:N,3,224,224")
    assert _record(model, fix_shapes={"x": ("N", 3, 8, 8)}).fate is Fate.ABSORBED


def test_another_reader_of_the_value_is_named() -> None:
    b = Builder(dtype=np.float32)
    v = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3), name="stem")
    model = b.model(b.node("Sigmoid", v, name="other", out="z"), b.node("Relu", b.batch_norm(v, 4, name="bn")))
    record = _record(model)
    assert (record.code, record.blocker, record.value) == (Code.READERS_DIFFER, "other", v)
    assert "other" in record.readers
    assert _record(_without_output(model, "z")).fate is Fate.ABSORBED


def _dense(layers: int) -> onnx.ModelProto:
    """A block of layers that each normalize, bend and convolve all that came before."""
    b = Builder(dtype=np.float32)
    parts, channels = [b.conv(b.input((1, 3, 8, 8)), 3, 4, (1, 1), name="stem")], 4
    for layer in range(layers + 1):
        x = b.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        x = b.node("Relu", b.batch_norm(x, channels, name=f"bn{layer}"))
        if layer == layers:
            return b.model(x)
        parts.append(b.conv(x, channels, 4, (1, 1)))
        channels += 4
    raise AssertionError


@pytest.mark.parametrize("layers", [2, 5])
def test_readers_of_one_stream_keep_all_but_one_norm(layers: int) -> None:
    records = onnxnorm.optimize(_dense(layers), verify=False).normalizations
    left = [record for record in records if record.fate is Fate.LEFT]
    assert len(records) - len(left) == 1 and len(left) == layers
    assert {record.code for record in left} == {Code.READERS_DIFFER}
    assert all("too large" not in record.reason and "two ways" not in record.reason for record in left)
    assert {record.bound for record in left} == {
        f"at least {layers} of these {layers} must stay: any two of them bend at different places"
    }


@pytest.mark.parametrize("at_zero", [False, True])
def test_a_norm_that_is_left_in_part_has_the_bound_too(at_zero: bool) -> None:
    """Its scale passes the Relu beside it; its shift does not, since that Relu bends at zero."""
    b = Builder(dtype=np.float32)
    # Among convolutions a BatchNormalization stays one.
    v = b.node("MatMul", b.input((2, 3)), b.constant(b.normal(3, 4)), name="stem")
    shift = np.zeros(4) if at_zero else np.asarray([0.5, -1.0, 2.0, 0.3])
    constants = [b.constant(array) for array in (np.asarray([2.0, 0.5, 1.5, 0.25]), shift, np.zeros(4), np.ones(4))]
    norm = b.node("Relu", b.node("BatchNormalization", v, *constants, name="bn"))
    beside = b.node("MatMul", b.node("Relu", v), b.constant(b.normal(4, 4)))
    record = _record(b.model(norm, beside))
    if at_zero:
        assert record.fate is Fate.ABSORBED and not record.bound
    else:
        assert record.fate is Fate.PARTLY
        assert record.bound == (
            "it must stay, whole or in part: another reader of the same channels bends at another place"
        )


def test_norms_that_bend_at_one_place_have_no_bound() -> None:
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 8, 8)), 3, 4, (1, 1))
    constants = b.statistics(4)
    names = [b.constant(array) for array in constants]
    outputs = [b.node("Relu", b.node("BatchNormalization", x, *names)) for _ in range(2)]
    records = onnxnorm.optimize(b.model(*outputs), verify=False).normalizations
    assert not [record.bound for record in records if record.bound]


def test_cost_is_told_with_its_figures() -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Sigmoid", b.input((1, 4, 8, 8)), name="before")
    record = _record(b.model(b.conv(b.node("Relu", b.batch_norm(x, 4, name="bn"), name="bend"), 4, 4, (1, 1))))
    assert record.cost is None or record.cost.pays >= record.cost.saves > 0


@pytest.mark.parametrize("opset", [None, 7, 9, 18])
def test_batch_normalization_6_that_trains_is_one_thing_with_and_without_opset(opset: int | None) -> None:
    b = Builder(dtype=np.float32, opset=6, ir_version=3)
    x = b.node("Conv", b.input((1, 3, 8, 8)), b.constant(b.normal(4, 3, 3, 3)), name="stem")
    names = [b.constant(array) for array in b.statistics(4)]
    model = b.model(b.node("BatchNormalization", x, *names, name="bn"))
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, TensorProto.FLOAT, constant.dims))
    told = onnxnorm.inspect(model)[0]
    assert (told.kind, told.fate, told.code) == (_TRAINING, Fate.LEFT, Code.TRAINING_MODE)
    result = onnxnorm.optimize(model, opset=opset, verify=False)
    (record,) = result.normalizations
    # Before opset 7 the reason says besides what makes it train.
    silent = ", as it is before opset 7 without is_test = 1"
    assert silent in told.reason
    assert (record.fate, record.code) == (told.fate, told.code)
    assert record.reason.replace(silent, "") == told.reason.replace(silent, "")
    assert [node.op_type for node in result.model.graph.node] == ["Conv", "BatchNormalization"]
