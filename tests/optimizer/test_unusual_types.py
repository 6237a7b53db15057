"""Values that are no numeric tensors are left as they are: text, sequences, optionals."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper, parser

import onnxnorm

_HEAD = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]>\n'
_TEXT = {
    "inner text": "g (float[2,3] x) => (float[2,3] y) { t = Cast<to=8>(x) z = Cast<to=1>(t) y = Mul(z, x) }",
    "inner text with a type": """g (float[2,3] x) => (float[2,3] y) <string[2,3] t>
        { t = Cast<to=8>(x) z = Cast<to=1>(t) y = Mul(z, x) }""",
    "computed from constant text": """g (float[2,3] x) => (float[2,3] y, int64[4] n) {
        y = Mul(x, x) t = Constant<value_strings=["a","b"]>() u = Concat<axis=0>(t, t)
        n = ai.onnx.ml.LabelEncoder<keys_strings=["a"], values_int64s=[1]>(u) }""",
    "text in and out": "g (string[2] x) => (string[2] y) { z = Identity(x) y = Identity(z) }",
    "text in the branches of an If": """g (bool b, string[2] x) => (float[2] y) {
        t = If(b) <then_branch = one () => (string[2] p) { p = Identity(x) },
                   else_branch = two () => (string[2] q) { q = Identity(x) }>
        y = Cast<to=1>(t) }""",
    "text that a Loop carries": """g (int64 n, bool b, string[2] x) => (float[2] y) {
        t = Loop(n, b, x) <body = one (int64 i, bool c, string[2] p) => (bool d, string[2] q)
            { d = Identity(c) q = Identity(p) }>
        y = Cast<to=1>(t) }""",
    "sequence": "g (float[2,3] x) => (float[4,3] y) { s = SequenceConstruct(x, x) y = ConcatFromSequence<axis=0>(s) }",
    "sequence out": "g (float[2,3] x) => (seq(float[2,3]) y) { s = SequenceEmpty() y = SequenceInsert(s, x) }",
    "sequence of text": """g (string[2] x) => (string[2] y)
        { s = SequenceConstruct(x, x) i = Constant<value_int=0>() y = SequenceAt(s, i) }""",
    "optional in": "g (optional(float[2,3]) x) => (float[2,3] y) { y = OptionalGetElement(x) }",
    "optional out": "g (float[2,3] x) => (optional(float[2,3]) y) { y = Optional(x) }",
}


@pytest.mark.parametrize("target", ["portable", "onnxruntime", "openvino"])
@pytest.mark.parametrize("text", _TEXT.values(), ids=_TEXT)
def test_what_is_no_numeric_tensor_is_left_as_it_is(text: str, target: str) -> None:
    model = parser.parse_model(_HEAD + text)
    onnxnorm.inspect(model)
    result = onnxnorm.optimize(model, target=target, verify=False).model
    onnx.checker.check_model(result, full_check=True)
    wanted = {node.op_type for node in model.graph.node} - {"Constant", "Identity"}
    assert wanted <= {node.op_type for node in result.graph.node} | {"Mul"}
    assert [value.type for value in result.graph.input] == [value.type for value in model.graph.input]
    assert [value.type for value in result.graph.output] == [value.type for value in model.graph.output]


def test_an_affine_beside_text_is_folded_as_ever() -> None:
    model = parser.parse_model(
        _HEAD
        + """g (float[2,3] x) => (float[2,4] y, string[2,3] t)
        <float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] s = {2,3,4,5}>
        { t = Cast<to=8>(x) z = MatMul(x, w) y = Mul(z, s) }"""
    )
    result = onnxnorm.optimize(model, verify=False).model
    assert sorted(node.op_type for node in result.graph.node) == ["Cast", "MatMul"]
    assert result.graph.output[1].type == helper.make_tensor_type_proto(TensorProto.STRING, [2, 3])


def _map_of(elements: int) -> onnx.TypeProto:
    return helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(elements, []))


@pytest.mark.parametrize("target", ["portable", "onnxruntime", "openvino", "tensorrt", "web"])
@pytest.mark.parametrize("place", ["output", "value_info", "input"])
def test_maps_are_left_as_they_are(place: str, target: str) -> None:
    kind = helper.make_sequence_type_proto(_map_of(TensorProto.FLOAT))
    model = parser.parse_model(
        _HEAD
        + """g (float[2,3] x) => (float[2,3] y) { y = Mul(x, x)
        m = ai.onnx.ml.ZipMap<classlabels_strings=["a","b","c"]>(x) k = Identity(m) }"""
    )
    if place == "input":
        del model.graph.node[1:]
    name = "m" if place == "input" else "k"
    getattr(model.graph, place).append(helper.make_value_info(name, kind))
    if place == "value_info":
        model.graph.output.append(helper.make_value_info("m", kind))
    onnxnorm.inspect(model)
    result = onnxnorm.optimize(model, target=target, verify=False).model
    assert "onnxnorm.opaque" not in str(result)
    assert list(result.graph.input) == list(model.graph.input)
    assert list(result.graph.output) == list(model.graph.output)
    kept = {node.op_type for node in model.graph.node} - {"Identity"}
    assert kept <= {node.op_type for node in result.graph.node}


@pytest.mark.parametrize("target", ["portable", "onnxruntime", "openvino", "tensorrt", "web"])
def test_sparse_constants_are_left_as_they_are(target: str) -> None:
    model = parser.parse_model(_HEAD + "g (float[2,3] x) => (float[2,3] y) { y = Mul(x, c) }")
    values, places = helper.make_tensor("v", 1, [1], [3.0]), helper.make_tensor("i", 7, [1], [1])
    node = helper.make_node("Constant", [], ["c"], sparse_value=helper.make_sparse_tensor(values, places, [3]))
    model.graph.node.insert(0, node)
    onnxnorm.inspect(model)
    result = onnxnorm.optimize(model, target=target, verify=False).model
    constants = [each for each in result.graph.node if each.op_type == "Constant"]
    assert [list(each.attribute) for each in constants] == [list(node.attribute)]
