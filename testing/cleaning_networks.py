"""Random networks of what exporters leave behind: casts, layouts, shapes that are read, conditions, twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper

from testing.builder import Builder

__all__ = ["untidy_network"]

Shape = tuple["int | str", ...]
T = TypeVar("T")

_TYPES = {np.float32: TensorProto.FLOAT, np.int32: TensorProto.INT32}


class _Net:
    """Values are known by name and shape; "n" is the one extent that is free."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = np.float32 if self.coin(0.7) else np.int32
        self.net = Builder(seed=seed, dtype=self.dtype, opset=18)
        shape: Shape = self.pick([("n", 4, 6), ("n", 1, 4, 3), (2, "n", 6), ("n", 6), (2, 3, 4)])
        self.values: dict[str, Shape] = {self.net.input(shape): shape}

    def coin(self, probability: float = 0.5) -> bool:
        return bool(self.random.random() < probability)

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random.integers(len(options)))]

    def some(self) -> tuple[str, Shape]:
        names = list(self.values)
        name = names[-1 - min(int(self.random.exponential(1.5)), len(names) - 1)]
        return name, self.values[name]

    def add(self, name: str, shape: Shape) -> None:
        self.values[name] = shape

    def number(self) -> Any:
        return self.dtype(self.pick([0, 1, -1, 2]) if self.dtype is np.int32 else self.pick([0.0, -0.0, 1.0, 0.5]))

    def request(self, x: str, shape: Shape, wanted: Shape) -> str:
        """A shape for Reshape: numbers, or a Concat of what is read of x."""
        if "n" not in wanted or self.coin(0.3):
            return self.net.ints(*(-1 if dim == "n" else int(dim) for dim in wanted))
        parts = []
        for dim in wanted:
            if dim in shape and self.coin(0.7):
                axis = self.net.constant(np.array([shape.index(dim)], np.int64))
                parts.append(self.net.node("Gather", self.net.node("Shape", x), axis))
            elif dim == "n":
                axis = shape.index("n")
                parts.append(self.net.node("Slice", self.net.node("Shape", x), *map(self.net.ints, (axis, axis + 1))))
            else:
                parts.append(self.net.ints(int(dim)))
        return self.net.node("Concat", *parts, axis=0)


def _transpose(net: _Net) -> None:
    x, shape = net.some()
    order = [int(axis) for axis in net.random.permutation(len(shape))]
    net.add(net.net.node("Transpose", x, perm=order), tuple(shape[axis] for axis in order))


def _there_and_back(net: _Net) -> None:
    x, shape = net.some()
    order = [int(axis) for axis in net.random.permutation(len(shape))]
    value = net.net.node("Transpose", x, perm=order)
    for _ in range(int(net.random.integers(0, 3))):
        value = net.net.node(net.pick(["Neg", "Abs", "Sign"]), value)
        if net.coin(0.2):
            net.add(value, tuple(shape[axis] for axis in order))
    net.add(net.net.node("Transpose", value, perm=[int(axis) for axis in np.argsort(order)]), shape)


def _reshape(net: _Net) -> None:
    x, shape = net.some()
    if len(shape) < 2:
        return
    at = int(net.random.integers(len(shape) - 1))
    a, b = shape[at : at + 2]
    if isinstance(a, int) and isinstance(b, int):
        middle: Shape = net.pick([(a * b,), (b, a), (a, b), (1, a * b)])
        wanted = (*shape[:at], *middle, *shape[at + 2 :])
    else:
        wanted = shape
    net.add(net.net.node("Reshape", x, net.request(x, shape, wanted)), wanted)


def _axes(net: _Net) -> None:
    x, shape = net.some()
    ones = [axis for axis, dim in enumerate(shape) if dim == 1]
    if ones and net.coin():
        axis = net.pick(ones)
        net.add(net.net.node("Squeeze", x, net.net.ints(axis)), (*shape[:axis], *shape[axis + 1 :]))
    elif len(shape) < 5:
        axis = int(net.random.integers(len(shape) + 1))
        net.add(net.net.node("Unsqueeze", x, net.net.ints(axis)), (*shape[:axis], 1, *shape[axis:]))


def _cast(net: _Net) -> None:
    x, shape = net.some()
    own = _TYPES[net.dtype]
    others = [TensorProto.DOUBLE, own] if net.dtype is np.float32 else [TensorProto.INT64, TensorProto.DOUBLE, own]
    if net.dtype is np.float32 and net.coin(0.3):
        others = [TensorProto.FLOAT16]
    net.add(net.net.node("Cast", net.net.node("Cast", x, to=net.pick(others)), to=own), shape)


def _arithmetic(net: _Net) -> None:
    x, shape = net.some()
    extents = [dim if isinstance(dim, int) and net.coin() else 1 for dim in shape]
    array = np.full(extents if net.coin() else (), net.number())
    operands = [x, net.net.constant(array, dtype=net.dtype)]
    op_type = net.pick(["Add", "Mul", "Sub"])
    if op_type != "Sub" and net.coin(0.3):
        operands.reverse()
    net.add(net.net.node(op_type, *operands), shape)


def _unary(net: _Net) -> None:
    x, shape = net.some()
    net.add(net.net.node(net.pick(["Neg", "Abs", "Sign", "Identity"]), x), shape)


def _hand_on(net: _Net) -> None:
    x, shape = net.some()
    b = net.net
    kind = net.pick(["Slice", "Expand", "Pad", "Concat", "Tile", "Sum"])
    if kind == "Slice":
        axis = int(net.random.integers(len(shape)))
        dim = shape[axis]
        end = 2**63 - 1 if dim == "n" or net.coin() else dim
        start = int(net.random.integers(0, 2)) if isinstance(dim, int) and dim > 1 else 0
        extent = dim if start == 0 or not isinstance(dim, int) else dim - start
        cut = (*shape[:axis], extent, *shape[axis + 1 :])
        net.add(b.node("Slice", x, b.ints(start), b.ints(int(end)), b.ints(axis)), cut)
    elif kind == "Expand":
        net.add(b.node("Expand", x, b.node("Shape", x) if net.coin() else b.ints(1)), shape)
    elif kind == "Pad":
        net.add(b.node("Pad", x, b.ints(*[0] * (2 * len(shape)))), shape)
    elif kind == "Tile":
        net.add(b.node("Tile", x, b.ints(*[1] * len(shape))), shape)
    else:
        net.add(b.node(kind, x, **({"axis": 0} if kind == "Concat" else {})) if kind == "Concat" or net.dtype
                is np.float32 else b.node("Identity", x), shape)  # fmt: skip


def _join(net: _Net) -> None:
    x, shape = net.some()
    twins = [name for name, other in net.values.items() if other == shape]
    net.add(net.net.node(net.pick(["Add", "Mul"]), x, net.pick(twins)), shape)


def _twin(net: _Net) -> None:
    """The same node once more."""
    made = [node for node in net.net.nodes if node.output[0] in net.values and len(node.output) == 1]
    if made:
        node = net.pick(made)
        name = net.net.fresh()
        copy = helper.make_node(node.op_type, list(node.input), [name], name=f"{node.op_type}_{name}")
        copy.attribute.extend(node.attribute)
        net.net.nodes.append(copy)
        net.add(name, net.values[node.output[0]])


def _condition(net: _Net) -> None:
    x, shape = net.some()
    b = net.net
    axis = int(net.random.integers(len(shape)))
    dim = shape[axis]
    read = b.node("Gather", b.node("Shape", x), b.constant(np.int64(axis)))
    number = 3 if dim == "n" else int(dim) + int(net.random.integers(0, 2))
    bodies = {}
    for branch, op_type in (("then_branch", "Neg"), ("else_branch", "Abs")):
        inner = Builder(dtype=net.dtype, prefix="inner_" if net.coin() else f"{branch}{len(b.nodes)}_")
        y = inner.node(op_type, inner.node("Identity", x) if net.coin() else x)
        inner.output(y, shape=shape)
        bodies[branch] = inner.graph(branch)
    net.add(b.node("If", b.node("Equal", read, b.constant(np.int64(number))), **bodies), shape)


_GROWERS: tuple[Callable[[_Net], None], ...] = (
    _transpose, _there_and_back, _there_and_back, _reshape, _reshape, _axes, _axes, _cast, _arithmetic, _unary,
    _hand_on, _hand_on, _join, _twin, _condition,
)  # fmt: skip


def untidy_network(seed: int, nodes: int) -> onnx.ModelProto:
    """A valid network of about `nodes` nodes, the same for the same seed; its outputs are what nobody else reads."""
    net = _Net(seed)
    for _ in range(10 * nodes):
        if len(net.net.nodes) < nodes:
            net.pick(_GROWERS)(net)
    inputs = {value.name for value in net.net.inputs}
    read = {name for node in net.net.nodes for name in node.input}
    read |= {
        name
        for node in net.net.nodes
        for attribute in node.attribute
        for inner in attribute.g.node
        for name in inner.input
    }
    for name, shape in net.values.items():
        if name not in inputs and (name not in read or net.coin(0.1)):
            net.net.output(name, shape=[None if dim == "n" else dim for dim in shape])
    return helper.make_model(net.net.graph(), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
