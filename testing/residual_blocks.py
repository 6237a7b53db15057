"""Builds networks of any number of residual blocks, which are no plain networks: for what grows with nodes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["constant", "model_of", "residual_blocks"]


def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def residual_blocks(blocks: int, *, channels: int = 2) -> onnx.ModelProto:
    """Build residual blocks of five nodes: Conv, BatchNormalization, Relu, Conv, Add; every third keeps its LRN."""
    rng = np.random.default_rng(3)
    nodes: list[onnx.NodeProto] = []
    weights = [constant("w", rng.normal(size=(channels, channels, 1, 1)))]
    current = "x"
    for block in range(blocks):
        weights += [constant(f"{part}{block}", rng.uniform(0.5, 2, channels)) for part in ("g", "b", "m", "v")]
        weights.append(constant(f"w{block}", rng.normal(size=(channels, channels, 1, 1))))
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
    return model_of(nodes, weights, [1, channels, 4, 4])


def model_of(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], shape: list[int | str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
