"""Several written-out normalizations of one tensor: parallel blocks of transformers, which may share the mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm

_SHAPE = (2, 3, 8)


@dataclass
class _Norms:
    """A graph of norms of the input x; what each gives, in float64, stands beside it."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(
        default_factory=lambda: {"two": np.float32(2), "eps": np.float32(1e-5), "half": np.float32(0.5)}
    )
    outputs: list[str] = field(default_factory=list)

    def add(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], **attributes))
        return name

    def weight(self) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.random.default_rng(len(self.weights)).uniform(0.5, 2, _SHAPE[-1]).astype(np.float32)
        return name

    def mean(self, value: str = "x") -> str:
        return self.add("ReduceMean", value, axes=[-1])

    def normalized(self, centre: str) -> str:
        variance = self.mean(self.add("Pow", centre, "two"))
        return self.add("Div", centre, self.add("Sqrt", self.add("Add", variance, "eps")))

    def weighted(self, value: str) -> None:
        self.outputs.append(self.add("Add", self.add("Mul", value, self.weight()), self.weight()))

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _checked(model: onnx.ModelProto) -> tuple[Counter[str], onnxnorm.OptimizeResult]:
    result = onnxnorm.optimize(model, verify=False)
    x = np.random.default_rng(5).standard_normal(_SHAPE).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted, found = (
        onnxruntime.InferenceSession(each.SerializeToString(), options).run(None, {"x": x})
        for each in (model, result.model)
    )
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    again = onnxnorm.optimize(result.model, verify=False)
    assert not again.rewrites
    assert [node.op_type for node in again.model.graph.node] == [node.op_type for node in result.model.graph.node]
    return Counter(node.op_type for node in result.model.graph.node), result


@pytest.mark.parametrize("number", [2, 8, 20])
@pytest.mark.parametrize("shared", ["nothing", "mean", "centre"])
def test_all_are_raised_whatever_of_the_statistics_they_share(number: int, shared: str) -> None:
    norms = _Norms()
    mean = norms.mean() if shared != "nothing" else None
    centre = norms.add("Sub", "x", mean) if shared == "centre" and mean is not None else None
    for _ in range(number):
        norms.weighted(norms.normalized(centre or norms.add("Sub", "x", mean or norms.mean())))
    found, _ = _checked(norms.model())
    assert found == {"LayerNormalization": number}


def test_a_normalized_tensor_with_two_weights_is_computed_once() -> None:
    norms = _Norms()
    normalized = norms.normalized(norms.add("Sub", "x", norms.mean()))
    norms.weighted(normalized)
    norms.weighted(normalized)
    found, _ = _checked(norms.model())
    assert found["LayerNormalization"] == 1 and found["ReduceMean"] == 0


def test_what_shares_a_mean_with_another_computation_is_left_and_named_each() -> None:
    norms = _Norms()
    mean = norms.mean()
    for _ in range(3):
        norms.weighted(norms.normalized(norms.add("Sub", "x", mean)))
    norms.weighted(norms.normalized(norms.add("Sub", "x", norms.mean())))
    norms.outputs.append(norms.add("Mul", mean, "half"))
    result = onnxnorm.optimize(norms.model(), passes=["recognize"], verify=False)
    assert Counter(node.op_type for node in result.model.graph.node)["LayerNormalization"] == 1
    assert len([each for each in result.declined if each.reason.endswith("inside it is read elsewhere too")]) == 3
    _checked(norms.model())


def test_a_computation_beside_a_norm_that_shares_nothing_leaves_it_a_node() -> None:
    norms = _Norms()
    norms.weighted(norms.normalized(norms.add("Sub", "x", norms.mean())))
    norms.outputs.append(norms.add("Exp", norms.mean(norms.add("Abs", "x"))))
    found, _ = _checked(norms.model())
    assert found["LayerNormalization"] == 1
