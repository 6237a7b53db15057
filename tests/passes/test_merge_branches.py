"""Merging linear branches: every case that must merge has a twin, one step away, that must not.

Each graph is compared before and after in float64, by the evaluator of `verify`.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxnorm
from onnxnorm.io import new_weights
from onnxnorm.linear import convolution
from onnxnorm.optimizer.inspect import Fate
from testing.builder import QUICK, Builder, count, folded, same_in_onnxruntime

WEIGHTY = ("Conv", "ConvTranspose", "MatMul", "Gemm")
Build = Callable[[Builder, str], str]


@pytest.fixture(autouse=True)
def _a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the weights of large models are computed."""
    monkeypatch.setattr(convolution, "_BLOCK", 40)


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


def shuffled(perm: list[int], split: list[int] | None = None) -> Build:
    """A convolution, its channels in two groups taken in turns, and another convolution."""

    def build(b: Builder, x: str) -> str:
        opened = b.node("Reshape", conv(b, x, 4, 6, (3, 3), pads=[1] * 4), b.ints(*(split or [0, 2, 3, 8, 8])))
        closed = b.node("Reshape", b.node("Transpose", opened, perm=perm), b.ints(0, -1, 8, 8))
        return conv(b, closed, 6, 4)

    return build


def depth_to_space(mode: str, *, bias: bool = False) -> Build:
    def build(b: Builder, x: str) -> str:
        y = b.node("DepthToSpace", conv(b, x, 4, 12, bias=bias), blocksize=2, mode=mode)
        return conv(b, y, 3, 2)

    return build


def enlarged(extents: list[int]) -> Build:
    """Two transposed convolutions that say how large their output is to be."""

    def build(b: Builder, x: str) -> str:
        wide = b.node("ConvTranspose", x, b.constant(b.normal(4, 3, 4, 4)), strides=[2, 2], output_shape=extents)
        weight = b.constant(b.normal(4, 3, 2, 2))
        return b.node("Add", wide, b.node("ConvTranspose", x, weight, strides=[2, 2], auto_pad="SAME_UPPER"))

    return build


TWINS: dict[str, tuple[Build, Build]] = {
    "1x1": (beside(kernel=(1, 1)), with_branch(lambda b, x: conv(b, b.node("Tanh", x), 4, 4))),
    "1x3": (beside(kernel=(1, 3), pads=[0, 1, 0, 1]), beside(kernel=(1, 7), pads=[0, 3, 0, 3])),
    "3x1, subtracted": (
        beside("Sub", kernel=(3, 1), pads=[1, 0, 1, 0]),
        beside("Mul", kernel=(3, 1), pads=[1, 0, 1, 0]),
    ),
    "off centre": (
        beside(kernel=(2, 2), pads=[1, 0, 0, 1]),
        beside(kernel=(2, 2), pads=[3, 0, 0, 1], dilations=[3, 1]),
    ),
    "dilated": (
        beside(kernel=(2, 2), pads=[1] * 4, dilations=[2, 2]),
        beside(kernel=(3, 3), pads=[2] * 4, dilations=[2, 2]),
    ),
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
    "channel shuffle": (shuffled([0, 2, 1, 3, 4]), shuffled([0, 2, 1, 4, 3])),
    "channel shuffle, regrouped": (shuffled([0, 2, 1, 3, 4]), shuffled([0, 2, 1, 3, 4], [0, 3, 2, 4, 16])),
    "depth to space": (depth_to_space("DCR"), depth_to_space("DCR", bias=True)),
    "depth to space, columns first": (depth_to_space("CRD"), depth_to_space("CRD", bias=True)),
    "transposed, by its output": (enlarged([16, 16]), transposed("Add", auto_pad="SAME_UPPER", kernel=3)),
    "slices of channels": (slice_of_channels([0, 1]), slice_of_channels([1, 2])),
}


@pytest.mark.parametrize("name", TWINS)
def test_merges(name: str) -> None:
    merges(TWINS[name][0])


@pytest.mark.parametrize("name", TWINS)
def test_declines(name: str) -> None:
    declines(TWINS[name][1])


def low_rank(rank: int, *, activation: str = "", scale: float | None = 0.5) -> Build:
    """x @ W + b + (x @ A) @ B * s, as low-rank adapters have it."""

    def build(b: Builder, x: str) -> str:
        direct = b.node("Add", b.node("MatMul", x, b.constant(b.normal(16, 12))), b.constant(b.normal(12)))
        down = b.node("MatMul", x, b.constant(b.normal(16, rank)))
        up = b.node("MatMul", b.node(activation, down) if activation else down, b.constant(b.normal(rank, 12)))
        return b.node("Add", direct, up if scale is None else b.node("Mul", up, b.constant(np.array(scale))))

    return build


def products(join: str, **second: Any) -> Build:
    """Two Gemms of one input."""

    def build(b: Builder, x: str) -> str:
        first = b.node("Gemm", x, b.constant(b.normal(12, 16)), b.constant(b.normal(12)), transB=1)
        bias = second.pop("bias", (1, 12))
        return b.node(
            join, first, b.node("Gemm", x, b.constant(b.normal(16, 12)), b.constant(b.normal(*bias)), **second)
        )

    return build


def on_the_left(second: tuple[int, int], *, bias: tuple[int, ...] | None = None, rank: int = 3) -> Build:
    """W2 @ (W1 @ x + b), W1 of shape (12, 16)."""

    def build(b: Builder, x: str) -> str:
        first, outer = b.constant(b.normal(12, 16)), b.constant(b.normal(*second))
        if rank == 2:
            y = b.node("Gemm", first, x, b.constant(b.normal(12, 1)), alpha=0.5, beta=2.0)
            return b.node("Gemm", outer, y, transA=1)
        y = b.node("MatMul", first, x)
        return b.node("MatMul", outer, y if bias is None else b.node("Add", y, b.constant(b.normal(*bias))))

    return build


def in_a_row(inner: int) -> Build:
    """(x @ W1 + b) @ W2, where W2 is the larger one."""

    def build(b: Builder, x: str) -> str:
        first = b.node("Add", b.node("MatMul", x, b.constant(b.normal(16, inner))), b.constant(b.normal(inner)))
        return b.node("MatMul", first, b.constant(b.normal(inner, 17)))

    return build


def both_sides(b: Builder, x: str) -> str:
    """W1 @ x + x @ W2 of a square x is no product with one matrix."""
    return b.node(
        "Add", b.node("MatMul", b.constant(b.normal(8, 8)), x), b.node("MatMul", x, b.constant(b.normal(8, 8)))
    )


def both_from_the_left(b: Builder, x: str) -> str:
    left = [b.node("MatMul", b.constant(b.normal(8, 8)), x) for _ in range(2)]
    return b.node("Sub", left[0], b.node("Add", left[1], b.constant(b.normal(8, 1))))


PRODUCTS: dict[str, tuple[tuple[int | str, ...], Build, Build]] = {
    "low rank": (("N", "T", 16), low_rank(2), low_rank(2, activation="Tanh")),
    "low rank, no scale, fixed": ((2, 3, 16), low_rank(3, scale=None), lambda b, x: b.node(
        "MatMul", b.node("MatMul", x, b.constant(b.normal(16, 2))), b.constant(b.normal(2, 12)))),
    "on the left": (("N", 16, 9), on_the_left((6, 12)), on_the_left((64, 12))),
    "on the left, with a bias": ((2, 16, 9), on_the_left((6, 12), bias=(12, 1)), on_the_left((64, 12), bias=(12, 1))),
    "on the left, rank 2": ((16, 9), on_the_left((12, 6), rank=2), on_the_left((12, 64), rank=2)),
    "beside on the left": ((3, 8, 8), both_from_the_left, both_sides),
    "in a row with a bias": ((2, 3, 16), in_a_row(12), in_a_row(2)),
    "low rank, rank 2": ((5, 16), low_rank(4), low_rank(4, activation="Sigmoid")),
    "Gemm and Gemm": ((5, 16), products("Add", alpha=0.5, beta=-2.0), products("Mul", alpha=0.5, beta=-2.0)),
    "Gemm and Gemm, subtracted": ((12, 16), products("Sub"), products("Sub", bias=(12, 1))),
    "in a row": ((5, 16), lambda b, x: b.node("Gemm", b.node("MatMul", x, b.constant(b.normal(16, 24))),
                                             b.constant(b.normal(24, 12)), b.constant(b.normal(12))),
                 lambda b, x: b.node("Gemm", b.node("MatMul", x, b.constant(b.normal(16, 2))),
                                     b.constant(b.normal(2, 12)), b.constant(b.normal(12)))),
    "concatenated": ((5, 16), lambda b, x: b.node("Concat", *(b.node("MatMul", x, b.constant(b.normal(16, n)))
                                                             for n in (3, 4)), axis=1),
                     lambda b, x: b.node("Concat", *(b.node("MatMul", x, b.constant(b.normal(16, 3)))
                                                     for _ in range(2)), axis=0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_merge(name: str) -> None:
    shape, build, _ = PRODUCTS[name]
    _, after = optimized(build, shape)
    assert count(after, "MatMul", "Gemm") == 1
    assert len(after.graph.node) == (2 if len(shape) == 2 else count(after, "Add") + 2), nodes(after)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_decline(name: str) -> None:
    shape, _, build = PRODUCTS[name]
    declines(build, shape)


class Branches(Builder):
    """Draws branches of one input that all have `outputs` channels and `extent` places along each axis."""

    def __init__(self, draw: Callable[[Any], Any], *, fits: bool, opset: int) -> None:
        super().__init__(seed=draw(st.integers(0, 2**20)), opset=opset, ir_version=10)
        self.draw, self.fits = draw, fits
        self.group = draw(st.sampled_from([1, 2, 4]))
        self.stride = draw(st.sampled_from([1, 1, 2, 3]))
        self.largest = draw(st.sampled_from([3, 5, 7]))

    def branch(self, x: str, index: int) -> str:
        kind = (
            self.draw(st.sampled_from(["conv", "conv", "conv", "identity", "pool", "serial"])) if index else "largest"
        )
        if kind == "identity" and self.stride == 1:
            return self.batch_norm(x, 4) if self.draw(st.booleans()) else x
        if kind == "pool":
            padding = self.largest // 2
            return self.node(
                "AveragePool",
                x,
                kernel_shape=[self.largest] * 2,
                strides=[self.stride] * 2,
                pads=[padding] * 4,
                count_include_pad=int(self.fits or self.draw(st.booleans())),
            )
        if kind == "serial":
            # A padded 1x1 and an unpadded k x k, or (with a bias that does not fit) the other way round.
            inside = self.fits or self.draw(st.booleans())
            pads = [self.largest // 2] * 4
            x = conv(self, x, 4, 4, bias=True, pads=pads if inside else [0] * 4)
            return conv(self, x, 4, 4, [self.largest] * 2, strides=[self.stride] * 2, pads=[0] * 4 if inside else pads)
        return self.convolution(x, self.largest if kind == "largest" else None)

    def convolution(self, x: str, kernel: int | None) -> str:
        kernels, dilations, pads = [], [], []
        for _ in range(2):
            taps = kernel or self.draw(st.sampled_from([1, 1, 2, 3, 5, 7]))
            dilation = self.draw(st.sampled_from([1, 1, 2])) if kernel is None else 1
            reach = (taps - 1) * dilation
            if self.fits and reach > self.largest - 1:
                taps, dilation, reach = 1, 1, 0
            begin = (
                reach // 2 if kernel or reach % 2 == 0 else self.draw(st.sampled_from([reach // 2, reach - reach // 2]))
            )
            kernels.append(taps)
            dilations.append(dilation)
            pads.append((begin, reach - begin))
        group = (
            self.group
            if kernel
            else self.draw(st.sampled_from([g for g in (1, 2, 4) if not self.fits or g >= self.group]))
        )
        y = conv(
            self,
            x,
            4,
            4,
            kernels,
            bias=self.draw(st.booleans()),
            group=group,
            strides=[self.stride] * 2,
            dilations=dilations,
            pads=[pads[0][0], pads[1][0], pads[0][1], pads[1][1]],
        )
        return self.batch_norm(y, 4) if self.draw(st.booleans()) else y

    def tree(self, terms: list[str]) -> str:
        if len(terms) == 1:
            return terms[0]
        if self.draw(st.booleans()):
            return self.node("Sum", *terms)
        cut = self.draw(st.integers(1, len(terms) - 1))
        join = self.draw(st.sampled_from(["Add", "Add", "Sub"]))
        return self.node(join, self.tree(terms[:cut]), self.tree(terms[cut:]))


@QUICK
@given(st.data(), st.sampled_from([7, 11, 13, 18]), st.sampled_from([(2, 4, 9, 10), ("N", 4, "H", "W")]))
def test_branches_that_line_up_become_one(data: Any, opset: int, shape: tuple[Any, ...]) -> None:
    b = Branches(data.draw, fits=True, opset=opset)
    x = b.input(list(shape))
    terms = [b.branch(x, index) for index in range(data.draw(st.integers(2, 5)))]
    model = b.model(b.node("Relu", b.tree(data.draw(st.permutations(terms)))))
    after = folded(model, whole=True, symbols={"N": 2, "H": 9, "W": 8}).model
    assert nodes(after) == ["Conv", "Relu"]


@QUICK
@given(st.data())
def test_branches_of_any_kind_keep_the_result(data: Any) -> None:
    b = Branches(data.draw, fits=False, opset=18)
    x = b.input([2, 4, 9, 10])
    terms = [b.branch(x, index) for index in range(data.draw(st.integers(2, 5)))]
    outputs = [b.node("Relu", b.tree(terms))]
    # Whoever else reads a branch still gets it.
    outputs += [b.node("Identity", terms[-1])] if terms[-1] != "x" and data.draw(st.booleans()) else []
    model = b.model(*outputs)
    after = folded(model, whole=True).model
    assert count(after, *WEIGHTY) <= count(model, *WEIGHTY)


def test_spellings_of_exporters() -> None:
    """auto_pad, attributes left out, weights behind Identity, Transpose and Constant nodes, Dropout in between."""

    def build(b: Builder, x: str) -> str:
        wide = b.node("Conv", x, b.node("Identity", b.constant(b.normal(4, 4, 3, 3))), auto_pad="SAME_LOWER")
        transposed = b.node("Transpose", b.constant(b.normal(4, 4, 1, 1)), perm=[1, 0, 2, 3])
        point = b.node("Conv", x, transposed, auto_pad="VALID")
        value = onnx.numpy_helper.from_array(b.normal(4, 1, 2, 2))
        narrow = b.node("Conv", x, b.node("Constant", value=value), auto_pad="SAME_UPPER", group=4)
        return b.node("Sum", wide, b.node("Dropout", point), narrow)

    for opset in (7, 11, 18, 23):
        merges(build, ("N", 4, "H", "W"), symbols={"N": 1, "H": 5, "W": 6}, opset=opset, ir_version=11)


def test_automatic_padding_of_strides_needs_the_extents() -> None:
    def build(b: Builder, x: str) -> str:
        wide = conv(b, x, 4, 4, (3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
        return b.node("Add", wide, conv(b, x, 4, 4, strides=[2, 2]))

    after = merges(build, (1, 4, 8, 7))
    (pads,) = (list(a.ints) for node in after.graph.node for a in node.attribute if a.name == "pads")
    assert pads == [0, 1, 1, 1]
    declines(build, (1, 4, "H", "W"), symbols={"H": 8, "W": 7})


@pytest.mark.parametrize("extents", [(8, 8), ("H", "W")], ids=["fixed", "open"])
def test_windows_that_agree_for_some_extents_merge_where_these_are_fixed(extents: tuple[Any, Any]) -> None:
    def build(b: Builder, x: str) -> str:
        return b.node("Add", conv(b, x, 4, 4, (2, 2), strides=[2, 2]), conv(b, x, 4, 4, strides=[2, 2]))

    check = merges if extents == (8, 8) else declines
    check(build, (1, 4, *extents), symbols={"H": 8, "W": 8})


def test_a_result_of_the_graph_keeps_its_name_and_value() -> None:
    b = Builder()
    x = b.input([1, 4, 6, 6])
    first = conv(b, x, 4, 4, (3, 3), pads=[1] * 4, out="branch")
    total = b.node("Add", first, conv(b, x, 4, 4), out="total")
    model = b.model(total, b.node("Relu", total, out="end"))
    after = folded(model, whole=True).model
    assert nodes(after) == ["Conv", "Relu"] and [value.name for value in after.graph.output] == ["total", "end"]
    # A branch that is asked for as well stays, and what is merged beside it has to pay for that.
    b.outputs.clear()
    kept = folded(b.model("branch", "end"), whole=True).model
    assert count(kept, "Conv") == 2


def test_a_branch_with_another_reader_goes_along_only_where_work_falls() -> None:
    def build(b: Builder, x: str, kernel: int) -> str:
        shared = conv(b, x, 4, 4, (kernel, kernel), pads=[kernel // 2] * 4, out="shared")
        parts = [conv(b, x, 4, 4, (3, 3), pads=[1] * 4) for _ in range(2)]
        return b.node("Concat", b.node("Sum", shared, *parts), b.node("Tanh", shared), axis=1)

    # The 1x1 goes into the sum and is computed again for Tanh: its add is saved, and it costs nothing in the sum.
    _, after = optimized(lambda b, x: build(b, x, 1))
    assert count(after, "Conv") == 2
    # A 5x5 would make the sum of the 3x3 larger: it is added as before.
    _, after = optimized(lambda b, x: build(b, x, 5))
    assert count(after, "Conv") == 2 and count(after, "Add", "Sum") == 1


def test_weights_that_others_read_stay_as_they_are() -> None:
    b = Builder()
    x, weight = b.input([1, 4, 6, 6]), b.constant(b.normal(4, 4, 3, 3))
    first = b.node("Conv", x, weight, pads=[1] * 4)
    total = b.node("Add", first, conv(b, x, 4, 4))
    after = folded(b.model(b.node("Relu", b.node("Conv", b.node("Relu", total), weight))), whole=True).model
    assert nodes(after) == ["Conv", "Conv", "Relu", "Relu"]


@pytest.mark.parametrize(("inputs", "middle"), [(4, 0), (0, 4), (0, 0)])
def test_convolutions_without_channels_stay(inputs: int, middle: int) -> None:
    """They have the twin in `test_merges` that has channels."""
    b = Builder(dtype=np.float32)
    x = b.input([1, inputs, 4, 4])
    total = b.node("Add", *(conv(b, x, inputs, middle) for _ in range(2)))
    model = b.model(conv(b, total, middle, 3))
    assert count(onnxnorm.optimize(model, verify=False).model, "Conv") == 3


@pytest.mark.parametrize("loud", [False, True], ids=["fits", "overflows"])
def test_constants_that_do_not_fit_half_precision_decline(loud: bool) -> None:
    b = Builder(dtype=np.float16)
    x = b.input([1, 4, 6, 6])
    large = np.full((4, 4, 1, 1), 40000.0 if loud else 4.0)
    total = b.node("Add", *(b.node("Conv", x, b.constant(large * part)) for part in (1.0, 0.75)))
    after = onnxnorm.optimize(b.model(b.node("Relu", total)), verify=False).model
    assert count(after, "Conv") == (2 if loud else 1)


@pytest.mark.parametrize("where", ["overridable", "computed", "training"])
def test_what_is_no_constant_declines(where: str) -> None:
    b = Builder(dtype=np.float32, opset=15)
    x = b.input([1, 4, 6, 6])
    weight = b.constant(b.normal(4, 4, 1, 1))
    if where == "overridable":
        b.input([4, 4, 1, 1], name=weight)
    if where == "computed":
        weight = b.node("Mul", weight, b.node("ReduceMax", x, keepdims=0))
    y = b.node("Conv", x, weight)
    if where == "training":
        y = b.batch_norm(y, 4, training_mode=1)
    model = b.model(b.node("Add", conv(b, x, 4, 4, (3, 3), pads=[1] * 4), y))
    assert count(onnxnorm.optimize(model, verify=False).model, "Conv") == 2


def test_branches_inside_a_subgraph_do_not_reach_out_of_it() -> None:
    def build(then: bool) -> onnx.ModelProto:
        b = Builder()
        x = conv(b, b.input([1, 4, 6, 6]), 4, 4, name="outside")
        inside = Builder(prefix="in_")
        y = inside.node("Add", conv(inside, x, 4, 4, (3, 3), pads=[1] * 4), conv(inside, x, 4, 4) if then else x)
        inside.output(y, shape=[1, 4, 6, 6])
        other = Builder(prefix="other_")
        other.output(other.node("Relu", x), shape=[1, 4, 6, 6])
        choice = b.input([], name="choice", element=onnx.TensorProto.BOOL)
        result = b.node("If", choice, then_branch=inside.graph(), else_branch=other.graph())
        return b.model(b.told(result, [1, 4, 6, 6]))

    for then in (True, False):
        assert count(folded(build(then), whole=True).model, "Conv") == 2


@pytest.mark.parametrize("read_elsewhere", [False, True])
def test_what_only_a_branch_reads_outside_of_it_goes_with_it(read_elsewhere: bool) -> None:
    b = Builder()
    x = b.input([1, 4, 6, 6])
    outside = conv(b, x, 4, 4, (3, 3), pads=[1] * 4)
    inside = Builder(prefix="in_")
    inside.output(inside.node("Add", conv(inside, x, 4, 4), outside), shape=[1, 4, 6, 6])
    other = Builder(prefix="other_")
    other.output(other.node("Relu", outside if read_elsewhere else x), shape=[1, 4, 6, 6])
    choice = b.input([], name="choice", element=onnx.TensorProto.BOOL)
    result = b.node("If", choice, then_branch=inside.graph(), else_branch=other.graph())
    after = folded(b.model(b.told(result, [1, 4, 6, 6])), whole=True).model
    assert count(after, "Conv") == (2 if read_elsewhere else 1)


def test_float32_results_are_those_of_onnxruntime() -> None:
    b = Builder(dtype=np.float32)
    x = b.node("Relu", b.input(["N", 4, "H", "W"]))
    terms = [
        b.batch_norm(conv(b, x, 4, 4, (3, 3), pads=[1] * 4, bias=False), 4),
        b.batch_norm(conv(b, x, 4, 4, bias=False), 4),
        b.batch_norm(x, 4),
        b.node("AveragePool", conv(b, x, 4, 4, pads=[1] * 4), kernel_shape=[3, 3]),
    ]
    model = b.model(b.node("Relu", b.node("Sum", *terms)))
    result = onnxnorm.optimize(model, verify=True)
    assert nodes(result.model) == ["Conv", "Relu", "Relu"]
    same_in_onnxruntime(model, result.model)


def test_the_account_says_what_was_merged() -> None:
    b = Builder()
    x = b.input([1, 4, 6, 6])
    terms = [b.batch_norm(conv(b, x, 4, 4, (3, 3), pads=[1] * 4, name="largest"), 4, name="norm_0")]
    terms += [b.batch_norm(conv(b, x, 4, 4), 4, name=f"norm_{n}") for n in (1, 2)]
    model = b.model(b.node("Relu", b.node("Sum", *terms, x)))
    told = "4 branches merged into Conv 'largest'"
    assert told in [rewrite.detail for rewrite in onnxnorm.optimize(model, verify=False).rewrites]
    records = {record.node: record for record in onnxnorm.inspect(model)}
    assert set(records) == {"norm_0", "norm_1", "norm_2"}
    for record in records.values():
        assert record.fate is Fate.MERGED and record.reason.endswith(told)


def test_no_affine_goes_far_that_a_merge_takes_away() -> None:
    """The norm on the identity could leave by the sum; its shift, other at the border, would stay in the shortcut."""

    def build(b: Builder, x: str) -> str:
        x = b.node("Relu", conv(b, x, 4, 4))
        v = b.batch_norm(conv(b, x, 4, 4), 4)
        stream = b.node("Add", b.batch_norm(conv(b, v, 4, 4, (3, 3), pads=[1] * 4, group=4), 4), b.batch_norm(v, 4))
        side = b.batch_norm(conv(b, x, 4, 4, (3, 3), pads=[1] * 4, group=4), 4)
        return b.node("Add", stream, b.batch_norm(conv(b, side, 4, 4), 4))

    _, after = optimized(build, (1, 4, 12, 12))
    assert nodes(after) == ["Add", *["Conv"] * 5, "Relu", "Relu"]


def test_large_branches_merge_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 each weight would take twice what is allowed for all of it; what they were lies in mapped files."""
    monkeypatch.setattr(convolution, "_BLOCK", 2**16)
    monkeypatch.setattr(new_weights, "_IN_MEMORY", 0)
    builder = Builder(dtype=np.float32)
    x = builder.input([1, 512, 8, 8])
    branches = [conv(builder, x, 512, 512, (3, 3), pads=[1] * 4) for _ in range(2)]
    onnx.save(builder.model(builder.node("Add", *branches)), tmp_path / "in.onnx", save_as_external_data=True)
    weight_bytes = 512 * 512 * 9 * 4
    tracemalloc.start()
    try:
        result = onnxnorm.optimize(tmp_path / "in.onnx", workspace=tmp_path, verify=False)
        result.save(tmp_path / "out.onnx", external_data=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert nodes(onnx.load(tmp_path / "out.onnx", load_external_data=False)) == ["Conv"]
    assert peak < weight_bytes
    assert onnxnorm.verify(tmp_path / "in.onnx", tmp_path / "out.onnx").passed
