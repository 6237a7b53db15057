"""Random networks: whatever the affine engine may meet, in every combination.

A network grows node by node from one or two inputs; every operator is applied to a value drawn at random, so values get
several readers and branches join where their shapes allow it. Constants come as initializers, as nodes, in disguise,
and shared. In double precision an exact rewriting and a wrong one are many orders of magnitude apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Grower", "Network", "Shape", "random_network"]

Shape = tuple[int, ...]
T = TypeVar("T")


class Network:
    """One graph that grows: the main graph, or (with `outside`) a body that may read what stands around it."""

    def __init__(self, seed: int | np.random.Generator, *, opset: int = 18, outside: Network | None = None) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.quantized = outside is not None and outside.quantized
        self.outside = outside
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, Shape] = {}
        self.told: list[onnx.ValueInfoProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self._shared: dict[Shape, list[str]] = {}
        self.functions: list[onnx.FunctionProto] = []
        self._names = [0]
        if outside is not None:
            self._names = outside._names
            self.functions = outside.functions
            self.shapes.update(outside.shapes)

    def coin(self, probability: float = 0.5) -> bool:
        return bool(self.random.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random.integers(len(options)))]

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.random.integers(low, high + 1))

    def fresh(self, stem: str) -> str:
        self._names[0] += 1
        return f"{stem}{self._names[0]}"

    def initializer(self, array: Any) -> str:
        name = self.fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        return self.initializer(np.array(values, np.int64))

    def constant(self, array: Any) -> str:
        """A real constant: an initializer, one that another node has too, a node, or computed from others."""
        array = np.asarray(array, np.float64)
        known = self._known(array.shape)
        if known and self.coin(0.1):
            return self.pick(known)
        name = self.initializer(array) if self.coin(0.8) else self._in_disguise(array)
        self._shared.setdefault(array.shape, []).append(name)
        return name

    def _known(self, shape: Shape) -> list[str]:
        outside = [] if self.outside is None else self.outside._known(shape)
        return outside + self._shared.get(shape, [])

    def _in_disguise(self, array: np.ndarray) -> str:
        kind = self.pick(["Constant", "Constant", "Identity", "Transpose", "Reshape", "Mul", "Expand", "Unsqueeze"])
        if kind == "Constant":
            return self.hidden("Constant", [], value=numpy_helper.from_array(array))
        if kind == "Transpose" and array.ndim >= 2:
            return self.hidden("Transpose", [self.initializer(array.T.copy())])
        if kind == "Reshape":
            return self.hidden("Reshape", [self.initializer(array.reshape(-1)), self.ints(*array.shape)])
        if kind == "Mul":
            return self.hidden("Mul", [self.initializer(array / 2.0), self.initializer(np.array(2.0))])
        if kind == "Expand" and array.ndim and array.shape[0] == 1:
            return self.hidden("Expand", [self.initializer(array.reshape(array.shape[1:])), self.ints(*array.shape)])
        if kind == "Unsqueeze" and array.ndim and array.shape[0] == 1 and self.opset >= 13:
            return self.hidden("Unsqueeze", [self.initializer(array[0]), self.ints(0)])
        return self.hidden("Identity", [self.initializer(array)])

    def hidden(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        """A node whose result is a constant, so no operator is applied to it."""
        name = self.fresh("h")
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"{op_type}_{name}", **attributes))
        return name

    def normal(self, *shape: int) -> np.ndarray:
        return self.random.normal(size=shape)

    def vector(self, length: int) -> np.ndarray:
        """Scales of both signs, now and then all positive, with zeros or tiny ones among them."""
        values = self.random.uniform(0.3, 2.0, length)
        if self.coin(0.6):
            values *= self.random.choice([-1.0, 1.0], length)
        if self.coin(0.1):
            values[self.random.integers(length)] = 0.0
        if self.coin(0.1):
            values[self.random.integers(length)] *= 1e-6
        if self.coin(0.1):
            values[:] = values[0]
        return values

    def node(self, op_type: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        return self.nodes_out(op_type, inputs, [shape], **attributes)[0]

    def nodes_out(self, op_type: str, inputs: Sequence[str], shapes: Sequence[Shape], **attributes: Any) -> list[str]:
        names = [self.fresh("v") for _ in shapes]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=f"{op_type}_{names[0]}", **attributes))
        self.shapes.update(zip(names, shapes, strict=True))
        return names

    def tell(self, name: str) -> None:
        """The shape of a value for which ONNX infers none."""
        self.told.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, self.shapes[name]))

    def value(self, wanted: Callable[[Shape], bool] = lambda shape: True) -> str | None:
        # Late values are drawn more often, so that networks become deep as well as wide.
        names = [name for name, shape in self.shapes.items() if wanted(shape)]
        if not names:
            return None
        return names[-1 - min(int(self.random.exponential(2.5)), len(names) - 1)]

    def some(self, wanted: Callable[[Shape], bool] = lambda shape: True) -> tuple[str, Shape] | None:
        """A value and its shape."""
        name = self.value(wanted)
        return None if name is None else (name, self.shapes[name])

    def given(self, name: str, shape: Shape, element: int = TensorProto.DOUBLE) -> str:
        """An input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, element, shape))
        if element == TensorProto.DOUBLE:
            self.shapes[name] = shape
        return name

    def main(self) -> Network:
        return self if self.outside is None else self.outside.main()

    def body(self, name: str, outputs: Sequence[str]) -> onnx.GraphProto:
        declared = [
            helper.make_tensor_value_info(output, TensorProto.DOUBLE, self.shapes[output]) for output in outputs
        ]
        return helper.make_graph(self.nodes, name, self.inputs, declared, self.constants, value_info=self.told)


Grower = Callable[[Network], None]


def grow(net: Network, nodes: int, growers: Sequence[tuple[Grower, float]]) -> None:
    weights = np.array([weight for _, weight in growers])
    for _ in range(20 * nodes):
        if len(net.nodes) >= nodes:
            return
        growers[int(net.random.choice(len(growers), p=weights / weights.sum()))][0](net)


_INPUTS = ((2, 4, 6, 6), (2, 6, 5), (2, 3, 4, 4, 3), (2, 5, 6), (3, 8), (2, 4, 4, 4), (1, 2, 3, 3), (4, 4, 4))


def random_network(seed: int, nodes: int, *, quantized: bool = False) -> onnx.ModelProto:
    """A valid network of about `nodes` nodes, the same for the same seed; its outputs are what nobody else reads.

    `quantized`: some weights are integers with scales. ONNX has no scales in double precision, so such networks are
    for narrower types.
    """
    from testing import network_elementwise, network_layout, network_linear, network_scopes

    random = np.random.default_rng(seed)
    opset = int(random.choice([8, 13, 18, 21, 23], p=[0.1, 0.15, 0.5, 0.15, 0.1]))
    net = Network(random, opset=opset)
    net.quantized = quantized
    first = net.pick(
        [(2, 4, 6, 6), (2, 6, 5), (2, 3, 4, 4, 3), (2, 5, 6), (3, 8), (2, 4, 4, 4), (1, 2, 3, 3), (4, 4, 4)]
    )
    net.given("x", first)
    if net.coin(0.3):
        net.given("y", first)
    tables = (network_elementwise, network_layout, network_linear, network_scopes)
    grow(
        net, nodes, [(grower, weight) for table in tables for grower, weight, since in table.GROWERS if opset >= since]
    )
    read = {name for node in net.nodes for name in _reads(node)}
    inputs = {value.name for value in net.inputs}
    outputs = [name for name in net.shapes if name not in inputs and (name not in read or net.coin(0.03))]
    open_axes = net.coin(0.25)
    graph = helper.make_graph(
        net.nodes,
        f"network_{seed}",
        [_opened(net, value) if open_axes else value for value in net.inputs],
        [
            helper.make_tensor_value_info(
                name, TensorProto.DOUBLE, [None] * len(net.shapes[name]) if open_axes else net.shapes[name]
            )
            for name in outputs
        ],
        net.constants,
        value_info=[] if open_axes else net.told,
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("local", 1)] if net.functions else [])
    ir_version = {21: 10, 23: 11}.get(opset, 8)
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=net.functions)


def _opened(net: Network, value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """An input of which some extents are left open; the extent it is fed with stands in its doc string."""
    extents = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    shape = [f"{value.name}_{axis}" if net.coin() else extent for axis, extent in enumerate(extents)]
    opened = helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)
    opened.doc_string = ",".join(map(str, extents))
    return opened


def _reads(node: onnx.NodeProto) -> list[str]:
    inside = [name for attribute in node.attribute for inner in attribute.g.node for name in _reads(inner)]
    return [*node.input, *inside]
