"""Casts, clips, layouts and Transposes in a row: one does what two do, where that is the same bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from testing.builder import Builder
from testing.cleaning import cleaned, nodes_of

T = TensorProto


def casts(source: Any, *types: int) -> list[str]:
    """What is left of a row of Casts."""
    net = Builder(dtype=source)
    x = net.input(("n", 7))
    for element in types:
        x = net.node("Cast", x, to=element)
    net.output(x, shape=("n", 7), element=types[-1])
    return nodes_of(cleaned(net.model()))


@pytest.mark.parametrize(
    ("source", "types", "left"),
    [
        (np.float32, (T.DOUBLE, T.FLOAT), 1),
        (np.float16, (T.FLOAT, T.DOUBLE), 1),
        (np.float32, (T.DOUBLE, T.FLOAT16), 1),
        (np.int8, (T.FLOAT, T.INT8), 1),
        (np.int32, (T.INT64, T.INT8), 1),
        (np.uint8, (T.INT32, T.FLOAT), 1),
        (np.bool_, (T.FLOAT, T.INT64), 1),
        (np.float32, (T.FLOAT16, T.FLOAT), 2),
        (np.float64, (T.FLOAT, T.DOUBLE), 2),
        (np.int64, (T.INT32, T.INT64), 2),
        (np.int64, (T.DOUBLE, T.INT64), 2),
        (np.int32, (T.FLOAT, T.INT32), 2),
        (np.int8, (T.UINT8, T.INT32), 2),
        (np.int32, (T.BOOL, T.INT32), 2),
        (np.float32, (T.INT32, T.FLOAT), 2),
    ],
)
def test_casts_in_a_row(source: Any, types: tuple[int, ...], left: int) -> None:
    found = casts(source, *types)
    # An output cannot be an input without a node between.
    assert found in (["Cast"] * left, ["Identity"] * left)


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [((0, 6), (-1, 4), 1), ((-2, 2), (3, 5), 1), ((2, 1), (0, 1), 2), ((None, 6), (0, 3), 2), ((-0.0, 1), (0, 1), 2)],
)
def test_clips_in_a_row(first: tuple[Any, ...], second: tuple[Any, ...], left: int) -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 9))
    for bounds in (first, second):
        names = ["" if bound is None else net.constant(np.float32(bound)) for bound in bounds]
        x = net.node("Clip", x, *names)
    assert nodes_of(cleaned(net.model(net.node("Neg", x)))) == ["Clip"] * left + ["Neg"]


@pytest.mark.parametrize("op_type", ["Cast", "Clip", "Reshape", "Transpose"])
def test_what_is_between_stays_where_others_read_it(op_type: str) -> None:
    net = Builder(dtype=np.float32)
    x = net.input((2, 3, 4))
    rest: dict[str, Callable[[int], tuple[list[str], dict[str, Any]]]] = {
        "Cast": lambda step: ([], {"to": (T.DOUBLE, T.FLOAT16)[step]}),
        "Clip": lambda step: ([net.constant(np.float32(-step)), net.constant(np.float32(2))], {}),
        "Reshape": lambda step: ([net.ints(*((6, 4), (3, 8))[step])], {}),
        "Transpose": lambda step: ([], {"perm": (1, 2, 0)}),
    }
    for step in range(2):
        operands, attributes = rest[op_type](step)
        x = net.node(op_type, x, *operands, **attributes)
        net.output(x, element=attributes.get("to"))
    assert nodes_of(cleaned(net.model())) == [op_type] * 2


def rows(*steps: tuple[Any, ...], shape: tuple[int | str, ...] = ("n", 3, 4, 1), opset: int = 18) -> list[str]:
    """What is left of nodes in a row, of which each is an operator and the numbers it takes."""
    net = Builder(dtype=np.float32, opset=opset)
    x = net.node("Neg", net.input(shape))
    for op_type, *numbers in steps:
        if op_type == "Transpose":
            x = net.node(op_type, x, perm=numbers)
        elif op_type == "Flatten":
            x = net.node(op_type, x, axis=numbers[0])
        elif opset < 13 and op_type != "Reshape":
            x = net.node(op_type, x, axes=numbers)
        else:
            x = net.node(op_type, x, net.ints(*numbers))
    return nodes_of(cleaned(net.model(net.node("Abs", x))))[1:-1]


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([("Unsqueeze", 1), ("Squeeze", 1)], []),
        ([("Squeeze", 3), ("Unsqueeze", -1)], []),
        ([("Unsqueeze", 0), ("Unsqueeze", 2)], ["Unsqueeze"]),
        ([("Unsqueeze", 4), ("Squeeze", 3, 4)], ["Reshape"]),
        ([("Reshape", 0, 12), ("Reshape", -1, 6, 2)], ["Reshape"]),
        ([("Reshape", -1, 2), ("Unsqueeze", 1)], ["Reshape"]),
        ([("Flatten", 1), ("Unsqueeze", 2)], ["Reshape"]),
        ([("Transpose", 0, 1, 3, 2), ("Flatten", 1)], ["Reshape"]),
        ([("Transpose", 0, 2, 3, 1), ("Transpose", 0, 3, 1, 2)], []),
        ([("Transpose", 1, 2, 3, 0), ("Transpose", 1, 0, 2, 3)], ["Transpose"]),
        ([("Transpose", 0, 2, 1, 3), ("Flatten", 1)], ["Transpose", "Flatten"]),
        ([("Reshape", -1, 4), ("Transpose", 1, 0)], ["Reshape", "Transpose"]),
    ],
)
def test_layouts_in_a_row(steps: list[tuple[Any, ...]], left: list[str]) -> None:
    assert rows(*steps) == left


def test_layouts_in_a_row_before_axes_were_an_input() -> None:
    assert rows(("Unsqueeze", 1), ("Squeeze", 1), opset=11) == []
    assert rows(("Squeeze", 3), ("Unsqueeze", 0), opset=11) == ["Reshape"]


def test_a_reshape_that_would_have_to_ask_for_two_extents_is_none() -> None:
    steps = [("Reshape", 0, 0, -1), ("Unsqueeze", 0)]
    assert rows(*steps, shape=("n", "m", 4, 2)) == ["Reshape", "Unsqueeze"]


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [(((1, 9, 1),), ((0, 2, -1),), 1), (((-1, -9, 1, -1),), ((1, 9, 0, 2),), 1), (((1, 9, 1),), ((0, 1, 1),), 2)],
)
def test_slices_in_a_row(first: Any, second: Any, left: int) -> None:
    net = Builder(dtype=np.float32)
    x = net.node("Neg", net.input(("n", 3, 4)))
    for (bounds,) in (first, second):
        x = net.node("Slice", x, *map(net.ints, bounds))
    assert nodes_of(cleaned(net.model(net.node("Abs", x)), sizes=(3, 2))) == ["Neg", *["Slice"] * left, "Abs"]


def around(*behind: str, spare: bool = False, other: str | None = None) -> list[str]:
    """x -> Transpose -> the operators -> Transpose back; `other`: an operand in the order of x or in that between."""
    net = Builder(dtype=np.float32)
    x = net.input(("n", 3, 4, 5))
    value = net.node("Transpose", net.node("Neg", x), perm=[0, 2, 3, 1])
    for op_type in behind:
        if op_type == "Add":
            value = net.node("Add", value, net.constant(net.normal(4, 1, 3)))
        elif op_type == "Concat":
            value = net.node("Concat", value, value, axis=-1)
        elif op_type == "Max" and other is not None:
            value = net.node("Max", value, other_operand(net, x, other))
        else:
            value = net.node(op_type, value)
    if spare:
        net.output(net.node("Softmax", value, axis=2))
    return nodes_of(cleaned(net.model(net.node("Abs", net.node("Transpose", value, perm=[0, 3, 1, 2])))))


def other_operand(net: Builder, x: str, kind: str) -> str:
    if kind == "transposed too":
        return net.node("Transpose", net.node("Ceil", x), perm=[0, 2, 3, 1])
    return net.node("Ceil", net.input(("n", 4, 5, 3), "z"))


def test_transposes_around_elementwise_operators_go() -> None:
    assert around("Relu", "Add", "Floor") == ["Neg", "Relu", "Add", "Floor", "Abs"]
    assert around("Relu", "Concat") == ["Neg", "Relu", "Concat", "Abs"]
    assert around("Max", other="transposed too").count("Transpose") == 0


def test_transposes_stay_where_nothing_is_gained() -> None:
    # What is read in that order needs a Transpose of its own: one is left of two.
    assert around("Relu", spare=True).count("Transpose") == 1
    assert around("Max", other="as it is").count("Transpose") == 2
    net = Builder(dtype=np.float32)
    x = net.node("Transpose", net.input((2, 3, 4)), perm=[2, 0, 1])
    assert nodes_of(cleaned(net.model(net.node("Relu", x), net.node("Neg", x)))).count("Transpose") == 1


def test_an_output_between_transposes_keeps_its_name_and_its_order() -> None:
    net = Builder(dtype=np.float32)
    x = net.node("Neg", net.input(("n", 3, 4)))
    y = net.node("Relu", net.node("Transpose", x, perm=[0, 2, 1]), out="y")
    z = net.node("Abs", net.node("Transpose", y, perm=[0, 2, 1]), out="z")
    assert nodes_of(cleaned(net.model(y, z))).count("Transpose") == 1


def test_no_transpose_comes_between_quantization_and_its_operator() -> None:
    net = Builder(dtype=np.float32)
    scale, zero = net.constant(np.float32(0.1)), net.constant(np.array(3, np.uint8))
    x = net.node("Transpose", net.node("Neg", net.input((2, 3, 4))), perm=[0, 2, 1])
    real = net.node("DequantizeLinear", net.node("QuantizeLinear", x, scale, zero), scale, zero)
    back = net.node("Transpose", real, perm=[0, 2, 1])
    again = net.node("Transpose", net.node("Relu", real), perm=[0, 2, 1])
    model = net.model(net.node("Softmax", real, axis=1), net.node("Abs", back), net.node("Ceil", again))
    after = cleaned(model)
    makers = {name: node.op_type for node in after.graph.node for name in node.output}
    turned = [node for node in after.graph.node if node.op_type == "Transpose"]
    assert all(makers[node.input[0]] != "DequantizeLinear" or node.name.startswith("Transpose") for node in turned)
