"""Constants are computed once where the file does not grow by it: results of one weight are looked at together."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm.io.load_and_save import load
from onnxnorm.model.walk import weight_bytes
from testing.builder import Builder, count, folded


def model_of(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], outputs: int) -> onnx.ModelProto:
    """x, of any size, read by the nodes; the outputs are y0, y1 and so on."""
    graph = helper.make_graph(
        nodes,
        "constants",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 8])],
        [helper.make_tensor_value_info(f"y{index}", TensorProto.DOUBLE, None) for index in range(outputs)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def folded_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    result = folded(
        model, whole=True, passes=("infer_shapes", "fold_constants", "clean"), symbols={"n": 3}, check=False
    )
    onnx.checker.check_model(result.model)
    assert weight_bytes(load(result.model)) <= weight_bytes(load(model)) + 2**10
    return result.model


def sliced(parts: int, of: int, *, joined: bool) -> onnx.ModelProto:
    """Slices of one weight of `of` blocks of 64 columns, each for a product, or joined in reverse order for one."""
    weight = np.random.default_rng(0).normal(size=(8, 64 * of))
    constants, nodes, names = {"w": weight, "axis": np.array([1])}, [], []
    for index in range(parts):
        constants[f"from{index}"], constants[f"to{index}"] = np.array([64 * index]), np.array([64 * index + 64])
        nodes.append(helper.make_node("Slice", ["w", f"from{index}", f"to{index}", "axis"], [f"s{index}"]))
        names.append(f"s{index}")
    if joined:
        nodes.append(helper.make_node("Concat", names[::-1], ["all"], axis=1))
        names = ["all"]
    nodes += [helper.make_node("MatMul", ["x", name], [f"y{index}"]) for index, name in enumerate(names)]
    return model_of(nodes, constants, len(names))


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_slices_that_take_the_place_of_their_weight_are_computed(parts: int, joined: bool) -> None:
    result = folded_constants(sliced(parts, parts, joined=joined))
    assert count(result, "Slice") == count(result, "Concat") == 0


@pytest.mark.parametrize("also", ["whole", "overlap"])
def test_slices_of_a_weight_that_stays_are_not_computed(also: str) -> None:
    model = sliced(3, 3, joined=False)
    if also == "whole":
        model.graph.node.append(helper.make_node("MatMul", ["x", "w"], ["y3"]))
    else:
        model.graph.node.append(helper.make_node("Neg", ["w"], ["minus"]))
        model.graph.node.append(helper.make_node("MatMul", ["x", "minus"], ["y3"]))
    model.graph.output.append(helper.make_tensor_value_info("y3", TensorProto.DOUBLE, None))
    assert count(folded_constants(model), "Slice") == 3


@pytest.mark.parametrize(("width", "is_computed"), [(4, True), (2**14, False)])
@pytest.mark.parametrize("op_type", ["ConstantOfShape", "Expand", "Tile"])
def test_a_large_constant_made_of_little_stays_a_recipe(op_type: str, width: int, is_computed: bool) -> None:
    shape = np.array([8, width])
    one = np.array([[0.5]])
    inputs, constants = {
        "ConstantOfShape": (["shape"], {"shape": shape}),
        "Expand": (["one", "shape"], {"one": one, "shape": shape}),
        "Tile": (["one", "shape"], {"one": one, "shape": shape}),
    }[op_type]
    attributes = {"value": numpy_helper.from_array(np.array([0.5]))} if op_type == "ConstantOfShape" else {}
    nodes = [helper.make_node(op_type, inputs, ["w"], **attributes), helper.make_node("MatMul", ["x", "w"], ["y0"])]
    assert (count(folded_constants(model_of(nodes, constants, 1)), op_type) == 0) == is_computed


# Nodes of several outputs: operands, attributes, how many outputs they have, and which of them are read.
SEVERAL = {
    "Split": (["w", "parts"], {"axis": 0}, 2, (0, 1)),
    "Split, one part read": (["w", "parts"], {"axis": 0}, 2, (1,)),
    "Dropout": (["w"], {}, 2, (0,)),
    "Dropout that does not train": (["w", "half", "no"], {}, 2, (0,)),
    "TopK": (["w", "two"], {"axis": 0}, 2, (0,)),
    "BatchNormalization": (["w3", "g", "b", "g", "g"], {"training_mode": 1}, 3, (0,)),
    "BatchNormalization, statistics read": (["w3", "g", "b", "g", "g"], {"training_mode": 1}, 3, (0, 1, 2)),
    "LayerNormalization": (["w", "g", "b"], {"axis": 1}, 3, (0,)),
    "MaxPool": (["w3"], {"kernel_shape": [1], "strides": [1]}, 2, (0,)),
}


def _several(inputs: list[str], op_type: str, attributes: dict, outputs: int, read: tuple[int, ...]) -> onnx.ModelProto:
    rng = np.random.default_rng(4)
    constants = {
        "w": rng.normal(size=(8, 8)),
        "w3": rng.normal(size=(8, 8, 1)),
        "g": rng.uniform(0.5, 2.0, size=8),
        "b": rng.normal(size=8),
        "parts": np.array([3, 5]),
        "two": np.array([2]),
        "half": np.array(0.5),
        "no": np.array(False),
        "yes": np.array(True),
    }
    names = [f"o{index}" for index in range(outputs)]
    nodes = [helper.make_node(op_type, inputs, names, "several", **attributes)]
    for place, index in enumerate(read):
        # Any result as a row of numbers, so that each is read alike.
        nodes.append(helper.make_node("Reshape", [names[index], "flat"], [f"f{place}"]))
        nodes.append(helper.make_node("ReduceSum", [f"f{place}"], [f"s{place}"], keepdims=0))
        nodes.append(helper.make_node("Mul", ["x", f"s{place}"], [f"y{place}"]))
    constants["flat"] = np.array([-1])
    used = {name for node in nodes for name in node.input}
    return model_of(nodes, {name: array for name, array in constants.items() if name in used}, len(read))


@pytest.mark.parametrize("name", SEVERAL)
def test_a_node_of_several_outputs_is_computed_once(name: str) -> None:
    inputs, attributes, outputs, read = SEVERAL[name]
    model = _several(inputs, name.partition(",")[0].partition(" ")[0], attributes, outputs, read)
    result = folded_constants(model)
    assert {node.op_type for node in result.graph.node} == {"Mul"}


@pytest.mark.parametrize("training", ["yes", "x"])
def test_a_dropout_that_may_drop_is_no_constant(training: str) -> None:
    if training == "x":
        model = _several(["w", "half", "told"], "Dropout", {}, 2, (0,))
        model.graph.input.append(helper.make_tensor_value_info("told", TensorProto.BOOL, []))
    else:
        model = _several(["w", "half", "yes"], "Dropout", {}, 2, (0,))
    before = [node.op_type for node in model.graph.node]
    result = onnxnorm.optimize(model, passes=("infer_shapes", "fold_constants", "clean"), verify=False).model
    assert [node.op_type for node in result.graph.node] == before


@pytest.mark.parametrize(("op_type", "opset"), [("GroupNormalization", 21), ("MeanVarianceNormalization", 17)])
def test_a_normalization_whose_shape_onnx_does_not_infer_is_computed(op_type: str, opset: int) -> None:
    constants = {"w": np.random.default_rng(5).normal(size=(1, 8, 6)), "shape": np.array([8, 6])}
    attributes: dict[str, object] = {"axes": [2]}
    inputs = ["w"]
    if op_type == "GroupNormalization":
        constants |= {"g": np.full(8, 1.5), "b": np.full(8, 0.5)}
        attributes, inputs = {"num_groups": 8}, ["w", "g", "b"]
    nodes = [
        helper.make_node(op_type, inputs, ["n"], **attributes),
        helper.make_node("Reshape", ["n", "shape"], ["m"]),
        helper.make_node("MatMul", ["x", "m"], ["y0"]),
    ]
    model = model_of(nodes, constants, 1)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    model.ir_version = 10
    assert [node.op_type for node in folded_constants(model).graph.node] == ["MatMul"]


@pytest.mark.parametrize("reads", ["itself", "transposed", "twice", "nobody"])
def test_a_normalization_on_the_way_to_a_constant_is_told_as_computed(reads: str) -> None:
    """Whoever reads it is computed with it; what nobody reads at all is not said to be computed."""
    b = Builder(dtype=np.float32)
    rng = np.random.default_rng(5)
    weight = b.constant(rng.normal(size=(4, 4)).astype(np.float32))
    norm = b.node("LayerNormalization", weight, b.constant(np.ones(4, np.float32)), name="norm")
    operand = {"itself": norm, "nobody": weight}.get(reads) or b.node("Transpose", norm, perm=[1, 0])
    if reads == "twice":
        operand = b.node("Add", operand, norm)
    model = b.model(b.node("MatMul", b.input((2, 4)), operand))
    result = onnxnorm.optimize(model)
    (record,) = result.normalizations
    assert [node.op_type for node in result.model.graph.node] == ["MatMul"]
    wanted = "nothing reads its result" if reads == "nobody" else "computed once: it depends on no input"
    assert record.reason == wanted
