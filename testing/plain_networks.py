"""Random networks that are plain, or nearly so: each may have one thing that makes it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["TRAPS", "Builder", "plain_network"]

_ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Softplus")
_EXTENT = 6


class Builder:
    """A network in the making; values are (1, channels, 6, 6) and known by name and channels."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: list[tuple[str, int]] = [("x", int(self.random.integers(2, 5)))]
        self.outputs: list[str] = []
        self.overridable: list[str] = []
        self.opset, self.ir_version = int(self.random.choice([9, 11, 13, 15, 17, 21])), 8

    def often(self, probability: float = 0.5) -> bool:
        return bool(self.random.random() < probability)

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        name = name or f"w{len(self.constants)}"
        array = np.asarray(array, np.float32)
        if self.often(0.2):
            tensor = helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.ravel().tolist())
        else:
            tensor = numpy_helper.from_array(array, name)
        self.constants.append(tensor)
        return name

    def node(self, op_type: str, inputs: list[str], channels: int, **attributes: object) -> tuple[str, int]:
        number = len(self.nodes)
        name = "" if self.often(0.2) else f"{op_type}{number}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"v{number}"], name=name, **attributes))
        return f"v{number}", channels

    def pick(self) -> tuple[str, int]:
        return self.values[int(self.random.integers(max(0, len(self.values) - 3), len(self.values)))]

    def conv(self, value: tuple[str, int]) -> tuple[str, int]:
        x, channels = value
        made = int(self.random.integers(1, 3)) * channels
        group = channels if self.often(0.3) else 1
        size = int(self.random.choice([1, 3]))
        pads, weights = [size // 2] * 4, self.random.normal(size=(made, channels // group, size, size))
        inputs = [x, self.constant(weights)]
        if self.often(0.4):
            inputs.append(self.constant(self.random.normal(size=made)))
        attributes = {"pads": pads, "group": group} if group > 1 or size > 1 or self.often() else {}
        return self.node("Conv", inputs, made, **attributes)

    def conv_transpose(self, value: tuple[str, int]) -> tuple[str, int]:
        x, channels = value
        group, per_group = (channels if self.often(0.4) else 1), int(self.random.integers(1, 4))
        weight = self.constant(self.random.normal(size=(channels, per_group, 3, 3)))
        return self.node("ConvTranspose", [x, weight], per_group * group, pads=[1] * 4, group=group)

    def norm(self, value: tuple[str, int]) -> tuple[str, int]:
        x, channels = value
        gamma = self.random.uniform(0.5, 2.0, channels) * self.random.choice([-1.0, 1.0], channels)
        beta, mean = self.random.normal(size=(2, channels))
        if self.often(0.1):
            beta, mean = np.zeros((2, channels))
        variance = self.random.uniform(0.5, 2.0, channels)
        inputs = [self.constant(array) for array in (gamma, beta, mean, variance)]
        return self.node("BatchNormalization", [x, *inputs], channels, **({"epsilon": 1e-3} if self.often() else {}))

    def activation(self, value: tuple[str, int]) -> tuple[str, int]:
        op_type = str(self.random.choice(_ACTIVATIONS[: 4 if self.opset < 14 else None]))
        return self.node(op_type, [value[0]], value[1])

    def gated(self, value: tuple[str, int]) -> tuple[str, int]:
        x, channels = value
        weight = self.constant(self.random.normal(size=(channels, channels, 1, 1)))
        pooled, _ = self.node("GlobalAveragePool", [x], channels)
        gate = self.activation(self.node("Conv", [pooled, weight], channels))
        return self.node("Mul", [x, gate[0]], channels)

    def block(self) -> None:
        made = (self.conv_transpose if self.often(0.15) else self.conv)(self.pick())
        if self.often(0.8):
            made = self.norm(made)
        kind = self.random.random()
        if kind < 0.4 and not self.often(0.05):
            # What is joined without anything between would be parallel branches.
            made = self.norm(self.conv(self.activation(made)))
        others = [other for other, channels in self.values if channels == made[1]]
        if kind < 0.25 and others:
            made = self.node("Add", [made[0], str(self.random.choice(others))], made[1])
        elif kind < 0.4:
            other, channels = self.pick()
            made = self.node("Concat", [made[0], other], made[1] + channels, axis=1)
        if not self.often(0.05):
            made = self.activation(made)
        if self.often(0.15):
            made = self.gated(made)
        if self.often(0.1):
            made = self.node("MaxPool", [made[0]], made[1], kernel_shape=[3, 3], pads=[1] * 4)
        if self.often(0.02):
            made = self.node("AveragePool", [made[0]], made[1], kernel_shape=[3, 3], pads=[1] * 4)
        self.values.append(made)

    def model(self) -> onnx.ModelProto:
        read = {name for node in self.nodes for name in node.input}
        made = [name for node in self.nodes for name in node.output if name]
        outputs = [*self.outputs, *(name for name in made if name not in read and name not in self.outputs)]
        channels = self.values[0][1]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, _EXTENT, _EXTENT])]
        listed = {tensor.name for tensor in self.constants} if self.ir_version < 4 else set(self.overridable)
        inputs += [
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in self.constants
            if tensor.name in listed
        ]
        graph = helper.make_graph(
            self.nodes,
            "plain",
            inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=self.ir_version)

    def of_type(self, op_type: str) -> onnx.NodeProto | None:
        found = [node for node in self.nodes if node.op_type == op_type]
        return found[int(self.random.integers(len(found)))] if found else None

    def tensor(self, name: str) -> onnx.TensorProto:
        return next(tensor for tensor in self.constants if tensor.name == name)

    def put(self, name: str, array: np.ndarray) -> None:
        self.tensor(name).CopyFrom(numpy_helper.from_array(np.asarray(array, np.float32), name))

    def array(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.tensor(name))


def _last_norm(net: Builder) -> onnx.NodeProto:
    found = net.of_type("BatchNormalization")
    if found is None:
        net.values.append(net.norm(net.conv(net.pick())))
        found = net.nodes[-1]
    return found


def _convolution_of(net: Builder, norm: onnx.NodeProto) -> onnx.NodeProto:
    return next(node for node in net.nodes if norm.input[0] in node.output)


def _shared_weight(net: Builder) -> None:
    conv = _convolution_of(net, _last_norm(net))
    net.nodes.append(helper.make_node(conv.op_type, list(conv.input), ["again"]))
    net.nodes[-1].attribute.extend(conv.attribute)


def _shared_statistics(net: Builder) -> None:
    norm = _last_norm(net)
    norm.input[4] = norm.input[1]
    net.put(norm.input[1], np.abs(net.array(norm.input[1])))


def _read_twice(net: Builder) -> None:
    net.nodes.append(helper.make_node("Tanh", [_last_norm(net).input[0]], ["beside"]))


def _read_outside(net: Builder) -> None:
    net.outputs.append(_last_norm(net).input[0])


def _norm_outside(net: Builder) -> None:
    net.outputs.append(_last_norm(net).output[0])


def _lone_sum(net: Builder) -> None:
    x, channels = net.values[-1]
    net.values.append(net.activation(net.node("Sum", [x], channels)))


def _taken_name(net: Builder) -> None:
    """The name that a new bias would get is taken."""
    norm = _last_norm(net)
    convolution = _convolution_of(net, norm)
    net.constant(np.ones(3), f"{convolution.name}_bias")
    net.nodes.append(helper.make_node("PRelu", [net.values[0][0], net.constants[-1].name], ["beside"]))
    net.put(net.constants[-1].name, np.ones((1, 1, 1)))


def _training(net: Builder) -> None:
    net.opset = max(net.opset, 15)
    _last_norm(net).attribute.append(helper.make_attribute("training_mode", 1))


def _overridable(net: Builder) -> None:
    net.overridable.append(_last_norm(net).input[2])


def _old_file(net: Builder) -> None:
    net.ir_version = 3


def _with_scale(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Builder], None]:
    def spring(net: Builder) -> None:
        name = _last_norm(net).input[1]
        net.put(name, change(np.array(net.array(name))))

    return spring


def _zero(array: np.ndarray) -> np.ndarray:
    array[0] = 0.0
    return array


def _no_norm(net: Builder) -> None:
    norm = _last_norm(net)
    for index, value in ((1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)):
        net.put(norm.input[index], np.full(net.array(norm.input[index]).shape, value))
    del norm.attribute[:]
    norm.attribute.append(helper.make_attribute("epsilon", 0.0))


def _broken_weight(net: Builder) -> None:
    name = _convolution_of(net, _last_norm(net)).input[1]
    weight = np.array(net.array(name))
    weight.flat[0] = np.nan
    net.put(name, weight)


def _node_behind(op_type: str, *constants: float) -> Callable[[Builder], None]:
    def spring(net: Builder) -> None:
        x, channels = net.values[-1]
        inputs = [x, *(net.constant(np.float32(constant)) for constant in constants)]
        net.values.append(net.node(op_type, inputs, channels))
        net.values.append(net.activation(net.values[-1]))

    return spring


def _constant_node(net: Builder) -> None:
    x, channels = net.values[-1]
    three, _ = net.node("Constant", [], 1, value=numpy_helper.from_array(np.float32(3.0)))
    net.values.append(net.node("Add", [x, three], channels))


def _dead_node(net: Builder) -> None:
    net.nodes.append(helper.make_node("Relu", [net.values[-1][0]], [""]))


def _dead_constant(net: Builder) -> None:
    net.constant(np.ones(3), "unread")


def _two_norms(net: Builder) -> None:
    value = net.norm(net.norm(net.conv(net.pick())))
    net.values.append(net.activation(value))


def _norm_of_sum(net: Builder) -> None:
    x, channels = net.values[-1]
    y, _ = net.activation((x, channels))
    net.values.append(net.activation(net.norm(net.node("Add", [x, y], channels))))


def _spelled_out(net: Builder) -> None:
    x, channels = net.values[-1]
    square, _ = net.node("Mul", [x, x], channels)
    mean, _ = net.node("GlobalAveragePool", [square], channels)
    net.opset = min(net.opset, 17)
    root, _ = net.node("Sqrt", [net.node("Add", [mean, net.constant(np.float32(1e-5))], channels)[0]], channels)
    net.values.append(net.node("Div", [x, root], channels))


def _response_norm(net: Builder) -> None:
    x, channels = net.values[-1]
    net.values.append(net.node("LRN", [x], channels, size=3))


def _branches(net: Builder) -> None:
    x = net.pick()
    weights = [net.constant(net.random.normal(size=(x[1], x[1], 1, 1))) for _ in range(2)]
    first, second = (net.norm(net.node("Conv", [x[0], weight], x[1])) for weight in weights)
    net.values.append(net.activation(net.node("Add", [first[0], second[0]], x[1])))


def _branches_side_by_side(net: Builder) -> None:
    x = net.pick()
    made = [net.node("Conv", [x[0], net.constant(net.random.normal(size=(2, x[1], 1, 1)))], 2) for _ in range(2)]
    net.values.append(net.activation(net.node("Concat", [value for value, _ in made], 4, axis=1)))


def _narrow_row(net: Builder) -> None:
    """Two convolutions with few channels between them, which are not worth merging."""
    x, channels = net.pick()
    down = net.node("Conv", [x, net.constant(net.random.normal(size=(1, channels, 1, 1)))], 1)
    up = net.node("Conv", [net.norm(down)[0], net.constant(net.random.normal(size=(9, 1, 1, 1)))], 9)
    net.values.append(net.activation(net.norm(up)))


def _twins(net: Builder) -> None:
    x, channels = net.pick()
    net.values += [net.node("Tanh", [x], channels), net.node("Tanh", [x], channels)]


def _same_weights(net: Builder) -> None:
    """Two large weights that are the same, in different places."""
    weight = net.random.normal(size=(64, net.values[-1][1], 3, 3))
    for index in range(2):
        x, channels = net.activation(net.values[-1])
        made = net.node("Conv", [x, net.constant(weight[:, :channels])], 64, pads=[1] * 4)
        net.values.append(net.activation(made) if index else net.values[-1])
        net.outputs.append(made[0])


def _same_shape(net: Builder) -> None:
    x, channels = net.values[-1]
    request = numpy_helper.from_array(np.array([1, channels, _EXTENT, _EXTENT]), f"request{len(net.constants)}")
    net.constants.append(request)
    net.values.append(net.activation(net.node("Reshape", [x, request.name], channels)))


def _two_clips(net: Builder) -> None:
    x, channels = net.values[-1]
    net.opset = max(net.opset, 11)
    for low, high in ((0.0, 6.0), (1.0, 4.0)):
        x, _ = net.node("Clip", [x, net.constant(np.float32(low)), net.constant(np.float32(high))], channels)
    net.values.append(net.activation((x, channels)))


TRAPS: Mapping[str, Callable[[Builder], None]] = MappingProxyType({
    "a weight that others read": _shared_weight,
    "statistics that serve twice": _shared_statistics,
    "a convolution that others read": _read_twice,
    "a convolution that is an output": _read_outside,
    "a norm that is an output": _norm_outside,
    "a sum of one value": _lone_sum,
    "a name that is taken": _taken_name,
    "training": _training,
    "an overridable constant": _overridable,
    "constants among the inputs of an old file": _old_file,
    "a scale of zero": _with_scale(_zero),
    "a scale beyond single precision": _with_scale(lambda array: array * np.float32(1e38)),
    "a large scale": _with_scale(lambda array: array * np.float32(1e12)),
    "a small scale": _with_scale(lambda array: array * np.float32(1e-12)),
    "a scale that is no number": _with_scale(lambda array: array * np.float32("nan")),
    "a norm that does nothing": _no_norm,
    "a weight that is no number": _broken_weight,
    "a sum with a constant": _node_behind("Add", 0.5),
    "a product with a constant": _node_behind("Mul", 0.5),
    "an identity": _node_behind("Identity"),
    "a power": _node_behind("Pow", 2.0),
    "a constant node": _constant_node,
    "a node that nobody reads": _dead_node,
    "a constant that nobody reads": _dead_constant,
    "two norms in a row": _two_norms,
    "a norm of a sum": _norm_of_sum,
    "a norm in other operators": _spelled_out,
    "a response norm": _response_norm,
    "branches": _branches,
    "branches side by side": _branches_side_by_side,
    "a narrow row": _narrow_row,
    "two nodes that compute the same": _twins,
    "two weights that are the same": _same_weights,
    "a shape that stays": _same_shape,
    "two clips in a row": _two_clips,
})  # fmt: skip


def plain_network(seed: int, trap: str | None = None) -> onnx.ModelProto:
    """One network for each seed, with the trap in it where one is named."""
    net = Builder(seed)
    blocks = int(net.random.integers(1, 6))
    place = int(net.random.integers(blocks + 1))
    for index in range(blocks + 1):
        if trap is not None and index == place:
            TRAPS[trap](net)
        if index < blocks:
            net.block()
    return net.model()
