"""Models for the tests of the report page: of any size, and with names that try to be code."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["HOSTILE", "chain", "hostile"]

HOSTILE = (
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "\"'`${document.title='broken'}\\",
    "<!--<script>",
    "&lt;b&gt; @data@ @script@",
    "right\u202eto left\u2028next line",
    "null\0character",
    "long" * 2_500_000,
)


def _constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def chain(blocks: int, *, channels: int = 2) -> onnx.ModelProto:
    """Build residual blocks of five nodes: Conv, BatchNormalization, Relu, Conv, Add; every third keeps its LRN."""
    rng = np.random.default_rng(3)
    nodes: list[onnx.NodeProto] = []
    weights = [_constant("w", rng.normal(size=(channels, channels, 1, 1)))]
    current = "x"
    for block in range(blocks):
        weights += [_constant(f"{part}{block}", rng.uniform(0.5, 2, channels)) for part in ("g", "b", "m", "v")]
        weights.append(_constant(f"w{block}", rng.normal(size=(channels, channels, 1, 1))))
        own = [f"g{block}", f"b{block}", f"m{block}", f"v{block}"]
        nodes += [
            helper.make_node("Conv", [current, f"w{block}"], [f"c{block}"], name=f"block{block}/conv"),
            helper.make_node("BatchNormalization", [f"c{block}", *own], [f"n{block}"], name=f"block{block}/bn"),
            helper.make_node("Relu", [f"n{block}"], [f"r{block}"], name=f"block{block}/relu"),
            helper.make_node("LRN" if block % 3 == 0 else "Softplus", [f"r{block}"], [f"d{block}"],
                             name=f"block{block}/second", **({"size": 3} if block % 3 == 0 else {})),
            helper.make_node("Add", [f"d{block}", current], [f"a{block}"], name=f"block{block}/add"),
        ]  # fmt: skip
        current = f"a{block}"
    nodes[-1].output[0] = "y"
    return _model(nodes, weights, [1, channels, 4, 4])


def hostile() -> onnx.ModelProto:
    """Build a network whose every name is one of `HOSTILE`, or holds it."""
    names = iter(HOSTILE * 3)
    weights = [_constant(name, np.ones(2)) for name in ("g", "b", "m", "v")]
    weights.append(_constant("w", np.ones((2, 2, 1, 1))))
    nodes = []
    current = "x"
    for place in range(len(HOSTILE)):
        for op, inputs in (("Conv", ["w"]), ("BatchNormalization", ["g", "b", "m", "v"]), ("LRN", [])):
            out = f"{op}{place}{HOSTILE[place][:60]}"
            attributes = {"size": 3} if op == "LRN" else {}
            nodes.append(helper.make_node(op, [current, *inputs], [out], name=next(names), **attributes))
            current = out
    nodes.append(helper.make_node("Identity", [current], ["y"], name="end"))
    model = _model(nodes, weights, [1, 2, 3, HOSTILE[0]])
    model.graph.name = HOSTILE[0]
    return model


def _model(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], shape: list[int | str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
