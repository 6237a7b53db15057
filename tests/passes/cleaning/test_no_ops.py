"""Nodes that hand on what they are given go; those that change a bit, or may, stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from testing.builder import Builder
from testing.cleaning import cleaned, nodes_of

HUGE = 2**63 - 1


def between(
    make: Callable[[Builder, str], str],
    *,
    shape: tuple[int | str, ...] = ("n", 3, 4),
    dtype: Any = np.float32,
    opset: int = 18,
    output: int | None = None,
) -> onnx.ModelProto:
    """Some arithmetic, what `make` builds, and some more: neither end is an input or output of the graph."""
    net = Builder(dtype=dtype, opset=opset)
    x = net.input(shape)
    made = make(net, net.node("Neg", x, name="before"))
    net.node("Abs", made, name="after", out="y")
    net.output("y", element=output)
    model = helper.make_model(net.graph(), opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def vector(net: Builder, *values: float, dtype: Any = None) -> str:
    return net.constant(np.array(values, dtype or net.dtype))


def of_type(net: Builder, number: float, shape: tuple[int, ...] = ()) -> str:
    return net.constant(np.full(shape, number), dtype=net.dtype)


ACTS: dict[str, tuple[Callable[[Builder, str], str], dict[str, Any]]] = {
    "Cast": (lambda net, x: net.node("Cast", x, to=TensorProto.FLOAT), {}),
    "CastLike": (lambda net, x: net.node("CastLike", x, "x"), {}),
    "Identity": (lambda net, x: net.node("Identity", x), {}),
    "Transpose": (lambda net, x: net.node("Transpose", x, perm=[0, 1, 2]), {}),
    "Transpose of ones": (lambda net, x: net.node("Transpose", x, perm=[0, 2, 1, 3]), {"shape": ("n", 1, 1, 4)}),
    "Reshape": (lambda net, x: net.node("Reshape", x, net.ints(0, 3, 4)), {}),
    "Reshape -1": (lambda net, x: net.node("Reshape", x, net.ints(-1, 3, 4)), {}),
    "Reshape, free inside": (lambda net, x: net.node("Reshape", x, net.ints(0, -1, 4)), {"shape": (2, "n", 4)}),
    "Flatten": (lambda net, x: net.node("Flatten", x), {"shape": ("n", 4)}),
    "Slice": (lambda net, x: net.node("Slice", x, net.ints(0, 0), net.ints(HUGE, 4), net.ints(0, -1)), {}),
    "Slice from far": (lambda net, x: net.node("Slice", x, net.ints(-9), net.ints(3), net.ints(1)), {}),
    "Slice 9": (lambda net, x: net.node("Slice", x, starts=[0], ends=[HUGE], axes=[0]), {"opset": 9}),
    "Expand": (lambda net, x: net.node("Expand", x, net.ints(1, 4)), {}),
    "Expand to its shape": (lambda net, x: net.node("Expand", x, net.node("Shape", x)), {}),
    "Tile": (lambda net, x: net.node("Tile", x, net.ints(1, 1, 1)), {}),
    "Pad": (lambda net, x: net.node("Pad", x, net.ints(*[0] * 6)), {}),
    "Pad 10": (lambda net, x: net.node("Pad", x, pads=[0] * 6), {"opset": 10}),
    "Concat": (lambda net, x: net.node("Concat", x, axis=1), {}),
    "Concat with nothing": (
        lambda net, x: net.node("Concat", of_type(net, 0, (2, 0, 4)), x, of_type(net, 0, (2, 0, 4)), axis=-2),
        {"shape": (2, 3, 4)},
    ),
    "Split into one": (lambda net, x: net.node("Split", x, axis=1, num_outputs=1), {}),
    "Split into one of 3": (lambda net, x: net.node("Split", x, net.ints(3), axis=1), {}),
    "Split 11 into one": (lambda net, x: net.node("Split", x, axis=2, split=[4]), {"opset": 11}),
    "Resize to its size": (
        lambda net, x: net.node("Resize", x, "", "", net.ints(2, 3, 5, 4), mode="cubic"), {"shape": (2, 3, 5, 4)},
    ),
    "Resize to its size along axes": (
        lambda net, x: net.node("Resize", x, "", "", net.ints(5, 4), mode="linear", axes=[2, 3]),
        {"shape": (2, 3, 5, 4)},
    ),
    "Resize by 1": (
        lambda net, x: net.node(
            "Resize", x, "", vector(net, 1, 1, 1, 1, dtype=np.float32), mode="linear",
            coordinate_transformation_mode="align_corners",
        ), {"shape": ("n", 3, "h", "w")},
    ),
    "Resize 10 by 1": (
        lambda net, x: net.node("Resize", x, vector(net, 1, 1, 1, 1, dtype=np.float32), mode="linear"),
        {"shape": ("n", 3, "h", "w"), "opset": 10},
    ),
    "Upsample by 1": (
        lambda net, x: net.node("Upsample", x, vector(net, 1, 1, 1, 1, dtype=np.float32)),
        {"shape": ("n", 3, "h", "w"), "opset": 9},
    ),
    "blocks of one": (
        lambda net, x: net.node("SpaceToDepth", net.node("DepthToSpace", x, blocksize=1), blocksize=1),
        {"shape": ("n", 3, 5, 4)},
    ),
    "Sum": (lambda net, x: net.node("Sum", x), {}),
    "Max": (lambda net, x: net.node("Max", x), {}),
    "Dropout": (lambda net, x: net.node("Dropout", x), {}),
    "Dropout 7": (lambda net, x: net.node("Dropout", x, ratio=0.3), {"opset": 9}),
    "Mul 1": (lambda net, x: net.node("Mul", of_type(net, 1), x), {}),
    "Mul ones": (lambda net, x: net.node("Mul", x, of_type(net, 1, (3, 4))), {}),
    "Div 1": (lambda net, x: net.node("Div", x, of_type(net, 1)), {}),
    "Sub 0": (lambda net, x: net.node("Sub", x, of_type(net, 0.0)), {}),
    "Add -0": (lambda net, x: net.node("Add", x, of_type(net, -0.0)), {}),
    "int Add 0": (lambda net, x: net.node("Add", of_type(net, 0), x), {"dtype": np.int64, "output": TensorProto.INT64}),
    "int Mul 1": (lambda net, x: net.node("Mul", x, of_type(net, 1)), {"dtype": np.int32, "output": TensorProto.INT32}),
    "int Div 1": (lambda net, x: net.node("Div", x, of_type(net, 1)), {"dtype": np.int32, "output": TensorProto.INT32}),
    "Squeeze nothing": (lambda net, x: net.node("Squeeze", x), {"shape": (2, 3)}),
}  # fmt: skip

STAYS: dict[str, tuple[Callable[[Builder, str], str], dict[str, Any]]] = {
    "Cast to another type": (
        lambda net, x: net.node("Cast", net.node("Cast", x, to=TensorProto.FLOAT16), to=TensorProto.FLOAT), {},
    ),
    "Transpose": (lambda net, x: net.node("Transpose", x, perm=[0, 2, 1]), {}),
    "Transpose of free extents": (lambda net, x: net.node("Transpose", x, perm=[1, 0]), {"shape": ("n", "m")}),
    "Reshape": (lambda net, x: net.node("Reshape", x, net.ints(0, 4, 3)), {}),
    "Reshape of free extents": (lambda net, x: net.node("Reshape", x, net.ints(-1, 1)), {"shape": ("n", "m")}),
    "Slice": (lambda net, x: net.node("Slice", x, net.ints(0), net.ints(2), net.ints(1)), {}),
    "Slice of a free extent": (lambda net, x: net.node("Slice", x, net.ints(0), net.ints(100), net.ints(0)), {}),
    "Slice backwards": (
        lambda net, x: net.node("Slice", x, net.ints(-1), net.ints(-HUGE), net.ints(1), net.ints(-1)), {},
    ),
    "Slice but the last": (lambda net, x: net.node("Slice", x, net.ints(0), net.ints(-1), net.ints(0)), {}),
    "Expand": (lambda net, x: net.node("Expand", x, net.ints(2, 1, 1, 1)), {}),
    "Expand of a free extent": (lambda net, x: net.node("Expand", x, net.ints(3, 1, 1)), {}),
    "Tile": (lambda net, x: net.node("Tile", x, net.ints(1, 2, 1)), {}),
    "Pad": (lambda net, x: net.node("Pad", x, net.ints(0, 0, 1, 0, 0, 0)), {}),
    "Concat with something": (
        lambda net, x: net.node("Concat", of_type(net, 0, (2, 0, 4)), x, of_type(net, 0, (2, 1, 4)), axis=1),
        {"shape": (2, 3, 4)},
    ),
    "Concat of two along an axis where none is empty": (
        lambda net, x: net.node("Concat", x, "x", axis=0), {"shape": (2, 0, 4)},
    ),
    "Split in two, of which one is read": (
        lambda net, x: net.nodes_out("Split", x, outputs=2, axis=2, num_outputs=2)[0], {},
    ),
    "Resize by little more than 1": (
        lambda net, x: net.node("Resize", x, "", vector(net, 1, 1, 1.1, 1, dtype=np.float32), mode="linear"),
        {"shape": (2, 3, 5, 4)},
    ),
    "Resize of a region": (
        lambda net, x: net.node(
            "Resize", x, vector(net, 0, 0, 0.1, 0, 1, 1, 0.9, 1, dtype=np.float32), "", net.ints(2, 3, 5, 4),
            mode="linear", coordinate_transformation_mode="tf_crop_and_resize",
        ), {"shape": (2, 3, 5, 4)},
    ),
    "Resize to a size that may be another": (
        lambda net, x: net.node("Resize", x, "", "", net.ints(2, 3, 5, 4), mode="linear"), {"shape": (2, 3, "h", 4)},
    ),
    "float Add 0": (lambda net, x: net.node("Add", x, of_type(net, 0.0)), {}),
    "float Sub -0": (lambda net, x: net.node("Sub", x, of_type(net, -0.0)), {}),
    "0 - x": (lambda net, x: net.node("Sub", of_type(net, 0.0), x), {}),
    "1 / x": (lambda net, x: net.node("Div", of_type(net, 1.0), x), {}),
    "Mul that broadcasts": (lambda net, x: net.node("Mul", x, of_type(net, 1, (1, 1, 1, 1))), {}),
    "Mul that may broadcast": (lambda net, x: net.node("Mul", x, of_type(net, 1, (3, 1, 1))), {}),
    "int Add that may broadcast": (
        lambda net, x: net.node("Add", x, of_type(net, 0, (3, 1, 1))), {"dtype": np.int64, "output": TensorProto.INT64},
    ),
    "Max of two": (lambda net, x: net.node("Max", x, "x"), {}),
    "Clip without bounds": (lambda net, x: net.node("Clip", x), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(ACTS))
def test_what_changes_nothing_goes(case: str) -> None:
    make, options = ACTS[case]
    assert nodes_of(cleaned(between(make, **options))) == ["Neg", "Abs"]


@pytest.mark.parametrize("case", sorted(STAYS))
def test_what_may_change_a_bit_stays(case: str) -> None:
    make, options = STAYS[case]
    model = between(make, **options)
    assert nodes_of(cleaned(model)) == nodes_of(model)


def test_an_output_that_is_an_input_keeps_a_node_and_its_name() -> None:
    net = Builder(dtype=np.float32)
    x = net.input(("n", 3))
    model = net.model(net.node("Cast", x, to=TensorProto.FLOAT, out="y"), net.node("Mul", x, of_type(net, 1), out="z"))
    after = cleaned(model)
    assert nodes_of(after) == ["Identity", "Identity"]


@pytest.mark.parametrize("trains", [False, True])
def test_dropout_stays_where_it_trains(trains: bool) -> None:
    def make(net: Builder, x: str) -> str:
        mode = net.constant(np.array(trains))
        return net.node("Dropout", x, net.constant(np.array(0.5), dtype=np.float32), mode)

    after = cleaned(between(make), runs=not trains)
    assert ("Dropout" in nodes_of(after)) == trains


def test_dropout_stays_where_its_mask_is_read() -> None:
    net = Builder(dtype=np.float32)
    y, mask = net.nodes_out("Dropout", net.input((2, 3)), outputs=2)
    net.output(net.node("Abs", y), shape=(2, 3))
    net.output(net.node("Not", mask), shape=(2, 3), element=TensorProto.BOOL)
    assert "Dropout" in nodes_of(cleaned(net.model()))


def test_names_of_extents_are_not_taken_for_equal() -> None:
    """Two inputs that both say "n" may come with 1 and 3: then one of them broadcasts."""
    net = Builder(dtype=np.float32)
    x, z = net.input(("n", 2)), net.input(("n", 2), "z")
    expanded = net.node("Expand", net.node("Neg", x), net.node("Shape", z))
    model = net.model(net.node("Abs", expanded, out="y"))
    assert "Expand" in nodes_of(cleaned(model))


def test_a_text_keeps_its_constant_node() -> None:
    net = Builder(dtype=np.float32)
    text = net.node("Constant", value_string="a")
    number = net.node("Constant", value=numpy_helper.from_array(np.float32(2)))
    y = net.node("Abs", net.node("Mul", net.input((2,)), number))
    net.output(net.node("Identity", text, out="t"), shape=(), element=TensorProto.STRING)
    after = cleaned(net.model(y), runs=False)
    assert sorted(nodes_of(after)) == ["Abs", "Constant", "Mul"]
