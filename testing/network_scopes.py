"""Subgraphs and functions of random networks: bodies that grow as the networks do, and read what stands outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from testing.network_elementwise import keep_shape
from testing.networks import Network, Shape

__all__ = ["GROWERS"]


def _choice(net: Network) -> None:
    """An If of which both branches give the same shape; what is asked is an input of the network, or a constant."""
    found = net.some()
    if found is None:
        return
    x, shape = found
    bodies: dict[str, Any] = {}
    for name in ("then_branch", "else_branch"):
        inner = Network(net.random, opset=net.opset, outside=net)
        start = inner.value(lambda other: other == shape) or x
        bodies[name] = inner.body(name, [keep_shape(inner, start)])
    main = net.main()
    if net.coin(0.8):
        asked = "asked"
        if all(value.name != asked for value in main.inputs):
            main.given(asked, (), TensorProto.BOOL)
    else:
        asked = net.initializer(np.array(net.coin()))
    net.node("If", [asked], shape, **bodies)


def _repetition(net: Network) -> None:
    """A Loop that carries one value and scans another."""
    found = net.some(lambda shape: int(np.prod(shape)) <= 500 and len(shape) < 5)
    if found is None:
        return
    x, shape = found
    inner = Network(net.random, opset=net.opset, outside=net)
    inner.given(inner.fresh("i"), (), TensorProto.INT64)
    proceed = inner.fresh("go")
    inner.given(proceed, (), TensorProto.BOOL)
    carried = inner.given(inner.fresh("b"), shape)
    # Bounded, since it is fed back.
    carried = inner.node("Tanh", [keep_shape(inner, carried)], shape)
    scanned = keep_shape(inner, carried)
    if scanned == carried:
        scanned = inner.node("Neg", [carried], shape)
    body = inner.body("body", [carried, scanned])
    still = inner.fresh("go")
    body.node.append(helper.make_node("Identity", [proceed], [still], name=still))
    outputs = [helper.make_tensor_value_info(still, TensorProto.BOOL, ()), *body.output]
    del body.output[:]
    body.output.extend(outputs)
    trips, start = net.initializer(np.array(2, np.int64)), net.initializer(np.array(True))
    names = net.nodes_out("Loop", [trips, start, x], [shape, (2, *shape)], body=body)
    for name in names:
        net.tell(name)


def _scan(net: Network) -> None:
    """A Scan along the first axis with one state."""
    found = net.some(lambda shape: 3 <= len(shape) <= 4)
    if found is None:
        return
    x, shape = found
    part: Shape = shape[1:]
    inner = Network(net.random, opset=net.opset, outside=net)
    state, element = inner.given(inner.fresh("b"), part), inner.given(inner.fresh("b"), part)
    element = keep_shape(inner, element)
    total = inner.node("Add", [state, element], part)
    scanned = keep_shape(inner, total)
    zero = net.initializer(np.zeros(part))
    body = inner.body("body", [total, scanned])
    names = net.nodes_out("Scan", [zero, x], [part, shape], body=body, num_scan_inputs=1)
    for name in names:
        net.tell(name)


def _function(net: Network) -> None:
    """A model-local function, made for two channel counts at most and called with weights of the caller."""
    found = net.some(lambda shape: 3 <= len(shape) <= 4)
    if found is None:
        return
    x, shape = found
    channels = shape[1]
    name = f"Block{len(shape)}"
    if all(function.name != name for function in net.functions):
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["conv"], name="conv"),
            helper.make_node("BatchNormalization", ["conv", "gamma", "beta", "mean", "var"], ["norm"], name="norm"),
            helper.make_node("Relu", ["norm"], ["y"], name="relu"),
        ]
        if net.coin():
            nodes.insert(2, helper.make_node("Mul", ["norm", "two"], ["twice"], name="twice"))
            nodes.insert(0, helper.make_node("Constant", [], ["half"], value_float=-0.5))
            nodes.insert(1, helper.make_node("Cast", ["half"], ["two"], to=TensorProto.DOUBLE))
            nodes[-1].input[0] = "twice"
        parameters = ["x", "w", "gamma", "beta", "mean", "var"]
        opsets = [helper.make_opsetid("", net.opset)]
        net.functions.append(helper.make_function("local", name, parameters, ["y"], nodes, opsets))
    weight = net.constant(net.normal(channels, channels, *[1] * (len(shape) - 2)) / np.sqrt(channels))
    statistics = [net.constant(array) for array in (net.vector(channels), net.normal(channels), net.normal(channels))]
    statistics.append(net.initializer(net.random.uniform(0.2, 3.0, channels)))
    y = net.node(name, [x, weight, *statistics], shape)
    net.nodes[-1].domain = "local"
    net.tell(y)


GROWERS = [(_choice, 0.25, 13), (_repetition, 0.15, 13), (_scan, 0.15, 11), (_function, 0.2, 13)]
"""What grows, its weight, and the first operator set that has it."""
