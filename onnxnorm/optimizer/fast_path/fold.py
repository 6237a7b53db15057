"""Folds the batch normalizations of a plain network into its convolutions.

Before: x -> Conv or ConvTranspose (W, B) -> BatchNormalization (y = s x + t). After: W' = s W, B' = s B + t, computed
in float64 and rounded once. Algebra and conditions are those of `onnxnorm.affine.rules.convolution`; where a number is
not finite, too small or too large, nothing is done here at all.

NumPy takes longer to begin than to work through a few channels, so what is alike is put together and computed at once:
normalizations of one width, weights that differ in their number of rows alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from onnxnorm.journal import Rewrite
from onnxnorm.journal.words import naming_node, say
from onnxnorm.model.names import fresh_name, name_nodes
from onnxnorm.numerics.arrays import all_of, finite
from onnxnorm.numerics.batch_norm import affine_of_batch_norm
from onnxnorm.numerics.rounding import smallest_normal
from onnxnorm.numerics.scaled_weights import scaled
from onnxnorm.optimizer.fast_path.cleanable import require_apart
from onnxnorm.optimizer.fast_path.ir_version import ir_version_of
from onnxnorm.optimizer.fast_path.message_parts import FLOAT, NotPlainError, require
from onnxnorm.optimizer.fast_path.network import Network
from onnxnorm.process.gc_pause import collector_paused

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["Folding", "fold_all"]

_UNIT = 2.0**-23
# What is farther from one is left to the passes, which look at more than one pair.
_LARGEST = 2.0**32
# Elements that are computed at once.
_AT_ONCE = 2**20

_Wide = npt.NDArray[np.float64]
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(slots=True)
class _Pair:
    """A convolution and the normalization behind it.

    Attributes:
        norm: the place of the normalization among the nodes.
        convolution: that of the convolution.
        channels: how many it makes.
        epsilon: that of the normalization.
        group: of a ConvTranspose; 0 for a Conv, where it does not matter.
        shape: of a weight, without the rows of a Conv, of which each is one channel.
        scale: of each channel.
        weight: the bytes of the new weight.
        bias: those of the new bias; nothing where there is none.
    """

    norm: int
    convolution: int
    channels: int
    epsilon: float
    group: int
    shape: tuple[int, ...]
    scale: _Wide = field(init=False)
    weight: bytes = b""
    bias: bytes = b""


@dataclass(frozen=True)
class Folding:
    """The work that there is to do in a network, down to the numbers."""

    network: Network
    pairs: tuple[_Pair, ...]

    @collector_paused
    def carry_out(self) -> tuple[ModelProto, tuple[Rewrite, ...]]:
        """Do the work on a new model, without what nobody reads any more, and return it with an account.

        It works only once.
        """
        network, message = self.network, self.network.message
        graph, uses, names = message.graph, dict(network.uses), network.names()
        mould = type(graph)()
        mould.node.extend(graph.node)
        nodes = list(mould.node)
        name_nodes([nodes])
        weights: dict[str, bytes] = {}
        new_biases: list[tuple[str, int]] = []
        rewrites = []
        for pair in self.pairs:
            norm, convolution = nodes[pair.norm], nodes[pair.convolution]
            weights[convolution.input[1]] = pair.weight
            if pair.bias:
                if len(convolution.input) < 3 or not convolution.input[2]:
                    name = fresh_name(f"{convolution.name}_bias", names)
                    new_biases.append((name, pair.channels))
                    del convolution.input[2:]
                    convolution.input.append(name)
                weights[convolution.input[2]] = pair.bias
            # Each is there once more from now on, in the new model.
            pair.weight = pair.bias = b""
            old, new = convolution.output[0], norm.output[0]
            for name in norm.input[1:]:
                uses[name] -= 1
            if new in network.outputs:
                convolution.output[0] = old = new
            for place, index in network.readers[new]:
                nodes[place].input[index] = old
            detail = say("absorbed into {}", naming_node(convolution))
            rewrites.append(Rewrite("fold_affines", norm.name, norm.op_type, detail, into=(convolution.name,)))
        gone = {pair.norm for pair in self.pairs}
        kept = [node for place, node in enumerate(nodes) if place not in gone]
        result = type(message)()
        _copy_all_but(("graph",), message, result)
        result.ir_version = ir_version_of(network)
        _fill(result.graph, graph, kept, uses, weights)
        for name, channels in new_biases:
            result.graph.initializer.add(name=name, data_type=FLOAT, dims=[channels], raw_data=weights.pop(name))
        return result, tuple(rewrites)


def _fill(
    graph: GraphProto, old: GraphProto, nodes: list[NodeProto], uses: Mapping[str, int], weights: dict[str, bytes]
) -> None:
    """Fill the graph with these nodes, the constants that are read, and the other statements of the old graph.

    Stated shapes of inner values may be out of date, which runtimes forgive a Conv with a BatchNormalization and not
    without. They find the shapes for themselves.
    """
    _copy_all_but(("node", "initializer", "value_info"), old, graph)
    graph.node.extend(nodes)
    for tensor in old.initializer:
        if uses[tensor.name] > 0:
            _add_constant(graph, tensor, weights.pop(tensor.name, None))


def _add_constant(graph: GraphProto, tensor: TensorProto, data: bytes | None) -> None:
    """Add the constant, with other elements if there are such."""
    new = graph.initializer.add()
    if data is None:
        new.CopyFrom(tensor)
    else:
        _copy_all_but(("float_data", "raw_data"), tensor, new)
        new.raw_data = data


def _copy_all_but(left_out: Sequence[str], source: Any, target: Any) -> None:
    """Copy fields of one message to another of its type. A part that is not copied is never there twice."""
    for descriptor, value in source.ListFields():
        name = descriptor.name
        if name in left_out:
            continue
        if hasattr(value, "extend"):
            getattr(target, name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(target, name).CopyFrom(value)
        else:
            setattr(target, name, value)


def fold_all(network: Network) -> Folding | None:
    """Return what to do, or None where one of the normalizations does not fold by the rules here.

    Nothing is changed.
    """
    try:
        pairs = [_pair(network, *places) for places in network.norms]
        with np.errstate(all="ignore"):
            for (channels, epsilon), alike in _grouped(pairs, lambda pair: (pair.channels, pair.epsilon)):
                _read_affines(network, alike, channels, epsilon)
            for (group, shape), alike in _grouped(pairs, lambda pair: (pair.group, pair.shape)):
                for part in _in_parts(alike):
                    _scale_weights(network, part, group, shape)
        _require_apart(network, pairs)
    except NotPlainError:
        return None
    return Folding(network, tuple(pairs))


def _require_apart(network: Network, pairs: Iterable[_Pair]) -> None:
    new: dict[str, bytes] = {}
    more, gone = [], Counter[str]()
    for pair in pairs:
        _, weight, *bias = network.nodes[pair.convolution].input
        gone.update(network.nodes[pair.norm].input[1:])
        new[weight] = pair.weight
        if bias and bias[0]:
            new[bias[0]] = pair.bias
        elif pair.bias:
            more.append(pair.bias)
    require_apart(network, new, more, gone)


def _grouped(pairs: Iterable[_Pair], key: Callable[[_Pair], _Key]) -> Iterable[tuple[_Key, list[_Pair]]]:
    groups: dict[_Key, list[_Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return groups.items()


def _in_parts(pairs: Sequence[_Pair]) -> Iterable[list[_Pair]]:
    """Yield some pairs at a time, so that what is computed of them is small beside the whole."""
    part: list[_Pair] = []
    size = 0
    for pair in pairs:
        part.append(pair)
        size += pair.channels * math.prod(pair.shape)
        if size >= _AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _pair(network: Network, norm_place: int, place: int, epsilon: float) -> _Pair:
    norm, node, constants = network.nodes[norm_place], network.nodes[place], network.constants
    own = [name for name in node.input[1:] if name]
    # Others that read the weight would get it changed.
    require(all(network.uses[name] == 1 for name in own))
    shape, group, channels = tuple(constants[own[0]].dims), 0, 0
    if node.op_type == "ConvTranspose":
        # Its weight has the shape (C, M/group, ...), that of a Conv (M, C/group, ...).
        group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        channels = shape[1] * group
    else:
        channels, *rest = shape
        shape = tuple(rest)
    for name in (*own[1:], *norm.input[1:]):
        require(constants[name].data_type == FLOAT and list(constants[name].dims) == [channels])
    return _Pair(norm_place, place, channels, epsilon, group, shape)


def _read_affines(network: Network, pairs: Sequence[_Pair], channels: int, epsilon: float) -> None:
    """Compute the scale of each normalization, and the new bias of its convolution."""
    nodes, shape = network.nodes, (len(pairs), channels)
    parameters = [
        _joined(network, (nodes[pair.norm].input[index] for pair in pairs)).reshape(shape).astype(np.float64)
        for index in range(1, 5)
    ]
    scale, shift, _ = affine_of_batch_norm(*parameters, epsilon=epsilon, unit=_UNIT)
    size = np.abs(scale)
    require(finite(shift) and all_of((size < _LARGEST) & (size > 1.0 / _LARGEST)))
    # The identity, and what is so nearly, is no business of the convolution.
    require(bool((np.abs(scale - 1.0) > _UNIT).any(axis=1).all()))
    own = [nodes[pair.convolution].input[2:] for pair in pairs]
    has_bias = np.array([bool(name and name[0]) for name in own])
    old = np.zeros(shape)
    old[has_bias] = _joined(network, (name[0] for name in own if name and name[0])).reshape(-1, channels)
    bias = (old * scale + shift).astype("<f4")
    require(finite(bias))
    is_needed = has_bias | shift.any(axis=1)
    for index, pair in enumerate(pairs):
        pair.scale = scale[index]
        if is_needed[index]:
            pair.bias = bias[index].tobytes()


def _scale_weights(network: Network, pairs: Sequence[_Pair], group: int, shape: tuple[int, ...]) -> None:
    """Compute the new weights, put together along their rows, or along an axis of their own if they are transposed."""
    old = _joined(network, (network.nodes[pair.convolution].input[1] for pair in pairs)).reshape(-1, *shape)
    if group:
        rows = [np.repeat(pair.scale.reshape(group, -1), shape[0] // group, axis=0) for pair in pairs]
        factors = np.stack(rows).reshape(len(pairs), *shape[:2], *(1,) * (len(shape) - 2))
    else:
        factors = np.concatenate([pair.scale for pair in pairs]).reshape(-1, *(1,) * len(shape))
    product = scaled(old, factors, "<f4", 0, smallest_normal("<f4"))
    require(product.finite and not (product.underflows or product.vast))
    assert product.array is not None
    start = 0
    for pair in pairs:
        end = start + (1 if group else pair.channels)
        pair.weight = product.array[start:end].tobytes()
        start = end


def _joined(network: Network, names: Iterable[str]) -> npt.NDArray[np.float32]:
    """Join the elements of constants in single precision, one constant after another."""
    constants = network.constants
    return np.frombuffer(b"".join([_bytes(constants[name]) for name in names]), "<f4")


def _bytes(tensor: TensorProto) -> bytes:
    data: bytes = tensor.raw_data
    return data or np.array(tensor.float_data, "<f4").tobytes()
