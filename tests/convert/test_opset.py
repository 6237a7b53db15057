"""A model at an older opset than its own: the same results, or an error that names the node."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from onnxnorm import OnnxNormError
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.journal import Code
from onnxnorm.optimizer.records import Fate

SHAPE, NARROW = (2, 4, 6, 5), (2, 1, 6, 5)
ONES, FOUR = np.linspace(0.5, 2, 5, dtype=np.float32), np.linspace(0.5, 2, 4, dtype=np.float32)

# operator, further inputs, attributes, the opset it is written at.
NODES: dict[str, tuple[str, dict[str, np.ndarray], dict[str, Any], int]] = {
    "Relu": ("Relu", {}, {}, 21),
    "Conv": ("Conv", {"w": np.ones((3, 4, 1, 1), np.float32)}, {"kernel_shape": [1, 1]}, 22),
    "BatchNormalization": ("BatchNormalization", dict.fromkeys(("s", "b", "m", "v"), FOUR), {}, 21),
    "LRN": ("LRN", {}, {"size": 3}, 21),
    "LayerNormalization": ("LayerNormalization", {"s": ONES}, {}, 21),
    "GroupNormalization": ("GroupNormalization", {"s": FOUR, "b": FOUR}, {"num_groups": 2}, 21),
    "RMSNormalization": ("RMSNormalization", {"s": ONES}, {}, 23),
    "ReduceMean": ("ReduceMean", {"a": np.array([1])}, {"noop_with_empty_axes": 0}, 21),
    "ReduceSum": ("ReduceSum", {"a": np.array([-1])}, {"keepdims": 0}, 21),
    "Squeeze": ("Squeeze", {"a": np.array([1])}, {}, 21),
    "Unsqueeze": ("Unsqueeze", {"a": np.array([1])}, {}, 21),
    "Reshape": ("Reshape", {"r": np.array([2, 4, 30])}, {"allowzero": 0}, 21),
    "Softmax": ("Softmax", {}, {"axis": -1}, 21),
    "Split": ("Split", {}, {"axis": 2, "num_outputs": 1}, 21),
    "Dropout": ("Dropout", {}, {}, 21),
    "AveragePool": ("AveragePool", {}, {"kernel_shape": [2, 2]}, 22),
    "Pad": ("Pad", {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, {}, 21),
    "Clip": ("Clip", {"low": np.array(0, np.float32)}, {}, 21),
    "Concat": ("Concat", {"c": np.ones(SHAPE, np.float32)}, {"axis": 1}, 21),
    "Transpose": ("Transpose", {}, {"perm": [0, 2, 3, 1]}, 23),
    "Add": ("Add", {"c": FOUR.reshape(4, 1, 1)}, {}, 21),
}


def model_of(op_type: str, weights: dict[str, np.ndarray], attributes: dict[str, Any], opset: int) -> onnx.ModelProto:
    node = helper.make_node(op_type, ["x", *weights], ["y"], name=f"the_{op_type}", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, NARROW if op_type == "Squeeze" else SHAPE)
    # ONNX infers no shape for this operator.
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE if op_type == "GroupNormalization" else None)
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    return inferred


def converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    result = onnxnorm.optimize(model, passes=(), opset=opset, verify=False).model
    assert isinstance(result, onnx.ModelProto)
    onnx.checker.check_model(result, full_check=True)
    assert [entry.version for entry in result.opset_import if not entry.domain] == [opset]
    assert {entry.domain for entry in result.opset_import} <= {"", "onnxnorm"}
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    (want,), (got,) = (evaluate_float64(each, feeds).values() for each in (model, result))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    return result


@pytest.mark.parametrize("opset", [20, 17, 13])
@pytest.mark.parametrize("name", NODES)
def test_downwards(name: str, opset: int) -> None:
    result = converted(model_of(*NODES[name]), opset)
    since = {"LayerNormalization": 17, "GroupNormalization": 21, "RMSNormalization": 23}.get(name, 1)
    if opset >= since:
        assert [node.op_type for node in result.graph.node] == [NODES[name][0]]
    else:
        assert name not in {node.op_type for node in result.graph.node}


@pytest.mark.parametrize("opset", [12, 11, 9, 7])
@pytest.mark.parametrize(
    "name",
    [
        *("Relu", "Conv", "BatchNormalization", "LRN", "Unsqueeze", "Transpose", "Add", "Concat", "Softmax", "Dropout"),
        *("ReduceMean", "Squeeze", "Split"),
    ],
)
def test_far_down(name: str, opset: int) -> None:
    converted(model_of(*NODES[name]), opset)


@pytest.mark.parametrize(
    ("op_type", "weights", "attributes", "own", "opset", "message"),
    [
        # At the border it was pooled in another way.
        ("AveragePool", {}, {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [3, 3]}, 22, 18, "'the_AveragePool'"),
    ],
)
def test_what_has_no_older_form_is_named(
    op_type: str, weights: dict[str, np.ndarray], attributes: dict[str, Any], own: int, opset: int, message: str
) -> None:
    with pytest.raises(OnnxNormError, match=message):
        onnxnorm.optimize(model_of(op_type, weights, attributes, own), passes=(), opset=opset, verify=False)


@pytest.mark.parametrize(
    ("node", "opset", "message"),
    [
        # It has another meaning from its new attribute on, and the shape may have zeros.
        ("Reshape <allowzero = 1> (x, ints)", 13, "makes axes without elements of zeros in its shape"),
        ("Reshape <allowzero = 1> (x, zeros)", 13, "makes axes without elements of zeros in its shape"),
        # There were no axes counted from behind, and from how far is not known.
        ("Concat <axis = -1> (unknown, unknown)", 10, "counts an axis from behind"),
        # Attributes became operands, which here are no constants.
        ("Clip (x, number)", 10, "takes its min from a tensor that is no constant"),
        ("ReduceMean (x, ints)", 17, "takes its axes from a tensor that is no constant"),
        ("Unsqueeze (x, ints)", 12, "takes its axes from a tensor that is no constant"),
        ("Pad (x, ints)", 10, "takes its pads from a tensor that is no constant"),
        ("TopK (x, ints)", 9, "takes its k from a tensor that is no constant"),
        ("Slice (x, zeros, ints)", 9, "takes its ends from a tensor that is no constant"),
        ("Split <num_outputs = 1> (unknown)", 12, "makes parts of an axis whose size is not known"),
        # All axes from one on were one, and which of them is the last is not known.
        ("Softmax <axis = 1> (unknown)", 12, "goes over one axis of a tensor whose rank is not known"),
        ("Max (x, number)", 7, "takes tensors of several shapes"),
        ("Pow (x, ints)", 9, "has an exponent of another type than its base"),
    ],
)
def test_what_an_operand_alone_says_is_named(node: str, opset: int, message: str) -> None:
    results = "y, z" if node.startswith("TopK") else "y"
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 21]>
        g (float[2, 4, 6, 5] x, float[] unknown, float number, int64[N] ints) => (float[] y)
        <int64[1] zeros = {{0}}> {{ [the_node] {results} = {node} }}"""
    )
    with pytest.raises(OnnxNormError, match=f"'the_node' {message}"):
        onnxnorm.optimize(model, passes=(), opset=opset, verify=False)


def test_an_uneven_split_gets_its_sizes_written_down() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b", "c"], axis=-1, num_outputs=3),
        helper.make_node("Concat", ["c", "a", "b"], ["y"], axis=3),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    result = converted(model, 13)
    assert [numpy_helper.to_array(t).tolist() for t in result.graph.initializer] == [[2, 2, 1]]


def test_a_type_that_came_later_is_named() -> None:
    """Relu of integers is as old as opset 14."""
    node = helper.make_node("Relu", ["x"], ["y"], name="whole")
    values = [helper.make_tensor_value_info(n, TensorProto.INT32, (2,)) for n in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    with pytest.raises(OnnxNormError, match="Relu 'whole'"):
        onnxnorm.optimize(model, passes=(), opset=13, verify=False)


def test_nodes_in_a_subgraph_stay_or_are_named() -> None:
    def model(inner: str) -> onnx.ModelProto:
        branches = {
            name: helper.make_graph(
                [helper.make_node(op, ["x"], [name], name=op)], name, [],
                [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)],
            )
            for name, op in (("then_branch", inner), ("else_branch", "Neg"))
        }  # fmt: skip
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in "xy"]
        flag = numpy_helper.from_array(np.array(True), "flag")
        graph = helper.make_graph(
            [helper.make_node("If", ["flag"], ["y"], **branches)], "g", values[:1], values[1:], [flag]
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    converted(model("Relu"), 13)
    converted(model("Gelu"), 13)
    with pytest.raises(OnnxNormError, match="IsInf 'IsInf' has no form at opset 9"):
        onnxnorm.optimize(model("IsInf"), passes=(), opset=9, verify=False)


@pytest.mark.parametrize(("opset", "carried"), [(17, True), (13, False)])
def test_the_operators_of_this_project_get_their_bodies_anew_or_are_written_out(opset: int, carried: bool) -> None:
    node = helper.make_node("IntraChannelLRN", ["x"], ["y"], domain="onnxnorm", kernel_shape=[3, 3], alpha=0.3)
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, SHAPE) for n in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("onnxnorm", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    from onnxnorm.ops import attach

    attach.attach_bodies(model)
    result = converted(model, opset)
    operators = Counter(node.op_type for node in result.graph.node)
    assert (operators == {"IntraChannelLRN": 1}) is carried
    assert [f.opset_import[0].version for f in result.functions] == ([opset] if carried else [])


@pytest.mark.parametrize("opset", [13, 21])
def test_upwards_batch_normalization_in_training_mode(opset: int) -> None:
    """From opset 14 on its outputs no longer say that it trains; a converter that keeps them changes the result."""
    vectors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("s", "b", "m", "v")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "m1", "v1")]
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "m1", "v1"], name="training")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2, 3]), *vectors]
    graph = helper.make_graph([node], "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)
    if opset < 14:
        assert list(onnxnorm.optimize(model, opset=opset, verify=False).model.graph.node[0].output) == ["y", "m1", "v1"]
        return
    with pytest.raises(OnnxNormError, match=r"from opset 9 to 21: BatchNormalization 'training' is in training mode"):
        onnxnorm.optimize(model, opset=opset, verify=False)


def upwards(op_type: str, opset: int, constants: dict[str, np.ndarray], **attributes: Any) -> onnx.ModelProto:
    """One node of an old definition, on a random input."""
    node = helper.make_node(op_type, ["x", *constants], ["y"], name="old", **attributes)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def in_onnxruntime(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    (y,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})
    return np.asarray(y)


def _scales(*spatial: float) -> dict[str, np.ndarray]:
    return {"s": np.array([1, 1, *spatial], np.float32)}


FOUR_VECTORS = dict.fromkeys(("s", "b", "m", "v"), FOUR)
OLD: dict[str, tuple[str, int, dict[str, np.ndarray], dict[str, Any]]] = {
    "Softmax over several axes": ("Softmax", 11, {}, {"axis": 1}),
    "LogSoftmax": ("LogSoftmax", 12, {}, {}),
    "Hardmax": ("Hardmax", 11, {}, {"axis": 3}),
    "Hardmax over several axes": ("Hardmax", 11, {}, {"axis": 1}),
    "Clip": ("Clip", 7, {}, {"min": -0.5, "max": 0.5}),
    "Pad": ("Pad", 9, {}, {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 0.5}),
    "Slice": ("Slice", 9, {}, {"starts": [1, 0], "ends": [3, 4], "axes": [1, 2]}),
    "Upsample": ("Upsample", 9, _scales(3, 2), {"mode": "nearest"}),
    "Upsample, linear": ("Upsample", 9, _scales(2, 2), {"mode": "linear"}),
    "Upsample, scales as attribute": ("Upsample", 7, {}, {"mode": "linear", "scales": [1.0, 1.0, 2.0, 3.0]}),
    "Resize": ("Resize", 10, _scales(1.3, 1.7), {"mode": "nearest"}),
    "Resize, smaller": ("Resize", 10, _scales(0.3, 0.7), {"mode": "nearest"}),
    "Resize, linear": ("Resize", 10, _scales(1.5, 0.5), {"mode": "linear"}),
    "Unsqueeze": ("Unsqueeze", 11, {}, {"axes": [1]}),
    "ReduceSum": ("ReduceSum", 11, {}, {"axes": [1], "keepdims": 0}),
    "ReduceMean": ("ReduceMean", 13, {}, {"axes": [1, 2]}),
    "Dropout": ("Dropout", 7, {}, {"ratio": 0.5}),
    "BatchNormalization": ("BatchNormalization", 7, FOUR_VECTORS, {}),
    "GroupNormalization": ("GroupNormalization", 18, dict.fromkeys(("s", "b"), FOUR[:2]), {"num_groups": 2}),
}


@pytest.mark.parametrize("opset", [13, 17, 21, 23])
@pytest.mark.parametrize("name", OLD)
def test_upwards_keeps_what_is_computed(name: str, opset: int) -> None:
    op_type, old, constants, attributes = OLD[name]
    if opset <= old:
        return
    model = upwards(op_type, old, constants, **attributes)
    converted = onnxnorm.optimize(model, opset=opset, verify=False).model
    assert converted.opset_import[0].version == opset
    np.testing.assert_allclose(in_onnxruntime(converted), in_onnxruntime(model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op_type", "opset", "constants", "attributes"),
    [("Resize", 10, _scales(1.5, 0.6), {"mode": "nearest"})],
)
def test_upwards_refuses_what_has_no_form(
    op_type: str, opset: int, constants: dict[str, np.ndarray], attributes: dict[str, Any]
) -> None:
    with pytest.raises(OnnxNormError, match=f"cannot be converted.*{op_type} 'old'"):
        onnxnorm.optimize(upwards(op_type, opset, constants, **attributes), opset=21, verify=False)


@pytest.mark.parametrize("opset", [11, 13, 21])
def test_the_mask_of_a_dropout_goes_up_only_where_its_meaning_stays(opset: int) -> None:
    # onnxruntime makes it all false below opset 12; from there on it is all true by definition.
    model = onnx.parser.parse_model(
        """<ir_version: 7, opset_import: ["": 10]>
        g (float[2, 3] x) => (float[2, 3] y, bool[2, 3] mask) { [old] y, mask = Dropout <ratio = 0.5> (x) }"""
    )
    if opset < 12:
        assert onnxnorm.optimize(model, opset=opset).model.opset_import[0].version == opset
        return
    with pytest.raises(OnnxNormError, match="Dropout 'old' gives its mask"):
        onnxnorm.optimize(model, opset=opset)


def test_upwards_scan_over_a_batch() -> None:
    body_inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("a", "b")]
    body_outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("c", "d")]
    inner = [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Identity", ["c"], ["d"])]
    body = helper.make_graph(inner, "body", body_inputs, body_outputs)
    scan = helper.make_node("Scan", ["", "i", "r"], ["y", "z"], name="scan", num_scan_inputs=1, body=body)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
              (("i", [1, 2]), ("x", [1, 3, 2]))]  # fmt: skip
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "z")]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"], name="rectifier"), scan], "graph", inputs, outputs
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    with pytest.raises(OnnxNormError, match=r"from opset 8 to 21.*Scan 'scan' goes over a batch"):
        onnxnorm.optimize(model, opset=21, verify=False)


@pytest.mark.parametrize("extents", [[2, 6, 5, 5], ["N", None, "H", "W"]])
@pytest.mark.parametrize("opset", [21, 23])
def test_group_norm_gets_weights_for_each_channel_and_keeps_its_epsilon(extents: list[Any], opset: int) -> None:
    rng = np.random.default_rng(2)
    scale, bias = rng.normal(size=(2, 2)).astype(np.float32)
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2, epsilon=0.5)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, extents)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, extents)],
        [numpy_helper.from_array(scale, "s"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = rng.normal(size=(2, 6, 5, 5)).astype(np.float32)
    z = x.astype(np.float64).reshape(2, 2, -1)
    z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 0.5)
    want = (z * scale[None, :, None] + bias[None, :, None]).reshape(x.shape)
    result = onnxnorm.optimize(model, passes=(), opset=opset, verify=False).model
    (got,) = onnxruntime.InferenceSession(result.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "ir_version"), [(19, 9), (17, 8), (13, 7), (11, 6), (9, 4)])
def test_the_ir_version_goes_down_with_the_opset(opset: int, ir_version: int) -> None:
    model = model_of("Transpose", {}, {"perm": [0, 2, 3, 1]}, 21)
    assert onnxnorm.optimize(model, passes=(), opset=opset, verify=False).model.ir_version == ir_version


def test_a_body_graph_of_a_foreign_operator_is_converted_too() -> None:
    """Its Softmax over all axes from the first on is another one from opset 13."""
    inner = helper.make_graph(
        [helper.make_node("Squeeze", ["i"], ["o"], axes=[0])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [3])],
    )
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy"]
    node = helper.make_node("Beams", ["x"], ["y"], domain="foreign", decoder=inner)
    imports = [helper.make_opsetid("", 11), helper.make_opsetid("foreign", 1)]
    graph = helper.make_graph([node], "graph", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=imports, ir_version=7)
    result = onnxnorm.optimize(model, passes=(), opset=13, verify=False).model
    (squeeze,) = (n for n in result.graph.node[0].attribute[0].g.node if n.op_type == "Squeeze")
    assert len(squeeze.input) == 2
    assert not squeeze.attribute


def test_batch_norm_without_is_test_is_training_and_no_conversion_hides_it() -> None:
    def model(**attributes: Any) -> onnx.ModelProto:
        return upwards("BatchNormalization", 6, FOUR_VECTORS, **attributes)

    for opset in (None, 9, 13, 14, 17):
        result = onnxnorm.optimize(model(), opset=opset)
        assert result.report is not None and result.report.passed
        (record,) = result.normalizations
        assert (record.fate, record.code) == (Fate.LEFT, Code.TRAINING_MODE)
        (node,) = result.model.graph.node
        # An attribute says so from opset 14 on, further outputs say so before.
        assert len(node.output) == {None: 1, 9: 5, 13: 5}.get(opset, 3)
        assert any(a.name == "training_mode" and a.i == 1 for a in node.attribute) == (opset in (14, 17))
        again = onnxnorm.optimize(result.model)
        assert [each.code for each in again.normalizations] == [Code.TRAINING_MODE]
    assert onnxnorm.optimize(model(is_test=1), opset=13, verify=False).model.opset_import[0].version == 13


@pytest.mark.parametrize("reads", [False, True])
def test_a_batch_norm_in_training_mode_whose_statistics_are_read_has_no_newer_form(reads: bool) -> None:
    model = upwards("BatchNormalization", 9, FOUR_VECTORS)
    (node,) = model.graph.node
    node.output.extend(["mean", "variance", "saved_mean", "saved_variance"])
    if reads:
        model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, None))
        with pytest.raises(OnnxNormError, match="'old' is in training mode, and its statistics are read"):
            onnxnorm.optimize(model, opset=14)
    else:
        (node,) = onnxnorm.optimize(model, opset=14).model.graph.node
        assert any(a.name == "training_mode" and a.i == 1 for a in node.attribute)


def test_the_longer_name_of_the_domain_is_the_same_domain() -> None:
    model = model_of("Relu", {}, {}, 21)
    model.opset_import[0].domain = model.graph.node[0].domain = "ai.onnx"
    converted_model = onnxnorm.optimize(model, opset=17, verify=False).model
    assert [(entry.domain, entry.version) for entry in converted_model.opset_import] == [("", 17)]


def test_a_model_without_the_default_domain_has_nothing_to_convert() -> None:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Any", ["x"], ["y"], domain="foreign")], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("foreign", 1)], ir_version=8)
    assert onnxnorm.optimize(model, opset=17, verify=False).model.opset_import == model.opset_import


@pytest.mark.parametrize("op_type", ["Gelu", "HardSwish", "Mish", "Swish"])
def test_what_has_a_body_in_older_operators_is_written_out(op_type: str) -> None:
    converted(model_of(op_type, {}, {}, 24), 13)


@pytest.mark.parametrize("opset", [9, 13, 17])
def test_statistics_of_every_place_become_arithmetic_where_there_is_no_node_for_them(opset: int) -> None:
    random = np.random.default_rng(3)
    arrays = {name: random.uniform(0.5, 1.5, (2, 3, 3)).astype(np.float32) for name in "gbmv"}
    model = onnx.parser.parse_model(
        """<ir_version: 4, opset_import: ["": 8]> places (float[2, 2, 3, 3] x) => (float[2, 2, 3, 3] y)
        { y = BatchNormalization <epsilon = 0.01, spatial = 0> (x, g, b, m, v) }"""
    )
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    x = random.normal(size=(2, 2, 3, 3)).astype(np.float32)
    g, b, m, v = (arrays[name].astype(np.float64) for name in "gbmv")
    result = onnxnorm.optimize(model, passes=(), opset=opset, verify=False).model
    assert result.opset_import[0].version == opset
    (got,) = evaluate_float64(result, {"x": x}).values()
    np.testing.assert_allclose(got, (x - m) / np.sqrt(v + 0.01) * g + b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("nested", [False, True])
def test_what_onnx_converter_alone_knows_is_refused_where_it_does_not_look(nested: bool) -> None:
    """LpPool 1 tells its order as a float; onnx's converter goes through the nodes of the main graph alone."""
    pool = helper.make_node("GlobalLpPool", ["x"], ["y"], name="the_pool", p=2.0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [*SHAPE[:2], 1, 1])
    nodes, inputs = [pool], [x]
    if nested:
        body = helper.make_graph([pool], "body", [], [y])
        nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)]
        inputs.append(helper.make_tensor_value_info("yes", TensorProto.BOOL, []))
    graph = helper.make_graph(nodes, "g", inputs, [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 1)], ir_version=3)
    with pytest.raises(OnnxNormError, match="GlobalLpPool 'the_pool'" if nested else "cannot be converted"):
        onnxnorm.optimize(model, passes=(), opset=13, verify=False)
