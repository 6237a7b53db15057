"""Targets: what a target does not run well is written out and computes the same; opsets are converted on the way."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxnorm
from onnxnorm import OnnxNormError
from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.passes import DEFAULT
from onnxnorm.passes.targets import TARGETS
from testing.builder import Builder, count, random_feeds, same_in_onnxruntime
from testing.optimized import operators_in_onnxruntime
from tests.recognize.spellings import SPELLINGS, Net

NODES: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[tuple[int, ...], ...], int]] = {
    "GroupNormalization": ((2, 4, 3, 5), {"num_groups": 2, "epsilon": 1e-3}, ((4,), (4,)), 21),
    "LpNormalization": ((2, 4, 6), {"axis": 1, "p": 2}, (), 18),
    "MeanVarianceNormalization": ((2, 4, 3, 5), {"axes": [1, 3]}, (), 18),
    "RMSNormalization": ((2, 4, 6), {"axis": -2, "epsilon": 1e-3}, ((4, 6),), 23),
    "LayerNormalization": ((2, 4, 6), {"axis": 1}, ((4, 6), (4, 6)), 17),
}


def _one(op_type: str, dtype: Any = np.float32) -> onnx.ModelProto:
    shape, attributes, weights, opset = NODES[op_type]
    net = Builder(opset=opset, dtype=dtype, ir_version=10)
    x = net.input(shape)
    constants = [net.constant(net.normal(*extents)) for extents in weights]
    y = net.node(op_type, x, *constants, out="y", **attributes)
    net.output(y, shape=shape)
    return net.model()


def _same(before: onnx.ModelProto, after: onnx.ModelProto, feeds: Any = None) -> None:
    feeds = random_feeds(before) if feeds is None else feeds
    onnx.checker.check_model(after, full_check=True)
    for want, got in zip(
        evaluate_float64(before, feeds).values(), evaluate_float64(after, feeds).values(), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


LOWERED = [(target.name, op_type) for target in TARGETS.values() for op_type in target.lowered]


@pytest.mark.parametrize(("target", "op_type"), LOWERED)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_the_target_lacks_is_written_out(target: str, op_type: str, dtype: Any) -> None:
    model = _one(op_type, np.float32 if op_type == "MeanVarianceNormalization" else dtype)
    # Without the pass that gives some of them to native kernels.
    passes = [each for each in DEFAULT if each != "accelerate"]
    result = onnxnorm.optimize(model, target=target, passes=passes, verify=False)
    assert count(result.model, op_type) == 0
    (rewrite,) = [rewrite for rewrite in result.rewrites if rewrite.pass_name == "lower"]
    assert TARGETS[target].lowered[op_type] in rewrite.detail
    _same(model, result.model)


@pytest.mark.parametrize("op_type", NODES)
def test_a_portable_model_keeps_its_nodes(op_type: str) -> None:
    assert count(onnxnorm.optimize(_one(op_type), verify=False).model, op_type) == 1


@pytest.mark.parametrize("opset", [7, 8, 18])
def test_the_length_is_bounded_at_every_opset(opset: int) -> None:
    # Max takes tensors of different shapes from opset 8 on alone.
    net = Builder(opset=opset, dtype=np.float32, ir_version=8)
    model = net.model(net.node("LpNormalization", net.input((2, 4, 6)), axis=1, p=2))
    result = onnxnorm.optimize(model, target="web", verify=False).model
    assert count(result, "LpNormalization") == 0
    same_in_onnxruntime(model, result)


def test_a_vector_of_zeros_stays_zero() -> None:
    model = _one("LpNormalization")
    feeds = random_feeds(model)
    feeds["x"][:, :, 2] = 0
    _same(model, onnxnorm.optimize(model, target="web", verify=False).model, feeds)


def _lrn(size: int, op_type: str = "InterChannelLRN", domain: str = "onnxnorm") -> onnx.ModelProto:
    net = Builder(opset=18, dtype=np.float32, opsets={"onnxnorm": 1} if domain else {})
    x = net.input((2, 6, 3, 5))
    window = {"kernel_shape": [size, 3]} if op_type == "IntraChannelLRN" else {"size": size}
    y = net.node(op_type, x, domain=domain, out="y", alpha=0.3, **window)
    net.output(y, shape=(2, 6, 3, 5))
    model = net.model()
    from onnxnorm.ops.attach import attach_bodies

    attach_bodies(model)
    return model


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "web"])
@pytest.mark.parametrize(("size", "op_type"), [(3, "IntraChannelLRN"), (4, "InterChannelLRN")])
def test_bodies_are_inlined_where_functions_are_not_known(target: str, size: int, op_type: str) -> None:
    model = _lrn(size, op_type)
    after = onnxnorm.optimize(model, target=target, verify=False).model
    assert not after.functions
    assert all(entry.domain != "onnxnorm" for entry in after.opset_import)
    _same(model, after)


def test_openvino_gets_the_standard_lrn() -> None:
    model = _lrn(3)
    after = onnxnorm.optimize(model, target="openvino", verify=False).model
    assert Counter(node.op_type for node in after.graph.node) == {"LRN": 1}
    _same(model, after)


def _spelling(name: str) -> Any:
    return next(spelling for spelling in SPELLINGS if spelling.name == name)


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "web"])
def test_lrn_for_a_runtime_without_functions(target: str) -> None:
    """It stays where it runs well, and is written out in few standard operators elsewhere; no function is left."""
    model = _lrn(3, "LRN", "")
    after = onnxnorm.optimize(model, target=target, verify=False).model
    operators = {node.op_type for node in after.graph.node}
    assert operators == {"LRN"} if target != "web" else operators.isdisjoint({"LRN", "If", "InterChannelLRN"})
    assert not after.functions


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("TorchScript LayerNorm", 9, 17), ("TorchScript LayerNorm", 13, 18), ("llama RMSNorm", 13, 23),
     ("GroupNorm by InstanceNorm", 11, 21), ("LRN by AveragePool", 9, 17)],
)  # fmt: skip
def test_an_older_model_is_converted_to_the_opset_that_has_the_node(name: str, before: int, after: int) -> None:
    spelling = _spelling(name)
    net = Net(opset=before, dtype=np.float32)
    y = spelling.write(net, net.input(spelling.shape))
    net.output(y, shape=spelling.shape)
    model = net.model()
    passes = [name for name in DEFAULT if name != "accelerate"]
    target = "tensorrt" if spelling.becomes == "GroupNormalization" else "portable"
    result = onnxnorm.optimize(model, opset=after, passes=passes, target=target, verify=False)
    assert [entry.version for entry in result.model.opset_import if not entry.domain] == [after]
    assert [node.op_type for node in result.model.graph.node] == [spelling.becomes]
    _same(model, result.model)


@pytest.mark.parametrize("opset", [17, 21, 23])
@pytest.mark.parametrize("is_written_out", [True, False])
def test_a_portable_group_norm_stays_as_it_is_written(opset: int, is_written_out: bool, tmp_path: Path) -> None:
    """onnxruntime, which many a portable file runs in, makes five times as many nodes of GroupNormalization."""
    if is_written_out:
        spelling = _spelling("GroupNorm by InstanceNorm")
        net = Net(opset=opset, dtype=np.float32)
        net.output(spelling.write(net, net.input(spelling.shape)), shape=spelling.shape)
        model = net.model()
    elif opset < 21:
        pytest.skip("GroupNormalization of opset 18 is another one")
    else:
        model = _one("GroupNormalization")
    result = onnxnorm.optimize(model, verify=False)
    _same(model, result.model)
    operators = [node.op_type for node in result.model.graph.node]
    assert len(operators) <= len(model.graph.node)
    assert operators.count("GroupNormalization") == (not is_written_out)
    after, before = (len(operators_in_onnxruntime(each, tmp_path)) for each in (result.model, model))
    assert after <= before
    if is_written_out:
        (record,) = [each for each in onnxnorm.inspect(model) if each.kind == "GroupNormalization (written out)"]
        assert "takes nearly twice as long" in record.reason and "target onnxruntime" in str(record.remedy)
        raised = onnxnorm.optimize(model, opset=max(opset, 21), target="openvino", verify=False).model
        assert [node.op_type for node in raised.graph.node] == ["GroupNormalization"]


def test_without_an_opset_an_older_model_stays_and_is_named() -> None:
    spelling = _spelling("TorchScript LayerNorm")
    net = Net(opset=13, dtype=np.float32)
    y = spelling.write(net, net.input(spelling.shape))
    net.output(y, shape=spelling.shape)
    model = net.model()
    (record,) = onnxnorm.inspect(model)
    assert (record.kind, record.fate.value, record.shape) == ("LayerNormalization (written out)", "left", (2, 3, 6))
    assert "opset=17" in record.reason
    assert len(onnxnorm.optimize(model, verify=False).model.graph.node) == len(model.graph.node)


@pytest.mark.parametrize("opset", [6, 99, "17", True])
def test_an_opset_that_is_none_is_refused(opset: Any) -> None:
    with pytest.raises(OnnxNormError, match="opset must be a whole number"):
        onnxnorm.optimize(_one("LpNormalization"), opset=opset, verify=False)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(OnnxNormError, match="openvino"):
        onnxnorm.optimize(_one("LpNormalization"), target="abacus", verify=False)


@pytest.mark.parametrize("op_type", ["IntraChannelLRN", "InterChannelLRN", "LpNormalization"])
def test_openvino_runs_what_is_made_for_it(op_type: str) -> None:
    openvino = pytest.importorskip("openvino")
    model = _lrn(4, op_type) if op_type.endswith("LRN") else _one(op_type)
    after = onnxnorm.optimize(model, target="openvino", verify=False).model
    feeds = random_feeds(model)
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(io.BytesIO(after.SerializeToString())), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    got = compiled([feeds["x"]])[0]
    (want,) = evaluate_float64(model, feeds).values()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("bias", [0.25, 0.5, 1.0, 1.5, 2.0, 3.75])
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize(("alpha", "beta"), [(1e-4, 0.75), (2.0, 0.5), (0.5, 0.6)])
def test_openvino_computes_lrn_with_every_bias(size: int, alpha: float, beta: float, bias: float) -> None:
    openvino = pytest.importorskip("openvino")
    node = helper.make_node("LRN", ["X"], ["Y"], size=size, alpha=alpha, beta=beta, bias=bias)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 7, 4, 5)) for name in "XY"]
    imports = [helper.make_opsetid("", 21)]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    after = onnxnorm.optimize(model, target="openvino", verify=False).model
    assert isinstance(after, onnx.ModelProto)
    assert ("LRN" in [each.op_type for each in after.graph.node]) == bias.is_integer()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(after.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    x = np.random.default_rng(0).standard_normal((2, 7, 4, 5)).astype(np.float32)
    wanted = onnxnorm.reference.inter_channel_lrn(x, size, float(np.float32(alpha)), float(np.float32(beta)), bias)
    np.testing.assert_allclose(compiled([x])[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 1.0, 1.5])
def test_a_normalization_that_is_written_out_again_has_no_more_nodes(scale: float | None) -> None:
    net = Builder(opset=23, dtype=np.float32, ir_version=10)
    x = net.input(("n", 3, 8))
    mean = net.node("ReduceMean", net.node("Mul", x, x), net.ints(-1))
    y = net.node("Div", x, net.node("Sqrt", net.node("Add", mean, net.constant(np.float32(1e-5)))))
    if scale is not None:
        y = net.node("Mul", y, net.constant(np.full(8, scale)))
    net.output(y, shape=("n", 3, 8))
    model = net.model()
    after = onnxnorm.optimize(model, target="web", verify=False).model
    assert count(after, "RMSNormalization") == 0
    # A scale of ones goes, any other stays.
    assert len(after.graph.node) == 5 + (scale == 1.5)
    same_in_onnxruntime(model, after, tolerance=4e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["onnxruntime", "web"])
def test_a_group_normalization_that_is_written_out_again_has_no_more_nodes(target: str, weighted: bool) -> None:
    net = Builder(opset=21, dtype=np.float32, ir_version=10)
    x = net.input(("n", 4, 3, 5))
    y = net.node(
        "InstanceNormalization",
        net.node("Reshape", x, net.ints(0, 2, -1)),
        net.constant(np.ones(2)),
        net.constant(np.zeros(2)),
    )
    y = net.node("Reshape", y, net.node("Shape", x))
    if weighted:
        y = net.node("Mul", y, net.constant(net.normal(4, 1, 1)))
        y = net.node("Add", y, net.constant(net.normal(4, 1, 1)))
    net.output(y, shape=("n", 4, 3, 5))
    model = net.model()
    after = onnxnorm.optimize(model, target=target, verify=False).model
    assert len(after.graph.node) <= len(model.graph.node)
    same_in_onnxruntime(model, after, tolerance=4e-6)
