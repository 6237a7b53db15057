"""Tests of `keep=` and `fix_shapes=` of optimize: what is left alone, what becomes known, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxnorm
from onnxnorm.journal import Code
from onnxnorm.optimizer.records import Fate
from testing.builder import Builder, count


def _stack(opset: int = 18) -> onnx.ModelProto:
    b = Builder(dtype=np.float32, opset=opset)
    x = b.input((1, 3, 8, 8))
    for name in ("stem.norm", "head.norm"):
        x = b.batch_norm(b.conv(x, 3, 3, (1, 1)), 3, name=name)
        x = b.node("Relu", x)
    return b.model(b.node("LRN", x, size=3, name="lrn"))


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ((), []),
        (("head.norm",), ["head.norm"]),
        (("*.norm",), ["stem.norm", "head.norm"]),
        (("*",), ["stem.norm", "head.norm", "lrn"]),
        (("l?n", "stem.*"), ["stem.norm", "lrn"]),
    ],
)
@pytest.mark.parametrize("target", ["portable", "onnxruntime"])
def test_what_is_kept_stays_as_it_is(keep: tuple[str, ...], left: list[str], target: str) -> None:
    model = _stack()
    result = onnxnorm.optimize(model, keep=keep, target=target, verify=True)
    nodes = {node.name: node for node in model.graph.node}
    kept = [node for node in result.model.graph.node if node.name in left]
    assert [node.name for node in kept] == left
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    others = {tensor.name: tensor for tensor in result.model.graph.initializer}
    for node in kept:
        assert (node.op_type, node.domain, node.attribute) == (
            nodes[node.name].op_type,
            nodes[node.name].domain,
            nodes[node.name].attribute,
        )
        for before, after in zip(nodes[node.name].input[1:], node.input[1:], strict=True):
            assert constants[before].raw_data == others[after].raw_data
    told = {record.node: record for record in result.normalizations if record.fate is Fate.LEFT}
    assert list(told) == left
    assert all(record.code is Code.KEPT for record in told.values())
    assert all(entry.domain != "onnxnorm.kept" for entry in result.model.opset_import)


def test_the_remedy_of_what_is_kept_is_not_to_keep_it() -> None:
    model = _stack()
    kept = onnxnorm.optimize(model, keep=["head.*"], verify=False)
    assert "head.norm" in {decline.node for decline in kept.declined}
    assert count(onnxnorm.optimize(model, verify=False).model, "BatchNormalization") == 0


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(onnxnorm.OnnxNormError, match=r"no normalization is called 'head.nrom'.*'head.norm'"):
        onnxnorm.optimize(_stack(), keep=["head.nrom"])


def _open(*, rank: bool = True) -> onnx.ModelProto:
    b = Builder(dtype=np.float32)
    x = b.batch_norm(b.input(("batch", 3, "height", "width")), 3, name="norm")
    x = b.conv(b.conv(x, 3, 4, (3, 3), pads=[1, 1, 1, 1]), 4, 2, (8, 8))
    return b.model(b.node("Sigmoid", x))


def test_extents_that_are_given_let_a_norm_pass_a_padding() -> None:
    model = _open()
    open_ = onnxnorm.optimize(model, verify=False)
    assert count(open_.model, "BatchNormalization") + count(open_.model, "Add") == 1
    for batch in ("batch", 2):
        fixed = onnxnorm.optimize(model, fix_shapes={"x": (batch, 3, 8, 8)}, verify=True)
        assert count(fixed.model, "BatchNormalization") + count(fixed.model, "Add") == 0
        dims = fixed.model.graph.input[0].type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == [batch, 3, 8, 8]
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim][2:] == ["height", "width"]


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"y": (1, 3, 8, 8)}, r"there is no input 'y'; there are: 'x'"),
        ({"x": (1, 3, 8)}, r"input 'x' has 4 axes, and the shape 1,3,8 has 3"),
        ({"x": (1, 4, 8, 8)}, r"input 'x' has the extent 3 along axis 1, not 4"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, ...]], told: str) -> None:
    with pytest.raises(onnxnorm.OnnxNormError, match=told):
        onnxnorm.optimize(_open(), fix_shapes=shapes)


def test_one_name_cannot_have_two_extents() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 2] a, float[N, 2] b) => (float[N, 2] y) { y = Add (a, b) }"""
    )
    with pytest.raises(onnxnorm.OnnxNormError, match="the dimension 'N' would have two extents, 1 and 2"):
        onnxnorm.optimize(model, fix_shapes={"a": (1, 2), "b": (2, 2)})
    result = onnxnorm.optimize(model, fix_shapes={"a": (3, 2)}, verify=False).model
    for value in (*result.graph.input, *result.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_value == 3
