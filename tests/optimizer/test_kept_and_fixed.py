"""Tests of `keep=` and `fix_shapes=` of optimize: what is left alone, what becomes known, and what is refused."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ("head.nrom", r"no node is called 'head.nrom' \(did you mean 'head.norm'"),
        ("norm", r"no node is called 'norm' \(did you mean '(stem|head).norm' or '(stem|head).norm'\?\)"),
        ("CONV_1", r"no node is called 'CONV_1' \(did you mean 'Conv_1'"),
        ("zzz", r"no node is called 'zzz'; there are 'stem.norm', 'head.norm', 'lrn'"),
        ("tail.*", r"no node matches 'tail.\*'"),
    ],
)
def test_a_name_that_is_none_is_refused(keep: str, told: str) -> None:
    model = _stack()
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    for number, node in enumerate(convolutions):
        node.name = f"Conv_{number}"
    with pytest.raises(onnxnorm.OnnxNormError, match=told):
        onnxnorm.optimize(model, keep=[keep])


def test_the_name_of_a_value_leads_to_its_node() -> None:
    model = _stack()
    norm = next(node for node in model.graph.node if node.name == "head.norm")
    with pytest.raises(onnxnorm.OnnxNormError, match=f"the node that makes that value is '{norm.name}'"):
        onnxnorm.optimize(model, keep=[norm.output[0]])


def test_a_pattern_that_no_normalization_matches_means_other_nodes() -> None:
    model = _stack()
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.name = f"conv_{node.output[0]}"
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    plain = {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
    result = onnxnorm.optimize(model, keep=["conv_*"], verify=False)
    kept = {tensor.name: tensor.raw_data for tensor in result.model.graph.initializer}
    assert weights and all(kept.get(name) == plain[name] for name in weights)
    assert "BatchNormalization" in {record.kind for record in result.normalizations if record.fate is not Fate.ABSORBED}
    # A pattern that both match means the normalizations alone.
    both = onnxnorm.optimize(model, keep=["*"], verify=False)
    assert count(both.model, "BatchNormalization") == 2 and count(both.model, "LRN") == 1


def test_a_node_inside_a_branch_is_kept_by_the_path_that_inspect_shows() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (bool c, float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
        <float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] s = {2, 3}, float[2] v = {1, 4}> {
            [choice] y = If (c) <
                then_branch = a () => (a2) { a1 = Conv (x, w) [norm] a2 = BatchNormalization (a1, s, s, s, v) },
                else_branch = b () => (b2) { b1 = Conv (x, w) [other] b2 = BatchNormalization (b1, s, s, s, v) }>
        }"""
    )
    assert {record.where for record in onnxnorm.inspect(model)} == {
        "choice/then_branch/norm",
        "choice/else_branch/other",
    }
    result = onnxnorm.optimize(model, keep=["choice/then_branch/norm"], verify=False)
    fates = {record.where: record.fate for record in result.normalizations}
    assert fates == {"choice/then_branch/norm": Fate.LEFT, "choice/else_branch/other": Fate.ABSORBED}


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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"keep": "head.norm"}, r"keep is a list of names, such as \['head.norm'\]"),
        ({"max_growth": "5%"}, r"max_growth is a part of the weights, such as 0.05, not '5%'"),
        ({"passes": ["..."]}, r"the passes that run by default are \.\.\., without quotes"),
        ({"fix_shapes": [1, 3, 8, 8]}, r"fix_shapes is a dictionary, such as .*, not a list"),
        ({"fix_shapes": {"x": 8}}, r"the shape of input 'x' is 8; it is a number or a name for each axis"),
        ({"fix_shapes": {"x": "1,3,8,8"}}, r"the shape of input 'x' is '1,3,8,8'; it is a number or a name"),
        ({"fix_shapes": {"x": (1, 3, -8, 8)}}, r"the shape of input 'x' is \(1, 3, -8, 8\); it is a number or a name"),
    ],
)
def test_arguments_of_other_kinds_are_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(onnxnorm.OnnxNormError, match=told):
        onnxnorm.optimize(_stack(), **options)
