"""Merging linear branches: every case that must merge has a twin, one step away, that must not.

Each graph is compared before and after in float64, by the evaluator of `verify`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from tests.affine.support import Builder, count, folded

WEIGHTY = ("Conv", "ConvTranspose", "MatMul", "Gemm")
Build = Callable[[Builder, str], str]


def optimized(
    build: Build, shape: Any = (2, 4, 8, 8), *, symbols: dict[str, int] | None = None, **options: Any
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The graph of `build` on an input, under a Relu; before and after."""
    builder = Builder(**options)
    model = builder.model(builder.node("Relu", build(builder, builder.input(list(shape)))))
    return model, folded(model, whole=True, symbols=symbols).model


def nodes(model: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for node in model.graph.node)


def merges(build: Build, shape: Any = (2, 4, 8, 8), **options: Any) -> onnx.ModelProto:
    """All of it becomes one node (and an Add where that is a MatMul that cannot take a bias)."""
    _, after = optimized(build, shape, **options)
    assert count(after, *WEIGHTY) == 1 and len(after.graph.node) == 2, nodes(after)
    return after


def declines(build: Build, shape: Any = (2, 4, 8, 8), **options: Any) -> onnx.ModelProto:
    """No convolution and no product goes."""
    before, after = optimized(build, shape, **options)
    assert count(after, *WEIGHTY) == count(before, *WEIGHTY), nodes(after)
    return after


def conv(b: Builder, x: str, channels: int, outputs: int, kernel: Any = (1, 1), **attributes: Any) -> str:
    return b.conv(x, channels, outputs, kernel, **attributes)


def beside(join: str = "Add", channels: int = 4, **second: Any) -> Build:
    """A 3x3 convolution and another one of the same input, added."""
    shared = {"strides": second.get("strides", [1, 1]), "group": second.pop("first_group", 1)}
    first = {"kernel": (3, 3), "pads": [1] * 4, **shared}
    return lambda b, x: b.node(join, conv(b, x, channels, 4, **first), conv(b, x, channels, 4, **second))


def with_branch(branch: Build, *, padded: bool = True, join: str = "Add") -> Build:
    """A 3x3 convolution, and `branch` of the same input, added."""
    return lambda b, x: b.node(join, conv(b, x, 4, 4, (3, 3), pads=[1 if padded else 0] * 4), branch(b, x))


def in_a_row(first: dict[str, Any], second: dict[str, Any], *, middle: int = 4) -> Build:
    return lambda b, x: conv(b, conv(b, x, 4, middle, **first), middle, 4, **second)


def padded(mode: str, value: float = 0.0) -> Build:
    def build(b: Builder, x: str) -> str:
        inputs = [x, b.ints(0, 0, 1, 1, 0, 0, 1, 1)] + ([b.constant(np.array(value))] if mode == "constant" else [])
        return conv(b, b.node("Pad", *inputs, mode=mode), 4, 4, (3, 3))

    return build


def pool_behind(kernel: int, channels: int = 8) -> Build:
    def build(b: Builder, x: str) -> str:
        y = conv(b, x, 4, channels, (kernel, kernel), pads=[kernel // 2] * 4)
        return b.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])

    return build


def concatenated(first: dict[str, Any], second: dict[str, Any]) -> Build:
    return lambda b, x: b.node("Concat", conv(b, x, 4, 4, **first), conv(b, x, 4, 2, **second), axis=1)


def transposed(join: str, **second: Any) -> Build:
    """A transposed convolution of kernel 4, stride 2, padding 1, and another one."""

    def build(b: Builder, x: str) -> str:
        kernel = second.pop("kernel", 2)
        wide = b.node("ConvTranspose", x, b.constant(b.normal(4, 2, 4, 4)), strides=[2, 2], pads=[1] * 4, group=2)
        weights = b.constant(b.normal(4, 2, kernel, kernel)), b.constant(b.normal(4))
        return b.node(join, wide, b.node("ConvTranspose", x, *weights, strides=[2, 2], group=2, **second))

    return build


def slices_of_space(b: Builder, x: str, *, last: int = 1) -> str:
    """What YOLOv5's Focus does: every second place, four times, then a convolution."""
    far, axes, steps = b.ints(2**62, 2**62), b.ints(2, 3), b.ints(2, 2)
    parts = [b.node("Slice", x, b.ints(*start), far, axes, steps) for start in ((0, 0), (1, 0), (0, 1), (1, last))]
    return conv(b, b.node("Concat", *parts, axis=1), 16, 4, (3, 3), pads=[1] * 4)


def space_to_depth(b: Builder, x: str) -> str:
    return conv(b, b.node("SpaceToDepth", x, blocksize=2), 16, 4, (3, 3), pads=[1] * 4)


def gated(b: Builder, x: str) -> str:
    y = conv(b, x, 4, 4)
    return b.node("Mul", y, b.node("Sigmoid", b.node("GlobalAveragePool", y)))


def scaled(b: Builder, x: str) -> str:
    return b.node("Mul", conv(b, x, 4, 4), b.constant(np.array(0.25)))


def slice_of_channels(index: list[int]) -> Build:
    """The first half through a convolution, the second through another one, side by side: one grouped convolution."""

    def build(b: Builder, x: str) -> str:
        low, high = b.node("Gather", x, b.ints(*index), axis=1), b.node("Slice", x, b.ints(2), b.ints(4), b.ints(1))
        parts = conv(b, low, 2, 2, (3, 3), pads=[1] * 4), conv(b, high, 2, 2, (3, 3), pads=[1] * 4)
        return b.node("Concat", *parts, axis=1)

    return build


TWINS: dict[str, tuple[Build, Build]] = {
    "1x1": (beside(kernel=(1, 1)), with_branch(lambda b, x: conv(b, b.node("Tanh", x), 4, 4))),
    "1x3": (beside(kernel=(1, 3), pads=[0, 1, 0, 1]), beside(kernel=(1, 7), pads=[0, 3, 0, 3])),
    "3x1, subtracted": (
        beside("Sub", kernel=(3, 1), pads=[1, 0, 1, 0]),
        beside("Mul", kernel=(3, 1), pads=[1, 0, 1, 0]),
    ),
    "off centre": (beside(kernel=(2, 2), pads=[1, 0, 0, 1]), beside(kernel=(2, 2), pads=[3, 0, -0, 1], dilations=[3, 1])),
    "dilated": (beside(kernel=(2, 2), pads=[1] * 4, dilations=[2, 2]), beside(kernel=(3, 3), pads=[2] * 4, dilations=[2, 2])),
    "stride 2": (beside(kernel=(1, 1), strides=[2, 2]), beside(kernel=(7, 7), pads=[3] * 4, strides=[2, 2], group=2)),
    "depthwise": (
        beside(kernel=(3, 3), pads=[1] * 4, first_group=4, group=4),
        beside(kernel=(1, 1), first_group=4, group=1),
    ),
    "grouped, finer groups beside": (
        beside(kernel=(1, 1), first_group=2, group=4),
        beside(kernel=(1, 1), first_group=2, group=1),
    ),
    "identity": (with_branch(lambda b, x: x), with_branch(lambda b, x: b.node("Sigmoid", x))),
    "identity subtracted": (
        with_branch(lambda b, x: x, join="Sub"),
        with_branch(lambda b, x: b.node("Abs", x), join="Sub"),
    ),
    "scaled identity": (
        with_branch(lambda b, x: b.node("Mul", x, b.constant(b.normal(4, 1, 1)))),
        with_branch(lambda b, x: b.node("Mul", x, b.constant(b.normal(1, 8)))),
    ),
    "BatchNorm on the identity": (
        with_branch(lambda b, x: b.batch_norm(x, 4)),
        with_branch(lambda b, x: b.node("InstanceNormalization", x, *(b.constant(b.normal(4)) for _ in range(2)))),
    ),
    "average, border counted": (
        with_branch(lambda b, x: b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)),
        with_branch(lambda b, x: b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)),
    ),
    "average, no border": (
        with_branch(lambda b, x: b.node("AveragePool", x, kernel_shape=[3, 3]), padded=False),
        with_branch(lambda b, x: b.node("MaxPool", x, kernel_shape=[3, 3]), padded=False),
    ),
    "scalar on a branch": (with_branch(scaled), with_branch(gated)),
    "unbiased 1x1, padded 3x3": (
        in_a_row({"bias": False}, {"kernel": (3, 3), "pads": [1] * 4}),
        in_a_row({"bias": True}, {"kernel": (3, 3), "pads": [1] * 4}),
    ),
    "padded 1x1, 3x3": (
        in_a_row({"pads": [1] * 4}, {"kernel": (3, 3)}),
        in_a_row({"pads": [1] * 4}, {"kernel": (3, 3)}, middle=1),
    ),
    "3x3, 1x1": (
        in_a_row({"kernel": (3, 3), "pads": [1] * 4}, {}),
        in_a_row({"kernel": (3, 3), "pads": [1] * 4}, {"pads": [1] * 4}),
    ),
    "padding": (padded("constant"), padded("reflect")),
    "padding by zero": (padded("constant", 0.0), padded("constant", 1.0)),
    "average behind": (pool_behind(3), pool_behind(1, 4)),
    "concatenated": (concatenated({}, {}), concatenated({"kernel": (3, 3), "pads": [1] * 4}, {})),
    "transposed": (transposed("Sub", kernel=2), transposed("Sub", kernel=2, pads=[3] * 4, dilations=[7, 7])),
    "slices of space": (slices_of_space, lambda b, x: slices_of_space(b, x, last=0)),
    "space to depth": (space_to_depth, lambda b, x: conv(b, b.node("DepthToSpace", x, blocksize=2), 1, 4)),
    "slices of channels": (slice_of_channels([0, 1]), slice_of_channels([1, 2])),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_merges(name: str) -> None:
    merges(TWINS[name][0])


@pytest.mark.parametrize("name", TWINS)
def test_declines(name: str) -> None:
    declines(TWINS[name][1])
