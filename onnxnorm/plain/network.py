"""Whether a message is a plain network, and what has to be known of it to fold its batch normalizations.

Plain is what the passes would leave as it is but for BatchNormalizations behind convolutions:

- one graph of standard operators named here, without constants that the caller could override;
- no node that computes a constant, none that computes an affine by constants, none of whose result nobody reads;
- no division, root or power, without which there is no normalization spelled out in other operators;
- no linear operators that could merge: a sum or Concat joins values that do not go back to a common one by linear
  operators alone, and none of the others reads what another of them makes. (See `onnxnorm.linear.plan`: what joins
  values of different sources is no linear map of one value, so that no plan reaches beyond it.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["FLOAT", "JOINS", "LINEAR", "OTHERS", "STEPS", "Network", "network_of"]

FLOAT = 1
"""TensorProto.DataType.FLOAT. Numbers stand here so that the package onnx, which is large, is not needed."""
# Bytes of an element: the types of weights, indices and shapes.
_SIZES = {FLOAT: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
_INT64 = 7
# AttributeProto.AttributeType: FLOAT, INT, STRING, FLOATS, INTS.
_A_FLOAT, _A_INT, _A_STRING = 1, 2, 3
_ATTRIBUTES = {_A_FLOAT: "f", _A_INT: "i", _A_STRING: "s", 6: "floats", 7: "ints"}

_OPSETS = range(7, 27)
# Before version 4 every constant has to be listed among the inputs.
_IR_VERSIONS = range(4, 14)
# BatchNormalization: whether it trains is said by an attribute from here on, by its outputs before.
_TRAINING_MODE = 14
_NORM_ATTRIBUTES = frozenset({"epsilon", "momentum", "spatial", "training_mode"})

LINEAR = frozenset({"AveragePool", "Conv", "ConvTranspose", "Gemm"})
"""Linear in their first input; the others are constant."""
JOINS = frozenset({"Add", "Concat", "Sub", "Sum"})
"""Linear in several values, none of them constant."""
STEPS = LINEAR | JOINS
PRODUCTS = frozenset({"Max", "Min", "Mul"})
"""Of several values, none of them constant."""
OTHERS = frozenset({
    "Celu", "Clip", "Elu", "Flatten", "Gelu", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish",
    "LeakyRelu", "LogSoftmax", "MaxPool", "Mish", "PRelu", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Resize",
    "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Squeeze", "Tanh", "ThresholdedRelu", "Unsqueeze",
})  # fmt: skip
"""Their first input is no constant, all others are, and they are not linear or nothing that merges with others."""

# New weights are beside the old ones for a moment.
_MOST_WEIGHTS = 2**25
# How far back a linear stretch is followed; the passes follow it less far.
_MAX_REACH = 64


class _NotPlainError(Exception):
    pass


@dataclass
class Network:
    """A plain network.

    Attributes:
        message: the model.
        nodes: of its graph, in order.
        constants: its initializers, by name.
        uses: how many inputs of nodes read each constant.
        norms: for each BatchNormalization its place among the nodes and that of the convolution before it.
        readers: of what each BatchNormalization makes: places of nodes and of their inputs.
        names: of all values.
    """

    message: ModelProto
    opset: int
    nodes: Sequence[NodeProto]
    constants: dict[str, TensorProto] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    norms: list[tuple[int, int]] = field(default_factory=list)
    readers: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset()

    # The place of the node that makes a value; that of the convolution for what a normalization behind it makes.
    _makers: dict[str, int] = field(default_factory=dict)
    _reads: dict[str, int] = field(default_factory=dict)
    _inputs: frozenset[str] = frozenset()

    def names(self) -> set[str]:
        """Of all values."""
        return {*self._inputs, *self.constants, *self._makers}

    def read(self) -> None:
        """Look at everything.

        Raises:
            _NotPlainError: it is none.
        """
        graph = self.message.graph
        self._inputs = frozenset(value.name for value in graph.input)
        self.outputs = frozenset(value.name for value in graph.output)
        _require(len(self._inputs) == len(graph.input) and len(self.outputs) == len(graph.output))
        _require(all(map(_is_typed, (*graph.input, *graph.output, *graph.value_info))))
        weights = 0
        for tensor in graph.initializer:
            size = _sound_size(tensor)
            _require(size is not None and tensor.name not in self.constants and tensor.name not in self._inputs)
            self.constants[tensor.name] = tensor
            weights += size or 0
        _require(weights <= _MOST_WEIGHTS)
        self.uses = dict.fromkeys(self.constants, 0)
        self._reads = dict.fromkeys(self._inputs, 0)
        for place, node in enumerate(self.nodes):
            self._read_node(place, node)
        makers, reads, outputs = self._makers, self._reads, self.outputs
        _require(all(name in makers for name in outputs))
        _require(all(reads[name] or name in outputs for name in makers))
        for _, convolution in self.norms:
            (value,) = self.nodes[convolution].output
            _require(reads[value] == 1 and value not in outputs)

    def _read_node(self, place: int, node: NodeProto) -> None:
        op_type, made = node.op_type, node.output
        _require(node.domain in ("", "ai.onnx") and not node.overload and not node.device_configurations)
        _require(len(made) == 1 and type(made[0]) is str and type(node.name) is str)
        attributes = _attributes_of(node) if node.attribute else {}
        constants, reads = self.constants, self._reads
        values = []
        for index, name in enumerate(node.input):
            if name in constants:
                self.uses[name] += 1
                values.append(name)
            elif name in reads:
                reads[name] += 1
                values.append(name)
                if name in self.readers:
                    self.readers[name].append((place, index))
            else:
                _require(name == "" and index > 0)
        _require(bool(values) and values[0] not in constants)
        if op_type in JOINS or op_type in PRODUCTS:
            _require(len(values) == len(node.input) > 1 and not any(name in constants for name in values))
            if op_type in JOINS:
                self._require_apart(values)
        else:
            _require(all(name in constants for name in values[1:]))
            if op_type == "BatchNormalization":
                self._read_norm(place, node, values, attributes)
                return
            if op_type in LINEAR:
                self._require_alone(node, attributes)
            else:
                _require(op_type in OTHERS)
        self._make(made[0], place)

    def _make(self, name: str, place: int) -> None:
        _require(name != "" and name not in self._makers and name not in self.constants and name not in self._inputs)
        self._makers[name] = place
        self._reads[name] = 0

    def _read_norm(
        self, place: int, node: NodeProto, values: Sequence[str], attributes: Mapping[str, AttributeProto]
    ) -> None:
        _require(len(node.input) == len(values) == 5 and attributes.keys() <= _NORM_ATTRIBUTES)
        _require(_whole(attributes, "spatial", 1) == 1 and _whole(attributes, "training_mode", 0) == 0)
        _require("training_mode" not in attributes or self.opset >= _TRAINING_MODE)
        _require("epsilon" not in attributes or attributes["epsilon"].type == _A_FLOAT)
        convolution = self._makers.get(values[0])
        _require(convolution is not None)
        assert convolution is not None
        maker = self.nodes[convolution]
        # Not behind another normalization, for which the same convolution stands.
        _require(maker.op_type in ("Conv", "ConvTranspose") and maker.output[0] == values[0])
        self.norms.append((place, convolution))
        self.readers[node.output[0]] = []
        self._make(node.output[0], convolution)

    def _require_alone(self, node: NodeProto, attributes: Mapping[str, AttributeProto]) -> None:
        """That a linear operator has constants, and reads what is not made by another linear operator of one value."""
        if node.op_type in ("Conv", "ConvTranspose"):
            _require(2 <= len(node.input) <= 3 and node.input[1] in self.constants)
            weight = self.constants[node.input[1]]
            group = _whole(attributes, "group", 1)
            _require(weight.data_type == FLOAT and len(weight.dims) >= 3 and min(weight.dims) > 0)
            _require(group >= 1 and weight.dims[0] % group == 0)
        before = self._linear_maker(node)
        _require(before is None or (self._linear_maker(before) is None and self._is_narrow(before, node, attributes)))

    def _linear_maker(self, node: NodeProto) -> NodeProto | None:
        """The linear operator of one value that makes the first input."""
        maker = self._makers.get(node.input[0])
        return None if maker is None or self.nodes[maker].op_type not in LINEAR else self.nodes[maker]

    def _is_narrow(self, first: NodeProto, second: NodeProto, attributes: Mapping[str, AttributeProto]) -> bool:
        """Whether one convolution in place of these two would multiply more: there are few channels between them.

        The second has to be of size 1, so that the first has as many places as it.
        """
        if first.op_type != "Conv" or second.op_type != "Conv" or not _keeps_places(attributes):
            return False
        wide, narrow = (self.constants[node.input[1]].dims for node in (second, first))
        groups = [_whole(own, "group", 1) for own in (attributes, _attributes_of(first))]
        if groups != [1, 1] or math.prod(wide[2:]) != 1 or wide[1] != narrow[0]:
            return False
        return bool(wide[0] * math.prod(narrow[1:]) > wide[0] * wide[1] + math.prod(narrow))

    def _require_apart(self, values: Sequence[str]) -> None:
        """That the values do not go back to a common one by linear operators alone."""
        seen: set[str] = set()
        for name in values:
            reach = self._reach(name)
            _require(seen.isdisjoint(reach))
            seen |= reach

    def _reach(self, name: str) -> set[str]:
        found: set[str] = set()
        pending = [name]
        while pending:
            name = pending.pop()
            maker = self._makers.get(name)
            # What a normalization makes is what its convolution will make.
            name = name if maker is None else self.nodes[maker].output[0]
            if name in found:
                continue
            found.add(name)
            _require(len(found) <= _MAX_REACH)
            if maker is not None and self.nodes[maker].op_type in STEPS:
                inputs = self.nodes[maker].input
                pending.extend(inputs if self.nodes[maker].op_type in JOINS else inputs[:1])
        return found


def network_of(message: ModelProto) -> Network | None:
    """The network, if it is plain; the message is only read."""
    try:
        _require(not (message.functions or message.training_info or message.configuration))
        _require(message.ir_version in _IR_VERSIONS)
        graph = message.graph
        _require(bool(graph.node) and not (graph.sparse_initializer or graph.quantization_annotation))
        versions = [entry.version for entry in message.opset_import if entry.domain in ("", "ai.onnx")]
        _require(len(versions) == 1 and versions[0] in _OPSETS)
        network = Network(message, versions[0], list(graph.node))
        network.read()
    except _NotPlainError:
        return None
    return network


def _require(condition: bool) -> None:
    if not condition:
        raise _NotPlainError


def _sound_size(tensor: TensorProto) -> int | None:
    """How many bytes it has, if they are in it, in one way, and as many as they should be."""
    itemsize, dims = _SIZES.get(tensor.data_type), tensor.dims
    if itemsize is None or tensor.data_location or not tensor.name or type(tensor.name) is not str:
        return None
    if (dims and min(dims) < 0) or tensor.HasField("segment"):
        return None
    own = tensor.int64_data if tensor.data_type == _INT64 else tensor.float_data
    others = (tensor.int64_data, tensor.float_data, tensor.int32_data, tensor.double_data, tensor.uint64_data)
    if any(other for other in others if other is not own) or tensor.string_data:
        return None
    size = itemsize * math.prod(dims)
    if tensor.HasField("raw_data"):
        return size if len(tensor.raw_data) == size and not own else None
    return size if itemsize * len(own) == size else None


def _is_typed(value: ValueInfoProto) -> bool:
    """Whether it is said to be a tensor, of a type that weights may have, with something in it."""
    kind = value.type
    if kind.WhichOneof("value") != "tensor_type" or kind.tensor_type.elem_type not in _SIZES:
        return False
    dims = kind.tensor_type.shape.dim
    return type(value.name) is str and all(dim.dim_value > 0 for dim in dims if dim.HasField("dim_value"))


def _attributes_of(node: NodeProto) -> dict[str, AttributeProto]:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    _require(len(attributes) == len(node.attribute))
    for name, attribute in attributes.items():
        _require(type(name) is str and name != "" and attribute.type in _ATTRIBUTES)
        own = _ATTRIBUTES[attribute.type]
        present = {field.name for field, _ in attribute.ListFields()}
        _require(present <= {"name", "type", "doc_string", own} and (own in present or own in ("floats", "ints")))
        _require(attribute.type != _A_STRING or attribute.s.isascii())
    return attributes


def _keeps_places(attributes: Mapping[str, AttributeProto]) -> bool:
    """Whether a window of size 1 is put on every place once."""
    if "auto_pad" in attributes and attributes["auto_pad"].s != b"NOTSET":
        return False
    wanted = {"pads": 0, "strides": 1}
    return all({*attributes[name].ints} <= {value} for name, value in wanted.items() if name in attributes)


def _whole(attributes: Mapping[str, AttributeProto], name: str, default: int) -> int:
    """The attribute, which is an integer."""
    attribute = attributes.get(name)
    if attribute is None:
        return default
    _require(attribute.type == _A_INT)
    return attribute.i
