"""A shift before a zero padding: exact where the extents are known, by a shift that differs at the border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testing.builder import Builder, affines, count, folded
from tests.affine.pairs import MIXED, SHIFT


def _normed(b: Builder, *space: int | str) -> str:
    return b.affine(b.node("Tanh", b.input((2, 4, *space))), MIXED, SHIFT)


@pytest.mark.parametrize(
    "window",
    [
        {"pads": [1, 1, 1, 1]},
        {"pads": [0, 2, 1, 0]},
        {"pads": [2, 2, 2, 2], "dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
    ],
    ids=str,
)
@pytest.mark.parametrize("group", [1, 2])
def test_a_smaller_result_takes_the_shift_as_one_add(window: dict[str, Any], group: int) -> None:
    b = Builder()
    y = b.conv(_normed(b, 9, 10), 4, 4, (3, 3), group=group, strides=[2, 2], **window)
    model = folded(b.model(b.node("Softsign", y))).model
    assert count(model, "BatchNormalization") == 0
    assert count(model, "Add") == affines(model) == 1


@pytest.mark.parametrize("space", [9, 30])
@pytest.mark.parametrize("activation", ["Sigmoid", "Relu", "Softsign", "Exp"])
def test_an_activation_is_parted_from_the_convolution_that_would_run_it_only_where_that_pays(
    activation: str, space: int
) -> None:
    b = Builder()
    y = b.conv(_normed(b, space, space), 4, 4, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    model = folded(b.model(b.node(activation, y))).model
    operators = [node.op_type for node in model.graph.node]
    # onnxruntime runs a convolution and one of the first two as one node where no Add stands between them.
    stays_before = space == 9 and activation in ("Sigmoid", "Relu")
    assert (operators.index("Add") < operators.index("Conv")) == stays_before
    assert count(model, "BatchNormalization") == 0 and affines(model) == 1


def test_extents_that_are_not_known_leave_the_shift_before_the_padding() -> None:
    b = Builder()
    y = b.conv(_normed(b, "h", "w"), 4, 4, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1])
    model = folded(b.model(b.node("Sigmoid", y)), symbols={"h": 9, "w": 10}).model
    (add,) = [node for node in model.graph.node if node.op_type in ("Add", "BatchNormalization")]
    assert next(node for node in model.graph.node if add.output[0] in node.input).op_type == "Conv"


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "AveragePool"])
def test_a_mean_over_space_makes_one_number_of_it_again(kind: str) -> None:
    b = Builder()
    x = _normed(b, 5, 6)
    if kind == "Conv":
        y = b.conv(x, 4, 4, (3, 3), pads=[1, 1, 1, 1])
    elif kind == "ConvTranspose":
        weight = b.constant(b.normal(4, 2, 3, 3))
        y = b.node("ConvTranspose", x, weight, group=2, strides=[2, 2], pads=[1, 1, 0, 0], output_padding=[1, 0])
    else:
        y = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    y = b.node("Flatten", b.node("GlobalAveragePool", y))
    y = b.node("Gemm", y, b.constant(b.normal(4, 3)), b.constant(b.normal(3)))
    assert affines(folded(b.model(b.node("Sigmoid", y))).model) == 0


def test_the_shift_of_the_border_is_what_the_convolution_makes_of_it() -> None:
    b = Builder()
    y = b.conv(_normed(b, 9, 9), 4, 4, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1], bias=False)
    model = folded(b.model(b.node("Softsign", y))).model
    shapes = [tuple(tensor.dims) for tensor in model.graph.initializer]
    assert (4, 5, 5) in shapes and np.prod((4, 5, 5)) < np.prod((4, 9, 9))
