"""Tests that errors are measured value by value, between the values that mean the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxnorm.optimizer.optimize import optimize
from onnxnorm.verification.layers import errors_by_layer
from testing.builder import Builder


def _network() -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.input((2, 3, 8, 8))
    for channels, outputs in ((3, 4), (4, 6)):
        x = b.node("Relu", b.batch_norm(b.conv(x, channels, outputs, (3, 3)), outputs))
    return b.model(x)


def _with_weight(model: onnx.ModelProto, op_type: str, number: int, factor: float) -> tuple[onnx.ModelProto, str]:
    """Multiply one element of a weight; return the model and the output of its node."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    node = [node for node in copy.graph.node if node.op_type == op_type][number]
    tensor = next(tensor for tensor in copy.graph.initializer if tensor.name == node.input[1])
    values = np.array(numpy_helper.to_array(tensor))
    values.flat[int(np.argmax(np.abs(values)))] *= factor
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy, node.output[0]


def test_values_are_paired_by_what_they_are() -> None:
    """A convolution that took up its normalization gives what the normalization gave, under its own name."""
    model = _network()
    result = optimize(model).model
    assert len(result.graph.node) < len(model.graph.node)
    errors = errors_by_layer(model, result)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert [makers[error.value] for error in errors] == ["BatchNormalization", "Relu"] * 2
    assert all(error.error_result < 1e-5 * error.size for error in errors)
    assert all(0 < error.error_original < 1e-5 * error.size for error in errors)


@pytest.mark.parametrize("factor", [1.001, -1.0])
@pytest.mark.parametrize("number", [0, 1])
def test_the_error_begins_where_it_was_made(number: int, factor: float) -> None:
    model = _network()
    broken, value = _with_weight(model, "Conv", number, factor)
    errors = errors_by_layer(model, broken)
    off = [error.value for error in errors if error.error_result > 20 * error.error_original]
    assert off[0] == value
    assert off == [error.value for error in errors][-len(off) :]


def test_given_inputs_are_taken() -> None:
    model = _network()
    (name,) = [value.name for value in model.graph.input]
    errors = errors_by_layer(model, model, {name: np.zeros((2, 3, 8, 8), np.float32)})
    assert errors and all(error.error_result == error.error_original for error in errors)
    twice = errors_by_layer(model, model, {name: np.full((2, 3, 8, 8), 2.0, np.float32)})
    assert [error.size for error in twice] != [error.size for error in errors]
