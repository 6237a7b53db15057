"""Random networks in double precision: whatever the affine engine may meet, in every combination.

A network grows node by node from one or two inputs; every operator is applied to a value drawn at random, so values get
several readers and branches join where their shapes allow it. In double precision an exact rewriting and a wrong one
are many orders of magnitude apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["random_network"]

Shape = tuple[int, ...]


class Network:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.shapes: dict[str, Shape] = {}
        self.vectors: dict[int, list[str]] = {}

    def coin(self, probability: float = 0.5) -> bool:
        return bool(self.random.random() < probability)

    def pick(self, options: list) -> object:
        return options[int(self.random.integers(len(options)))]

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
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
        return values

    def node(self, op_type: str, inputs: list[str], shape: Shape, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"{op_type}_{len(self.nodes)}", **attributes))
        self.shapes[name] = shape
        return name

    def value(self, wanted: Callable[[Shape], bool] = lambda shape: True) -> str | None:
        # Late values are drawn more often, so that networks become deep as well as wide.
        names = [name for name, shape in self.shapes.items() if wanted(shape)]
        if not names:
            return None
        return names[-1 - min(int(self.random.exponential(2.5)), len(names) - 1)]


def _convolution(net: Network) -> None:
    x = net.value(lambda shape: 3 <= len(shape) <= 5)
    if x is None:
        return
    batch, channels, *space = net.shapes[x]
    group = int(net.pick([g for g in (1, 1, 2, 3, channels) if channels % g == 0]))
    outputs = group * int(net.random.integers(1, 4))
    kernel = [int(net.pick([1, 2, 3])) for _ in space]
    strides = [int(net.pick([1, 1, 2])) for _ in space]
    dilations = [int(net.pick([1, 1, 2])) for _ in space]
    pads = [int(net.pick([0, 0, 1])) for _ in range(2 * len(space))] if net.coin() else [0] * (2 * len(space))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    padded = [n + pads[i] + pads[i + len(space)] for i, n in enumerate(space)]
    size = [(n - r) // s + 1 for n, r, s in zip(padded, reach, strides, strict=True)]
    if min(size) < 1:
        return
    weight = net.normal(outputs, channels // group, *kernel) / np.sqrt(channels // group * np.prod(kernel))
    inputs = [x, net.constant(weight)]
    if net.coin():
        inputs.append(net.constant(net.normal(outputs)))
    net.node("Conv", inputs, (batch, outputs, *size), group=group, kernel_shape=kernel, strides=strides,
             dilations=dilations, pads=pads)  # fmt: skip


def _transposed_convolution(net: Network) -> None:
    x = net.value(lambda shape: 3 <= len(shape) <= 4 and max(shape[2:]) <= 8)
    if x is None:
        return
    batch, channels, *space = net.shapes[x]
    group = int(net.pick([g for g in (1, 2, channels) if channels % g == 0]))
    outputs = int(net.random.integers(1, 3))
    kernel, stride = [int(net.pick([1, 2, 3])) for _ in space], [int(net.pick([1, 2])) for _ in space]
    size = [(n - 1) * s + k for n, s, k in zip(space, stride, kernel, strict=True)]
    inputs = [x, net.constant(net.normal(channels, outputs, *kernel) / np.sqrt(channels * np.prod(kernel)))]
    if net.coin():
        inputs.append(net.constant(net.normal(outputs * group)))
    net.node("ConvTranspose", inputs, (batch, outputs * group, *size), group=group, strides=stride, kernel_shape=kernel)


def _batch_norm(net: Network) -> None:
    x = net.value(lambda shape: len(shape) >= 2)
    if x is None:
        return
    channels = net.shapes[x][1]
    parameters = [
        net.vector(channels),
        net.normal(channels),
        net.normal(channels),
        net.random.uniform(0.2, 3, channels),
    ]
    if net.coin(0.1):
        parameters[1] = np.zeros(channels)
        parameters[2] = np.zeros(channels)
    net.node("BatchNormalization", [x, *map(net.constant, parameters)], net.shapes[x], epsilon=1e-3)


def _constant_arithmetic(net: Network) -> None:
    x = net.value()
    assert x is not None
    shape = net.shapes[x]
    mask = net.pick(["scalar", "channel", "last", "full", "row", "enlarging"])
    extents = [1] * len(shape)
    if mask == "channel" and len(shape) > 1:
        extents[1] = shape[1]
    elif mask == "last":
        extents[-1] = shape[-1]
    elif mask == "full":
        extents = list(shape)
    elif mask == "row":
        extents[0] = shape[0]
    elif mask == "enlarging" and len(shape) < 5 and net.coin(0.2):
        extents = [2, *extents]
    array = net.vector(int(np.prod(extents))).reshape(extents)
    while array.ndim and array.shape[0] == 1 and net.coin(0.7):
        array = array[0]
    operator = str(net.pick(["Mul", "Add", "Sub", "Div"]))
    if operator == "Div":
        array = np.where(np.abs(array) < 0.1, 0.7, array)
    operands = [x, net.constant(array)]
    if operator != "Div" and net.coin(0.3):
        operands.reverse()
    net.node(operator, operands, tuple(np.broadcast_shapes(shape, array.shape)))


def _activation(net: Network) -> None:
    x = net.value()
    assert x is not None
    shape = net.shapes[x]
    kind = net.pick(["Relu", "Relu", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh", "Identity", "Neg", "Abs"])
    if kind == "PRelu":
        extents = (shape[1],) + (1,) * (len(shape) - 2) if len(shape) > 1 else (1,)
        net.node("PRelu", [x, net.constant(net.normal(*extents))], shape)
    elif kind == "Clip":
        low, high = np.sort(net.normal(2))
        net.node("Clip", [x, net.constant(low), net.constant(high) if net.coin() else ""], shape)
    elif kind == "LeakyRelu":
        net.node("LeakyRelu", [x], shape, alpha=0.2)
    else:
        net.node(str(kind), [x], shape)


def _pool(net: Network) -> None:
    x = net.value(lambda shape: 3 <= len(shape) <= 4 and min(shape[2:]) >= 2)
    if x is None:
        return
    batch, channels, *space = net.shapes[x]
    kind = str(net.pick(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"]))
    if kind.startswith("Global"):
        net.node(kind, [x], (batch, channels, *[1] * len(space)))
        return
    pad = int(net.pick([0, 0, 1]))
    size = [n + 2 * pad - 1 for n in space]
    extra = {"count_include_pad": int(net.pick([0, 1]))} if kind == "AveragePool" else {}
    net.node(kind, [x], (batch, channels, *size), kernel_shape=[2] * len(space), pads=[pad] * (2 * len(space)), **extra)


def _combine(net: Network) -> None:
    x = net.value()
    assert x is not None
    shape = net.shapes[x]

    def broadcasts(other: Shape) -> bool:
        if len(other) > len(shape):
            return False
        return all(o in (1, n) for o, n in zip(reversed(other), reversed(shape), strict=False))

    y = net.value(broadcasts)
    assert y is not None
    kind = str(net.pick(["Add", "Add", "Add", "Sub", "Mul", "Sum"]))
    net.node(kind, [x, y] if net.coin(0.7) else [y, x], shape)


def _join(net: Network) -> None:
    x = net.value(lambda shape: len(shape) >= 2)
    if x is None:
        return
    shape = net.shapes[x]
    axis = 1 if net.coin(0.8) else int(net.random.integers(len(shape)))

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and all(
            a == b for i, (a, b) in enumerate(zip(other, shape, strict=True)) if i != axis
        )

    parts = [x, *[str(net.value(fits)) for _ in range(int(net.random.integers(1, 3)))]]
    total = sum(net.shapes[part][axis] for part in parts)
    if total <= 12:
        net.node("Concat", parts, (*shape[:axis], total, *shape[axis + 1 :]), axis=axis)


def _cut(net: Network) -> None:
    x = net.value(lambda shape: len(shape) >= 2 and max(shape[1:]) >= 2)
    if x is None:
        return
    shape = net.shapes[x]
    axis = int(net.pick([i for i, extent in enumerate(shape) if extent >= 2]))
    first = int(net.random.integers(1, shape[axis]))
    if net.coin():
        bounds = [net.constant(np.array([bound], np.int64)) for bound in (first, shape[axis], axis)]
        net.node("Slice", [x, *bounds], (*shape[:axis], shape[axis] - first, *shape[axis + 1 :]))
        return
    names = [f"v{len(net.nodes)}", f"v{len(net.nodes)}b"]
    sizes = net.constant(np.array([first, shape[axis] - first], np.int64))
    net.nodes.append(helper.make_node("Split", [x, sizes], names, name=f"Split_{len(net.nodes)}", axis=axis))
    for name, extent in zip(names, (first, shape[axis] - first), strict=True):
        net.shapes[name] = (*shape[:axis], extent, *shape[axis + 1 :])


def _layout(net: Network) -> None:
    x = net.value()
    assert x is not None
    shape = net.shapes[x]
    kind = net.pick(["Transpose", "Reshape", "Flatten", "Unsqueeze", "Squeeze", "Pad", "Expand"])
    if kind == "Transpose" and len(shape) >= 2:
        order = [int(axis) for axis in net.random.permutation(len(shape))]
        net.node("Transpose", [x], tuple(shape[axis] for axis in order), perm=order)
    elif kind == "Flatten" and len(shape) >= 2:
        axis = int(net.random.integers(1, len(shape)))
        net.node("Flatten", [x], (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))), axis=axis)
    elif kind == "Reshape" and len(shape) >= 2:
        at = int(net.random.integers(len(shape) - 1))
        target = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
        if net.coin() and len(shape) <= 4:
            divisors = [d for d in range(2, shape[at]) if shape[at] % d == 0]
            if divisors:
                divisor = int(net.pick(divisors))
                target = [*shape[:at], divisor, shape[at] // divisor, *shape[at + 1 :]]
        request = [0 if i < at and net.coin() else extent for i, extent in enumerate(target)]
        if net.coin():
            request[int(net.random.integers(at, len(request)))] = -1
        net.node("Reshape", [x, net.constant(np.array(request, np.int64))], tuple(target))
    elif kind == "Unsqueeze" and len(shape) < 5:
        axis = int(net.random.integers(len(shape) + 1))
        net.node("Unsqueeze", [x, net.constant(np.array([axis], np.int64))], (*shape[:axis], 1, *shape[axis:]))
    elif kind == "Squeeze" and 1 in shape and len(shape) > 2:
        axis = shape.index(1)
        net.node("Squeeze", [x, net.constant(np.array([axis], np.int64))], (*shape[:axis], *shape[axis + 1 :]))
    elif kind == "Pad" and len(shape) >= 3:
        pads = [0] * len(shape) + [0] * (len(shape) - 1) + [1]
        mode = str(net.pick(["constant", "edge"]))
        net.node("Pad", [x, net.constant(np.array(pads, np.int64))], (*shape[:-1], shape[-1] + 1), mode=mode)
    elif kind == "Expand" and 1 in shape:
        target = [3 if extent == 1 and net.coin() else extent for extent in shape]
        if np.prod(target) <= 2000:
            net.node("Expand", [x, net.constant(np.array(target, np.int64))], tuple(target))


def _product(net: Network) -> None:
    x = net.value(lambda shape: len(shape) >= 2)
    if x is None:
        return
    shape = net.shapes[x]
    if len(shape) == 2 and net.coin(0.6):
        transposed, outputs = net.coin(), int(net.random.integers(1, 7))
        weight = net.normal(outputs, shape[1]) if transposed else net.normal(shape[1], outputs)
        inputs = [x, net.constant(weight / np.sqrt(shape[1]))]
        if net.coin(0.8):
            inputs.append(net.constant(net.normal(*net.pick([(outputs,), (1, outputs), (shape[0], 1), (1,), ()]))))
        beta = float(net.pick([1.0, 0.5, 0.0])) if net.coin(0.3) else 1.0
        net.node(
            "Gemm", inputs, (shape[0], outputs), transB=int(transposed), alpha=float(net.pick([1.0, 2.0])), beta=beta
        )
        return
    outputs = int(net.random.integers(1, 7))
    if net.coin(0.7):
        net.node(
            "MatMul", [x, net.constant(net.normal(shape[-1], outputs) / np.sqrt(shape[-1]))], (*shape[:-1], outputs)
        )
    else:
        weight = net.constant(net.normal(outputs, shape[-2]) / np.sqrt(shape[-2]))
        net.node("MatMul", [weight, x], (*shape[:-2], outputs, shape[-1]))


def _reduce(net: Network) -> None:
    x = net.value(lambda shape: len(shape) >= 3)
    if x is None:
        return
    shape = net.shapes[x]
    kind = str(net.pick(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"]))
    axis, keep = int(net.random.integers(1, len(shape))), net.coin()
    after = tuple(1 if i == axis else extent for i, extent in enumerate(shape) if keep or i != axis)
    net.node(kind, [x, net.constant(np.array([axis], np.int64))], after, keepdims=int(keep))


_GROWERS: list[tuple[Callable[[Network], None], float]] = [
    (_convolution, 3.0), (_batch_norm, 4.0), (_constant_arithmetic, 3.0), (_activation, 3.0), (_combine, 2.0),
    (_pool, 1.0), (_join, 1.0), (_cut, 0.7), (_layout, 2.0), (_product, 1.5), (_reduce, 0.5),
    (_transposed_convolution, 0.7),
]  # fmt: skip


def random_network(seed: int, nodes: int) -> onnx.ModelProto:
    """A valid network of about `nodes` nodes, the same for the same seed; its outputs are what nobody else reads."""
    net = Network(seed)
    first = tuple(net.pick([(2, 4, 6, 6), (2, 6, 5), (2, 3, 4, 4, 3), (2, 5, 6), (3, 8), (2, 4, 4, 4)]))
    inputs = {"x": first}
    if net.coin(0.3):
        inputs["y"] = first
    net.shapes.update(inputs)
    growers = [grower for grower, _ in _GROWERS]
    weights = np.array([weight for _, weight in _GROWERS])
    for _ in range(20 * nodes):
        if len(net.nodes) >= nodes:
            break
        growers[int(net.random.choice(len(growers), p=weights / weights.sum()))](net)
    read = {name for node in net.nodes for name in node.input}
    outputs = [name for name in net.shapes if name not in inputs and (name not in read or net.coin(0.03))]
    graph = helper.make_graph(
        net.nodes,
        f"network_{seed}",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, net.shapes[name]) for name in outputs],
        net.constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
