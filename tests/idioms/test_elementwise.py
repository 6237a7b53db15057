"""Normalizations that a runtime runs in one loop with their neighbours go away, or stay where they are."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest

import onnxnorm
from testing.builder import Builder


def _block(*, pooled: bool, activated: bool = True) -> onnx.ModelProto:
    """A pre-activation block as in a DenseNet, behind a stem whose pool lets no negative scale pass."""
    b = Builder(opset=17)
    x = b.conv(b.input((1, 3, 16, 16)), 3, 8, (3, 3), pads=[1] * 4)
    x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]) if pooled else x
    grown = b.conv(b.node("Relu", b.batch_norm(x, 8)), 8, 24, (3, 3), pads=[1] * 4)
    normed = b.batch_norm(b.node("Concat", x, grown, axis=1), 32)
    return b.model(b.conv(b.node("Relu", normed) if activated else b.node("Softplus", normed), 32, 4, (1, 1)))


def _kinds(model: onnx.ModelProto, target: str) -> Counter[str]:
    return Counter(node.op_type for node in onnxnorm.optimize(model, target=target).model.graph.node)


def _in_openvino(model: onnx.ModelProto) -> Counter[str]:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU")
    return Counter(str(op.get_rt_info()["layerType"].astype(str)) for op in compiled.get_runtime_model().get_ops())


def test_a_normalization_that_runs_with_its_activation_is_not_moved_to_where_it_runs_alone() -> None:
    """The portable result has it behind the pool, on fewer channels; OpenVINO would run one node more."""
    model = _block(pooled=True)
    where = {target: _where(model, target) for target in ("portable", "openvino")}
    assert where == {"portable": ["BatchNormalization", "MaxPool"], "openvino": ["Concat", "MaxPool"]}
    before, after = (_in_openvino(each) for each in (model, onnxnorm.optimize(model, target="openvino").model))
    assert after.total() <= before.total()


def _where(model: onnx.ModelProto, target: str) -> list[str]:
    nodes = onnxnorm.optimize(model, target=target).model.graph.node
    makers = {output: node.op_type for node in nodes for output in node.output}
    return sorted(makers[node.input[0]] for node in nodes if node.op_type == "BatchNormalization")


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_where_nothing_is_left_of_it_it_goes(target: str) -> None:
    assert _kinds(_block(pooled=False), target)["BatchNormalization"] == 1


def test_one_that_runs_alone_moves_for_openvino_too() -> None:
    model = _block(pooled=True, activated=False)
    assert _where(model, "openvino") == ["BatchNormalization", "MaxPool"]
