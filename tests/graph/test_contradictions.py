"""Nodes that contradict themselves are told from those that do not; functions are called as they are defined."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper

import onnxnorm
from onnxnorm.graph.contradictions import contradiction_in, contradicts_itself
from onnxnorm.graph.facts import Facts


def parsed(text: str, inputs: str = "float[2, 4, n, 3] x", opset: int = 17) -> ir.Model:
    return ir.serde.deserialize_model(
        onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => (y)'
            "<float[4] v = {1, 2, 3, 4}, float[3] u = {1, 2, 3}, float[4, 3] m = {1,1,1,1,1,1,1,1,1,1,1,1}>"
            f"{{ [node] y = {text} }}"
        )
    )


@pytest.mark.parametrize(
    ("text", "inputs", "wrong"),
    [
        ("BatchNormalization (x, v, v, v, v)", "float[2, 4, n, 3] x", False),
        ("BatchNormalization (x, u, u, u, u)", "float[2, 4, n, 3] x", True),
        # What is not known may be what fits.
        ("BatchNormalization (x, u, u, u, u)", "float[2, c, n, 3] x", False),
        ("Gemm (x, m, u)", "float[2, 4] x", False),
        ("Gemm (x, m, v)", "float[2, 4] x", True),
        ("Gemm (x, m, u)", "float[a, b] x", False),
        ("Gemm <transA = 1> (x, m, u)", "float[2, 4] x", True),
        ('Einsum <equation = "ab,bc->ac"> (x, m)', "float[2, 4] x", False),
        ('Einsum <equation = "ab,bc->ac"> (x, m)', "float[2, 3] x", True),
        ("PRelu (x, u)", "float[2, 4, 3] x", False),
        ("PRelu (x, v)", "float[2, 5, 3] x", True),
        # One extent of one name: it cannot be 4 and 3 at once.
        ("MatMul (x, m)", "float[n, n] x", False),
        ("Add (x, z)", "float[n, 2] x, float[n, 2] z", False),
        ("Add (x, z)", "float[n, 2] x, float[n, 3] z", True),
        # Too large to be tried, or no operator of ONNX: nothing is said.
        ("MatMul (x, m)", f"float[{2**40}, 5] x", False),
        ("Unheard (x)", "float[2] x", False),
    ],
)
def test_a_node_is_at_fault_if_no_operands_of_the_known_shapes_fit(text: str, inputs: str, wrong: bool) -> None:
    model = parsed(text, inputs)
    assert contradicts_itself(model.graph.node(0), Facts(model)) is wrong
    told = contradiction_in(model)
    assert (told is not None) is wrong
    assert told is None or (told.startswith("node 'node' (") and "inputs of the shapes" in told)


def test_what_a_node_makes_must_be_what_its_result_is_known_to_be() -> None:
    model = parsed("Add (x, u)", "float[n, 3] x")
    node, facts = model.graph.node(0), Facts(model)
    assert not contradicts_itself(node, facts, {node.outputs[0]: (7, 3)})
    assert contradicts_itself(node, facts, {node.outputs[0]: (7, 4)})
    assert contradicts_itself(node, facts, {node.inputs[0]: (7, 4)})


FUNCTION = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
<float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] s = {1, 2}, float[2] b = {3, 4}>
{ CALL }
<opset_import: ["": 17], domain: "own"> f (X, W, S, B) => (OUTPUTS)
{ C = Conv (X, W)
  N = BatchNormalization (C, S, B, B, S)
  M = Neg (N) }"""


def computed(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, {"x": x})[0]


def calling(call: str, outputs: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(FUNCTION.replace("CALL", call).replace("OUTPUTS", outputs))


@pytest.mark.parametrize(
    ("call", "outputs"),
    [
        ("y = own.f (x, w, s, b)", "N, M"),
        ("y, UNNAMED = own.f (x, w, s, b)", "M, N"),
        ("UNNAMED, y = own.f (x, w, s, b)", "N, M"),
        ("z, y = own.f (x, w, s, b)", "N, X"),
        ("z, a = own.f (x, w, s, b) y = Sub (a, z)", "N, X"),
        ("y, z = own.f (x, w, s, b)", "N, M"),
    ],
)
def test_a_call_may_leave_outputs_out_and_a_function_may_give_its_inputs(call: str, outputs: str) -> None:
    model = calling(call, outputs)
    for name in [name for node in model.graph.node for name in node.output if name == "UNNAMED"]:
        index = list(model.graph.node[0].output).index(name)
        model.graph.node[0].output[index] = ""
    result = onnxnorm.optimize(model, verify=False).model
    assert [value.name for value in result.graph.input] == ["x"]
    assert [value.name for value in result.graph.output] == ["y"]
    assert not result.functions
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    convolved = np.einsum("mc,bchw->bmhw", [[1, 2], [3, 4]], x)
    scale = np.array([1, 2]) / np.sqrt(np.array([1, 2]) + 1e-5)
    normalized = (convolved - np.array([3, 4])[:, None, None]) * scale[:, None, None] + np.array([3, 4])[:, None, None]
    named = {"N": normalized, "M": -normalized, "X": x}
    given = dict(zip(model.graph.node[0].output, (named[each] for each in outputs.split(", ")), strict=False))
    expected = given["y"] if "y" in given else given["a"] - given["z"]
    np.testing.assert_allclose(computed(result, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "outputs", "words"),
    [
        ("y, z = own.f (x, w, s, b)", "N", ["2 outputs", "has 1"]),
        ("y = own.f (x, w, s, b, b)", "N", ["5 inputs", "has 4"]),
        ("y, z = own.f (x, w, s)", "N, B", ["leaves out", "'B'"]),
    ],
)
def test_a_call_that_no_function_answers_is_refused(call: str, outputs: str, words: list[str]) -> None:
    model = calling(call, outputs)
    model.graph.node[0].name = "call"
    with pytest.raises(onnxnorm.OnnxNormError, match=r"'call'.*'f'.*export") as caught:
        onnxnorm.optimize(model, verify=False)
    for word in words:
        assert word in str(caught.value)


def test_functions_of_one_name_are_told_apart_by_their_overloads() -> None:
    model = calling("y, z = own.f (x, w, s, b)", "N, M")
    other = helper.make_function("own", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], model.opset_import)
    other.overload = "small"
    model.functions.append(other)
    model.ir_version = 10
    assert onnxnorm.optimize(model, verify=False).model.graph.node[-1].op_type == "Conv"
    model.graph.node[0].overload = "small"
    with pytest.raises(onnxnorm.OnnxNormError, match="4 inputs, which has 1"):
        onnxnorm.optimize(model, verify=False)
