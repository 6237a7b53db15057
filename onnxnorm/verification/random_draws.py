"""Judges operators that draw random numbers with the same draws on both sides.

In both models each such node is computed from a new input that holds the draws, so that what comes before and behind it
can be compared. Nodes of the result are those of the original if their output has the same name, or else by their
order; they must have the same attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from onnxnorm.errors import OnnxNormError
from onnxnorm.model.domains import STANDARD_DOMAINS, standard_opset
from onnxnorm.runtime.random_samples import Draw, Ways
from onnxnorm.runtime.unoptimized import LEVELS, open_session, refusal_of

__all__ = ["RANDOM", "OtherDrawsError", "SameDraws", "draws_numbers", "with_same_draws"]

_FREE = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"})
RANDOM = _FREE | {"Bernoulli", "Dropout", "Multinomial"}
"""The operators that draw random numbers, Dropout where it trains."""
_TYPES = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(double)": TensorProto.DOUBLE,
    "tensor(float16)": TensorProto.FLOAT16,
}


class OtherDrawsError(OnnxNormError):
    """Raised where the result draws random numbers that the original does not draw."""


@dataclass(frozen=True)
class SameDraws:
    """A pair of models with their draws as inputs, and the samples completed by them."""

    original: onnx.ModelProto
    result: onnx.ModelProto
    candidates: list[Ways]


def with_same_draws(
    original: onnx.ModelProto,
    result: onnx.ModelProto,
    candidates: Sequence[Ways],
    *,
    seed: int,
    options: Any = None,
) -> SameDraws:
    """Give both models their draws as inputs.

    Return them as they are where the original draws nothing in its main graph.

    Raises:
        OtherDrawsError: the result draws what the original does not.
    """
    theirs = _random_nodes(original)
    if not theirs:
        return SameDraws(original, result, list(candidates))
    types = _Probe(original, theirs, options).types()
    if types is None:
        return SameDraws(original, result, list(candidates))
    keys = dict.fromkeys(theirs)
    matched = _matched(theirs, _random_nodes(result))
    one = _replaced(original, {key: key for key in keys}, types)
    two = _replaced(result, matched, types)
    probe = _Probe(original, theirs, options)
    return SameDraws(one, two, [Ways(partial(_completed, ways, probe, seed), ways.optional) for ways in candidates])


def draws_numbers(model: onnx.ModelProto) -> bool:
    """Whether a node of the main graph draws random numbers."""
    return bool(_random_nodes(model))


def _random_nodes(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the nodes of the main graph that draw, by their output."""
    standard = (node for node in model.graph.node if node.domain in STANDARD_DOMAINS)
    return {node.output[0]: node for node in standard if _draws(model, node)}


def _draws(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    if node.op_type != "Dropout":
        return node.op_type in RANDOM
    # Before opset 12 no runtime for inference drops anything.
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = next((t for t in model.graph.initializer if t.name == node.input[2]), None)
    return mode is None or bool(onnx.numpy_helper.to_array(mode).any())


def _matched(theirs: dict[str, onnx.NodeProto], ours: dict[str, onnx.NodeProto]) -> dict[str, str]:
    """Match each random node of the result with one of the original."""
    matched = {name: name for name in ours if name in theirs and theirs[name].op_type == ours[name].op_type}
    for op_type in RANDOM:
        left = [name for name, node in ours.items() if node.op_type == op_type and name not in matched]
        free = [name for name, node in theirs.items() if node.op_type == op_type and name not in matched.values()]
        if left and len(left) != len(free):
            raise OtherDrawsError(
                f"node {ours[left[0]].name or left[0]!r} ({op_type}) of the result draws random numbers that the "
                "original does not draw"
            )
        matched.update(zip(left, free, strict=False))
    for mine, other in matched.items():
        if _settings(ours[mine]) != _settings(theirs[other]):
            raise OtherDrawsError(
                f"node {ours[mine].name or mine!r} ({ours[mine].op_type}) of the result draws other random numbers "
                "than the original: its attributes differ"
            )
    return matched


def _settings(node: onnx.NodeProto) -> dict[str, bytes]:
    return {a.name: a.SerializeToString(deterministic=True) for a in node.attribute if a.name != "seed"}


class _Probe:
    """A probe of what the random nodes of the original draw, or draw from: the shapes and types of the new inputs."""

    def __init__(self, model: onnx.ModelProto, nodes: dict[str, onnx.NodeProto], options: Any) -> None:
        self._nodes = nodes
        self._options = options
        self._seen = {f"{key} (seen)": key for key in nodes}
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        for name, key in self._seen.items():
            node = nodes[key]
            value = key if node.op_type in _FREE else node.input[0]
            shown.graph.node.append(helper.make_node("Identity", [value], [name]))
            shown.graph.output.append(helper.make_empty_tensor_value_info(name))
        self._model = shown
        self._opened: Any = None

    def _session(self) -> Any:
        if self._opened is None:
            error: OnnxNormError | None = None
            for level in LEVELS:
                try:
                    self._opened = open_session(self._model, level, self._options)
                    return self._opened
                except OnnxNormError as each:
                    error = each
            assert error is not None
            raise error
        return self._opened

    def types(self) -> dict[str, int] | None:
        """Return the types of the new inputs, or None where the original does not load or they cannot be fed."""
        try:
            kinds = {value.name: value.type for value in self._session().get_outputs()}
        except OnnxNormError:
            return None
        types = {key: _TYPES.get(kinds[name]) for name, key in self._seen.items()}
        return None if None in types.values() else types  # type: ignore[return-value]

    def draws(self, feeds: dict[str, Any], rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """Draw a value for each new input."""
        opened = self._session()
        known = {value.name for value in opened.get_inputs()}
        try:
            seen = opened.run(list(self._seen), {k: v for k, v in feeds.items() if k in known})
        except Exception as error:
            raise refusal_of(error) from error
        return {
            _input(key): _drawn(self._nodes[key], value, rng)
            for key, value in zip(self._seen.values(), seen, strict=True)
        }


def _completed(ways: Ways, probe: _Probe, seed: int) -> Iterator[Draw]:
    for draw in ways.draws():
        try:
            drawn = probe.draws(draw.feeds, np.random.default_rng([seed, 3]))
            yield Draw({**draw.feeds, **drawn}, draw.is_guess, draw.refused)
        except OnnxNormError as error:
            yield Draw(draw.feeds, draw.is_guess, str(error))


def _drawn(node: onnx.NodeProto, seen: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type.startswith("RandomNormal"):
        values = rng.normal(given.get("mean", 0.0), given.get("scale", 1.0), seen.shape)
    elif node.op_type.startswith("RandomUniform"):
        values = rng.uniform(given.get("low", 0.0), given.get("high", 1.0), seen.shape)
    elif node.op_type == "Multinomial":
        # The largest of logits with Gumbel noise is distributed as their softmax.
        values = rng.gumbel(size=(seen.shape[0], given.get("sample_size", 1), seen.shape[1]))
    else:
        values = rng.random(seen.shape)
    return np.asarray(values, dtype=seen.dtype)


def _input(key: str) -> str:
    return f"{key} (drawn)"


def _replaced(model: onnx.ModelProto, keys: dict[str, str], types: dict[str, int]) -> onnx.ModelProto:
    """Return a copy of the model in which the random nodes are computed from inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    opset = standard_opset(model.opset_import, 1)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        key = keys.get(node.output[0]) if node.output else None
        nodes += [node] if key is None else list(_computed(node, _input(key), types[key], opset))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    copy.graph.input.extend(helper.make_tensor_value_info(_input(key), kind, None) for key, kind in types.items())
    return copy


def _computed(node: onnx.NodeProto, drawn: str, kind: int, opset: int) -> Iterator[onnx.NodeProto]:
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    out = node.output[0]

    def name(what: str) -> str:
        return f"{out} ({what})"

    if node.op_type in _FREE:
        yield helper.make_node("Identity", [drawn], [out])
    elif node.op_type == "Bernoulli":
        yield helper.make_node("Less", [drawn, node.input[0]], [name("hit")])
        yield helper.make_node("Cast", [name("hit")], [out], to=given.get("dtype", kind))
    elif node.op_type == "Multinomial":
        if opset >= 13:
            yield helper.make_node("Constant", [], [name("axis")], value_ints=[1])
            yield helper.make_node("Unsqueeze", [node.input[0], name("axis")], [name("logits")])
        else:
            yield helper.make_node("Unsqueeze", [node.input[0]], [name("logits")], axes=[1])
        yield helper.make_node("Add", [name("logits"), drawn], [name("scores")])
        yield helper.make_node("ArgMax", [name("scores")], [name("choice")], axis=2, keepdims=0)
        yield helper.make_node("Cast", [name("choice")], [out], to=given.get("dtype", TensorProto.INT32))
    else:
        yield from _dropout(node, drawn, kind, name)


def _dropout(node: onnx.NodeProto, drawn: str, kind: int, name: Any) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a Dropout that trains: x / (1 - ratio) where the draw is at least ratio, else 0."""
    x, ratio, trains = node.input[:3]
    one = helper.make_tensor("one", kind, [], [1.0])
    zero = helper.make_tensor("zero", kind, [], [0.0])
    if ratio:
        yield helper.make_node("Cast", [ratio], [name("ratio")], to=kind)
    else:
        half = helper.make_tensor("half", kind, [], [0.5])
        yield helper.make_node("Constant", [], [name("ratio")], value=half)
    yield helper.make_node("Constant", [], [name("one")], value=one)
    yield helper.make_node("Constant", [], [name("zero")], value=zero)
    yield helper.make_node("Less", [drawn, name("ratio")], [name("dropped")])
    yield helper.make_node("And", [name("dropped"), trains], [name("gone")])
    yield helper.make_node("Sub", [name("one"), name("ratio")], [name("share")])
    yield helper.make_node("Div", [x, name("share")], [name("larger")])
    yield helper.make_node("Where", [trains, name("larger"), x], [name("scaled")])
    yield helper.make_node("Where", [name("gone"), name("zero"), name("scaled")], [node.output[0]])
    if len(node.output) > 1 and node.output[1]:
        yield helper.make_node("Not", [name("gone")], [node.output[1]])
