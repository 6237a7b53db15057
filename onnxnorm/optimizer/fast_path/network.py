"""Decides whether a message is a plain network, and reads what it takes to fold its batch normalizations.

Plain is what the passes would leave as it is but for BatchNormalizations behind convolutions:

- one graph of standard operators named here, without constants that the caller could override;
- no node that computes a constant, none that computes an affine by constants, none of whose result nobody reads;
- no division, root or power, without which there is no normalization spelled out in other operators;
- no nodes that cleaning would take away (see `onnxnorm.optimizer.fast_path.cleanable`);
- no linear operators that could merge: a sum or Concat joins values that do not go back to a common one by linear
  operators alone, and none of the others reads what another of them makes. (See `onnxnorm.linear.plan`: what joins
  values of different sources is no linear map of one value, so that no plan reaches beyond it.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.numerics.batch_norm import EPSILON
from onnxnorm.optimizer.fast_path.cleanable import require_nothing_to_clean
from onnxnorm.optimizer.fast_path.message_parts import (
    FLOAT,
    NotPlainError,
    attributes_of,
    has_its_elements,
    has_text,
    is_text,
    is_typed,
    keeps_places,
    number,
    require,
    whole,
)
from onnxnorm.optimizer.fast_path.operators import JOINS, LINEAR, OTHERS, PRODUCTS, STEPS, takes

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

__all__ = ["OPSETS", "Network", "network_of"]

OPSETS = range(7, 27)
# Before version 4 every constant has to be listed among the inputs.
_IR_VERSIONS = range(4, 14)
# BatchNormalization: whether it trains is said by an attribute from here on, by its outputs before.
_TRAINING_MODE = 14
_NORM_ATTRIBUTES = frozenset({"epsilon", "momentum", "spatial", "training_mode"})

# How far back a linear stretch is followed; the passes follow it less far.
_MAX_REACH = 64


@dataclass
class Network:
    """A plain network.

    Attributes:
        message: the model.
        opset: that of its standard operators.
        nodes: of its graph, in order.
        constants: its initializers, by name.
        uses: how many inputs of nodes read each constant.
        norms: for each BatchNormalization its place among the nodes, that of the convolution before it, its epsilon.
        readers: of what each BatchNormalization makes: places of nodes and of their inputs.
        outputs: names of what the graph gives.
    """

    message: ModelProto
    opset: int
    nodes: Sequence[NodeProto]
    constants: dict[str, TensorProto] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    norms: list[tuple[int, int, float]] = field(default_factory=list)
    readers: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset()

    # The place of the node that makes a value; that of the convolution for what a normalization behind it makes.
    _makers: dict[str, int] = field(default_factory=dict)
    _reads: dict[str, int] = field(default_factory=dict)
    _inputs: frozenset[str] = frozenset()

    def maker(self, name: str) -> NodeProto | None:
        """Return the node that makes the value; the convolution for what a normalization behind it makes."""
        place = self._makers.get(name)
        return None if place is None else self.nodes[place]

    def names(self) -> set[str]:
        """Return the names of all values."""
        return {*self._inputs, *self.constants, *self._makers}

    def read(self) -> None:
        """Read all parts of the message.

        Raises:
            NotPlainError: it is no plain network.
        """
        graph = self.message.graph
        require(is_text(self.message, ("graph",)) and is_text(graph, ("node", "initializer")))
        self._inputs = frozenset(value.name for value in graph.input)
        self.outputs = frozenset(value.name for value in graph.output)
        require(len(self._inputs) == len(graph.input) and len(self.outputs) == len(graph.output))
        require(all(map(is_typed, (*graph.input, *graph.output, *graph.value_info))))
        for tensor in graph.initializer:
            require(has_its_elements(tensor))
            require(tensor.name not in self.constants and tensor.name not in self._inputs)
            self.constants[tensor.name] = tensor
        self.uses = dict.fromkeys(self.constants, 0)
        self._reads = dict.fromkeys(self._inputs, 0)
        for place, node in enumerate(self.nodes):
            self._read_node(place, node)
        makers, reads, outputs = self._makers, self._reads, self.outputs
        require(all(name in makers for name in outputs))
        require(all(reads[name] or name in outputs for name in makers))
        for _, convolution, _ in self.norms:
            (value,) = self.nodes[convolution].output
            require(reads[value] == 1 and value not in outputs)

    def _read_node(self, place: int, node: NodeProto) -> None:
        op_type, made = node.op_type, node.output
        require(node.domain in STANDARD_DOMAINS and not node.overload and not node.device_configurations)
        require(len(made) == 1 and type(made[0]) is str and has_text(node))
        require(takes(op_type, node.input, self.opset))
        attributes = attributes_of(node) if node.attribute else {}
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
                require(name == "" and index > 0)
        require(bool(values) and values[0] not in constants)
        if op_type in JOINS or op_type in PRODUCTS:
            require(len(values) == len(node.input) > 1 and not any(name in constants for name in values))
            if op_type in JOINS:
                self._require_apart(values)
        else:
            require(all(name in constants for name in values[1:]))
            if op_type == "BatchNormalization":
                self._read_norm(place, node, values, attributes)
                return
            if op_type in LINEAR:
                self._require_alone(node, attributes)
            else:
                require(op_type in OTHERS)
        self._make(made[0], place)

    def _make(self, name: str, place: int) -> None:
        require(name != "" and name not in self._makers and name not in self.constants and name not in self._inputs)
        self._makers[name] = place
        self._reads[name] = 0

    def _read_norm(
        self, place: int, node: NodeProto, values: Sequence[str], attributes: Mapping[str, AttributeProto]
    ) -> None:
        require(len(values) == 5 and attributes.keys() <= _NORM_ATTRIBUTES)
        require(whole(attributes, "spatial", 1) == 1 and whole(attributes, "training_mode", 0) == 0)
        require("training_mode" not in attributes or self.opset >= _TRAINING_MODE)
        convolution = self._makers.get(values[0])
        require(convolution is not None)
        assert convolution is not None
        maker = self.nodes[convolution]
        # Not behind another normalization, for which the same convolution stands.
        require(maker.op_type in ("Conv", "ConvTranspose") and maker.output[0] == values[0])
        self.norms.append((place, convolution, number(attributes, "epsilon", EPSILON)))
        self.readers[node.output[0]] = []
        self._make(node.output[0], convolution)

    def _require_alone(self, node: NodeProto, attributes: Mapping[str, AttributeProto]) -> None:
        """Require that a linear operator has constants, and reads no result of another linear operator of one value."""
        if node.op_type in ("Conv", "ConvTranspose"):
            require(node.input[1] in self.constants)
            weight = self.constants[node.input[1]]
            group = whole(attributes, "group", 1)
            require(weight.data_type == FLOAT and len(weight.dims) >= 3 and min(weight.dims) > 0)
            require(group >= 1 and weight.dims[0] % group == 0)
        before = self._linear_maker(node)
        require(before is None or (self._linear_maker(before) is None and self._is_narrow(before, node, attributes)))

    def _linear_maker(self, node: NodeProto) -> NodeProto | None:
        """Return the linear operator of one value that makes the first input; None where there is none."""
        maker = self._makers.get(node.input[0])
        return None if maker is None or self.nodes[maker].op_type not in LINEAR else self.nodes[maker]

    def _is_narrow(self, first: NodeProto, second: NodeProto, attributes: Mapping[str, AttributeProto]) -> bool:
        """Whether one convolution in place of these two would multiply more: there are few channels between them.

        The second has to be of size 1, so that the first has as many places as it.
        """
        if first.op_type != "Conv" or second.op_type != "Conv" or not keeps_places(attributes):
            return False
        wide, narrow = (self.constants[node.input[1]].dims for node in (second, first))
        groups = [whole(own, "group", 1) for own in (attributes, attributes_of(first))]
        if groups != [1, 1] or math.prod(wide[2:]) != 1 or wide[1] != narrow[0]:
            return False
        return bool(wide[0] * math.prod(narrow[1:]) > wide[0] * wide[1] + math.prod(narrow))

    def _require_apart(self, values: Sequence[str]) -> None:
        """Require that the values do not go back to a common one by linear operators alone."""
        seen: set[str] = set()
        for name in values:
            reach = self._reach(name)
            require(seen.isdisjoint(reach))
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
            require(len(found) <= _MAX_REACH)
            if maker is not None and self.nodes[maker].op_type in STEPS:
                inputs = self.nodes[maker].input
                pending.extend(inputs if self.nodes[maker].op_type in JOINS else inputs[:1])
        return found


def network_of(message: ModelProto) -> Network | None:
    """Return the network, if it is plain; the message is only read."""
    try:
        require(not (message.functions or message.training_info or message.configuration))
        require(message.ir_version in _IR_VERSIONS)
        graph = message.graph
        require(bool(graph.node) and not (graph.sparse_initializer or graph.quantization_annotation))
        versions = [entry.version for entry in message.opset_import if entry.domain in STANDARD_DOMAINS]
        require(len(versions) == 1 and versions[0] in OPSETS)
        network = Network(message, versions[0], list(graph.node))
        network.read()
        require_nothing_to_clean(network)
    except NotPlainError:
        return None
    return network
