"""Tests of the geometry of windows against onnxruntime, which does not optimize here."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxnorm.graph.windows import Window, read_window, same_padding

RANDOM = np.random.default_rng(0)
SHAPES = [tuple(int(RANDOM.integers(1, most)) for most in (6, 4, 4, 12)) for _ in range(12)]


def run(node: dict[str, object], x: np.ndarray, weight: np.ndarray, op_type: str = "Conv") -> np.ndarray:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "w", "y")]
    graph = helper.make_graph([helper.make_node(op_type, ["x", "w"], ["y"], **node)], "one", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "w": weight})[0]


def made(op_type: str = "Conv", **attributes: object) -> ir.Node:
    return ir.from_proto(helper.make_node(op_type, ["x", "w"], ["y"], **attributes))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "extent"), SHAPES)
def test_same_padding_is_that_of_onnxruntime(mode: str, kernel: int, stride: int, dilation: int, extent: int) -> None:
    x = RANDOM.normal(size=(1, 1, extent)).astype(np.float32)
    weight = RANDOM.normal(size=(1, 1, kernel)).astype(np.float32)
    steps = {"strides": [stride], "dilations": [dilation]}
    ends = same_padding(kernel, stride, dilation, extent, upper=mode == "SAME_UPPER")
    assert ends is not None
    padded = run({"pads": list(ends), **steps}, x, weight)
    assert padded.shape[2] == -(-extent // stride)
    assert ends[mode == "SAME_UPPER"] - ends[mode != "SAME_UPPER"] in (0, 1)
    if dilation == 1:
        # onnxruntime takes no dilation with SAME.
        np.testing.assert_array_equal(padded, run({"auto_pad": mode, **steps}, x, weight))
    read = read_window(made(auto_pad=mode, **steps), (kernel,))
    assert read is not None and read.padding is None and read.padding_on((extent,)) == (ends,)
    # Without the extent the answer is the same or none.
    assert same_padding(kernel, stride, dilation, None, upper=mode == "SAME_UPPER") in (
        (ends, None) if stride > 1 and kernel > 1 else (ends,)
    )


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "extent"), SHAPES)
def test_taps_of_a_placed_window_are_those_of_onnxruntime(
    op_type: str, kernel: int, stride: int, dilation: int, extent: int
) -> None:
    pads = [min(1, kernel - 1), 0]
    attributes = {"strides": [stride], "dilations": [dilation], "pads": pads}
    extent += (kernel - 1) * dilation
    x = RANDOM.normal(size=(1, 1, extent)).astype(np.float32)
    weight = RANDOM.normal(size=(1, 1, kernel)).astype(np.float32)
    wanted = run(attributes, x, weight, op_type)
    window = read_window(made(op_type, **attributes), (kernel,))
    assert window is not None
    placed = window.placed((extent,), wanted.shape[2:], transposed=op_type == "ConvTranspose")
    assert placed is not None
    ((places, inside),) = placed.sources
    np.testing.assert_allclose((weight[0, 0, :, None] * x[0, 0][places] * inside).sum(axis=0), wanted[0, 0], atol=1e-5)
    assert window.placed((extent,), (wanted.shape[2] + 1,), transposed=op_type == "ConvTranspose") is None


@pytest.mark.parametrize(
    ("attributes", "padding", "may_pad"),
    [
        ({}, ((0, 0), (0, 0)), False),
        ({"pads": [1, 2, 3, 4]}, ((1, 3), (2, 4)), True),
        ({"pads": [1, 2, 3, 4], "auto_pad": "VALID"}, ((0, 0), (0, 0)), False),
        ({"auto_pad": "SAME_LOWER"}, None, True),
        ({"output_shape": [5, 5]}, None, True),
        ({"ceil_mode": 1}, ((0, 0), (0, 0)), True),
    ],
)
def test_attributes_are_read(attributes: dict[str, object], padding: object, may_pad: bool) -> None:
    window = read_window(made(**attributes), (3, 3))
    assert window is not None and window.padding == padding and window.may_pad == may_pad
    assert window.spans == (3, 3)


def test_empty_attributes_are_those_left_out() -> None:
    node = made()
    for name in ("pads", "strides"):
        node.attributes[name] = ir.AttrInt64s(name, [])
    assert read_window(node, (3, 3)) == read_window(made(), (3, 3))


def test_what_the_output_shape_decides_is_not_told_by_the_input() -> None:
    window = read_window(made("ConvTranspose", output_shape=[5], strides=[2]), (3,))
    assert window is not None and window.padding_on((4,)) is None


@pytest.mark.parametrize("attributes", [{"pads": [1, 1]}, {"strides": [1]}, {"dilations": [1, 1, 1]}])
def test_attributes_of_another_rank_are_no_window(attributes: dict[str, list[int]]) -> None:
    assert read_window(made(**attributes), (3, 3)) is None


@pytest.mark.parametrize("name", ["pads", "auto_pad", "ceil_mode", "strides"])
def test_attributes_that_a_caller_gives_are_no_window(name: str) -> None:
    kinds = {"auto_pad": ir.AttributeType.STRING, "ceil_mode": ir.AttributeType.INT}
    node = made()
    node.attributes[name] = ir.RefAttr(name, "outer", kinds.get(name, ir.AttributeType.INTS))
    assert read_window(node, (3, 3)) is None


def test_negative_padding_is_not_placed() -> None:
    window = Window((3,), (1,), (1,), ((-1, 0),))
    assert window.placed((8,), (5,)) is None
