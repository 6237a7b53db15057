"""Tests of outputs that onnxruntime's kernels compute with an absolute error, however small the value is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.runtime.unoptimized import open_session
from onnxnorm.verification.cases import case_of
from onnxnorm.verification.kernel_errors import ABSOLUTE_ERRORS, kernel_errors

_TORCH = {
    "Celu": torch.celu,
    "Elu": torch.nn.functional.elu,
    "Exp": torch.exp,
    "Erf": torch.erf,
    "Gelu": torch.nn.functional.gelu,
    "Selu": torch.selu,
    "Sigmoid": torch.sigmoid,
    "Softplus": torch.nn.functional.softplus,
    "Tanh": torch.tanh,
}


def _unary(op_type: str) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _errors(op_type: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return what the kernel is off by, and the exact values, over many inputs; PyTorch in double is the oracle."""
    near_zero = np.geomspace(1e-9, 1, 20001)
    x = np.concatenate([np.linspace(-30, 30, 200003), near_zero, -near_zero]).astype(np.float32)
    exact = _TORCH[op_type](torch.from_numpy(x.astype(np.float64))).numpy()
    (seen,) = open_session(_unary(op_type), "off").run(None, {"x": x})
    small = np.abs(exact) <= 1
    return np.abs(seen - exact)[small], np.abs(exact)[small]


@pytest.mark.parametrize("op_type", sorted(_TORCH))
def test_the_table_holds_the_kernels_whose_error_is_absolute(op_type: str) -> None:
    errors, sizes = _errors(op_type)
    tiny = (sizes < 1e-3) & (sizes > 1e-12)
    is_relative = bool(np.all(errors[tiny] <= 1e-5 * sizes[tiny]))
    assert is_relative is (op_type not in ABSOLUTE_ERRORS)
    assert errors.max() <= ABSOLUTE_ERRORS.get(op_type, 4e-7)


def _head(weight: float, *, through: str = "Squeeze") -> onnx.ModelProto:
    """A probability of about 1.5e-5, made in a branch, where verification moves no weights to see their noise."""
    sizes = np.array([0.37, 0.81, -0.22, 1.3], np.float32).reshape(4, 1)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["bounded"]),
            helper.make_node("Add", ["bounded", "bias"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
            helper.make_node(through, ["probability"], ["out"]),
        ],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.float32(weight) * sizes, "w"),
            numpy_helper.from_array(np.array([-11.1], np.float32), "bias"),
        ],
    )
    other = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["other"], keepdims=0)],
        "other",
        [],
        [helper.make_tensor_value_info("other", TensorProto.FLOAT, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Greater", ["big", "small"], ["always"]),
            helper.make_node("If", ["always"], ["y"], then_branch=body, else_branch=other),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array(2, np.float32), "big"),
            numpy_helper.from_array(np.array(1, np.float32), "small"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_a_small_probability_that_the_kernel_rounds_elsewhere_is_right() -> None:
    """Of inputs that are one rounding apart, those whose probabilities the kernel sets apart by most."""
    x = np.linspace(-11.2, -11.0, 4001, dtype=np.float32)
    session = open_session(_unary("Sigmoid"), "off")
    before, after = (session.run(None, {"x": each})[0] for each in (x, np.nextafter(x, np.float32(0))))
    worst = int(np.argmax(np.abs(after - before)))
    base, result = before[worst : worst + 1], after[worst : worst + 1]
    exact = 1 / (1 + np.exp(-x[worst : worst + 1].astype(np.float64)))

    def excess(error: float, got: npt.NDArray[Any]) -> float:
        case = case_of("y", "y", exact, [base, base], [], got, 0.0, error)
        return case.measure([case]).excess

    bound = ABSOLUTE_ERRORS["Sigmoid"]
    assert excess(0.0, result) > 1 > excess(bound, result)
    assert excess(bound, 1.5 * base) > 1


@pytest.mark.parametrize("factor", [1.2, 0.5, -1.0])
def test_a_small_probability_of_another_weight_is_wrong(factor: float) -> None:
    report = onnxnorm.verify(_head(0.5), _head(0.5 * factor))
    assert not report.passed


def test_bounds_follow_what_moves_or_averages_values_and_nothing_else() -> None:
    assert kernel_errors(_head(0.1))["y"] == ABSOLUTE_ERRORS["Sigmoid"]
    assert "y" not in kernel_errors(_head(0.1, through="Exp"))


def test_errors_of_the_kernels_do_not_excuse_a_double() -> None:
    model, other = _unary("Sigmoid"), _unary("Sigmoid")
    for each in (model, other):
        for value in (*each.graph.input, *each.graph.output):
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    other.graph.node[0].output[0] = "probability"
    other.graph.node.append(helper.make_node("Mul", ["probability", "factor"], ["y"]))
    other.graph.initializer.append(numpy_helper.from_array(np.array(1 + 1e-9), "factor"))
    assert not onnxnorm.verify(model, other).passed
