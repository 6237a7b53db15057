"""Finds inputs that decide something: constants that a model compares them with, values that masks seldom have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx.inliner

from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.held import size_of
from onnxnorm.model.protobuf import graphs_of_node
from onnxnorm.runtime.inputs import InputSpec
from onnxnorm.runtime.random_samples import Draw, Ways, random_samples

__all__ = ["Decisive", "deciding_samples", "decisive_values"]

_MOVES = frozenset({
    "Abs", "And", "Cast", "CastLike", "Clip", "Concat", "Expand", "Flatten", "Floor", "Identity", "Max", "Min", "Mod",
    "Not", "Or", "ReduceMax", "ReduceMean", "ReduceMin", "Reshape", "Round", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators whose output has a value where their input has it everywhere, as far as a guess needs it."""

_COMPARES = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_FEW = 8
_LARGEST_CONSTANT = 64
_MASK_FACTOR = 1e3
"""Factor from which on a value that is multiplied by it, before it is added to scores, is a mask."""
_ROUNDS = 6
_LARGE_MODEL = 10**8
_LARGE_ROUNDS = 2


_Constant: TypeAlias = "onnx.TensorProto | npt.NDArray[Any]"


@dataclass
class Decisive:
    """The values of one input on which something depends.

    Attributes:
        compared: constants with which it is compared, solved for the input, and then their neighbours.
        is_mask: whether it is a mask: few of its values are meant, others are possible.
    """

    compared: list[float] = field(default_factory=list)
    is_mask: bool = False


@dataclass(frozen=True)
class _Trace:
    """A value that is `scale * input + shift`."""

    source: str
    scale: float = 1.0
    shift: float = 0.0


def decisive_values(model: onnx.ModelProto) -> dict[str, Decisive]:
    """Find the inputs that the model compares with constants, or takes for conditions, masks or choices in a table."""
    if model.functions:
        # A model that cannot be inlined is looked at without its functions.
        with contextlib.suppress(Exception):
            model = onnx.inliner.inline_local_functions(model)
    constants: dict[str, _Constant] = {t.name: t for t in model.graph.initializer if _is_small(t)}
    names = {tensor.name for tensor in model.graph.initializer}
    traces = {value.name: _Trace(value.name) for value in model.graph.input if value.name not in names}
    found = {name: Decisive(is_mask="mask" in name.lower()) for name in traces}
    _walk(model.graph.node, constants, traces, found)
    return {name: each for name, each in found.items() if each.compared or each.is_mask}


def _is_small(tensor: onnx.TensorProto) -> bool:
    is_inside = tensor.data_location != onnx.TensorProto.EXTERNAL
    return is_inside and math.prod(tensor.dims) <= _LARGEST_CONSTANT and tensor.data_type != onnx.TensorProto.STRING


def _array(constant: _Constant) -> npt.NDArray[Any]:
    return onnx.numpy_helper.to_array(constant) if isinstance(constant, onnx.TensorProto) else constant


def _walk(
    nodes: Iterable[onnx.NodeProto],
    constants: dict[str, _Constant],
    traces: dict[str, _Trace],
    found: Mapping[str, Decisive],
) -> None:
    for node in nodes:
        if node.domain not in STANDARD_DOMAINS:
            continue
        if node.op_type == "Constant":
            value = _constant(node)
            if value is not None:
                constants[node.output[0]] = value
        elif node.op_type in _MOVES and node.input and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        else:
            _follow(node, constants, traces, found)
        for graph in graphs_of_node(node):
            constants.update((t.name, t) for t in graph.initializer if _is_small(t))
            _walk(graph.node, constants, traces, found)


def _constant(node: onnx.NodeProto) -> npt.NDArray[Any] | None:
    for attribute in node.attribute:
        if attribute.name == "value" and _is_small(attribute.t):
            return onnx.numpy_helper.to_array(attribute.t)
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            return np.asarray(onnx.helper.get_attribute_value(attribute))
    return None


def _follow(
    node: onnx.NodeProto,
    constants: Mapping[str, _Constant],
    traces: dict[str, _Trace],
    found: Mapping[str, Decisive],
) -> None:
    place = next((i for i, name in enumerate(node.input) if name in traces), None)
    if place is None:
        return
    trace = traces[node.input[place]]
    others = [_array(constants[name]) for i, name in enumerate(node.input) if i != place and name in constants]
    op = node.op_type
    if op in _COMPARES and others:
        for value in np.unique(others[0].astype(np.float64))[:_FEW]:
            _add(found[trace.source], (value - trace.shift) / trace.scale)
    elif op in ("If", "Where") and place == 0:
        for truth in (1.0, 0.0):
            _add(found[trace.source], (truth - trace.shift) / trace.scale)
    elif op == "Gather" and place == 1 and len(others) == 1 and others[0].ndim:
        for row in (0, len(others[0]) - 1, -1):
            _add(found[trace.source], (row - trace.shift) / trace.scale)
    elif op == "Neg":
        traces[node.output[0]] = replace(trace, scale=-trace.scale, shift=-trace.shift)
    elif op in ("Add", "Sub", "Mul", "Div") and others and others[0].size and np.ptp(others[0].astype(np.float64)) == 0:
        after = _arithmetic(op, trace, float(others[0].reshape(-1)[0]), place)
        if after is not None:
            traces[node.output[0]] = after
            if abs(after.scale) >= _MASK_FACTOR > abs(trace.scale):
                found[trace.source].is_mask = True
    elif op in _MOVES or (op == "Gather" and place == 0):
        to_bool = op == "Cast" and any(a.name == "to" and a.i == onnx.TensorProto.BOOL for a in node.attribute)
        found[trace.source].is_mask |= to_bool
        traces.update(dict.fromkeys(node.output, trace))


def _arithmetic(op: str, trace: _Trace, other: float, place: int) -> _Trace | None:
    if op == "Add":
        return replace(trace, shift=trace.shift + other)
    if op == "Sub" and place == 0:
        return replace(trace, shift=trace.shift - other)
    if op == "Sub":
        return replace(trace, scale=-trace.scale, shift=other - trace.shift)
    factor = other if op == "Mul" else 1.0 / other if place == 0 and other else 0.0
    return replace(trace, scale=trace.scale * factor, shift=trace.shift * factor) if factor else None


def _add(decisive: Decisive, value: float) -> None:
    if np.isfinite(value) and value not in decisive.compared:
        decisive.compared.append(float(value))


def deciding_samples(
    model: onnx.ModelProto, specs: Sequence[InputSpec], shapes: Mapping[str, Sequence[int]], *, seed: int
) -> list[Ways]:
    """Make samples beyond the random ones, in which inputs have the values on which something depends.

    In some an input has one such value everywhere, in others a mixture. The original may refuse any of them.
    """
    decisive = decisive_values(model)
    choices: dict[str, npt.NDArray[Any]] = {}
    masks: dict[str, npt.NDArray[Any]] = {}
    for spec in specs:
        known = decisive.get(spec.name)
        if known is None or spec.dtype.kind not in "biuf":
            continue
        if known.compared:
            choices[spec.name] = _with_neighbours(known.compared, spec.dtype)
        if known.is_mask and spec.dtype.kind != "b":
            masks[spec.name] = _mask_values(spec.dtype)
    most = _LARGE_ROUNDS if size_of(model) > _LARGE_MODEL else _ROUNDS
    rounds = min(max(map(len, choices.values()), default=0), most)
    ways = [_everywhere(choices, number) for number in range(rounds)]
    if choices:
        ways.append(partial(_mixture, choices, 1.0))
    if masks:
        near = {name: values[:4] for name, values in masks.items()}
        ways += [partial(_mixture, near, 0.0), partial(_mixture, masks, 0.0)]

    def draws(change: Any, number: int) -> Iterator[Draw]:
        for draw in random_samples(specs, shapes, seed=seed, index=0):
            rng = np.random.default_rng([seed, number, 2])
            feeds = {name: change(name, value, rng) for name, value in draw.feeds.items()}
            yield Draw(feeds, is_guess=True)

    return [Ways(partial(draws, change, number), optional=True) for number, change in enumerate(ways)]


def _everywhere(choices: Mapping[str, npt.NDArray[Any]], number: int) -> Any:
    def change(name: str, value: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        chosen = choices.get(name)
        return value if chosen is None else np.full_like(value, chosen[number % len(chosen)])

    return change


def _mixture(
    choices: Mapping[str, npt.NDArray[Any]],
    kept: float,
    name: str,
    value: npt.NDArray[Any],
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    """Mix the choices into a value: each element becomes one of them, or stays (with half the chance `kept`)."""
    chosen = choices.get(name)
    if chosen is None:
        return value
    drawn = rng.permutation(np.resize(chosen, value.size)).reshape(value.shape)
    return np.asarray(np.where(rng.random(value.shape) < kept / 2, value, drawn), dtype=value.dtype)


def _with_neighbours(values: Sequence[float], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the values, then what lies beside them, as far as the type holds them."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        near = [round(v) + step for step in (0, 1, -1) for v in values]
        return np.array([v for v in dict.fromkeys(near) if limits.min <= v <= limits.max] or [0], dtype=dtype)
    exact = np.array([v for v in values if abs(v) <= np.finfo(dtype).max] or [0.0], dtype=dtype)
    beside = [np.nextafter(exact, dtype.type(side * np.inf)) for side in (1, -1)]
    return np.concatenate([exact, *beside, exact + dtype.type(1), exact - dtype.type(1)])


def _mask_values(dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values for a mask: first what masks have or nearly have, then what nobody means and a caller may give."""
    if dtype.kind == "f":
        step = float(np.finfo(dtype).eps)
        return np.array([1.0, 0.0, 1.0 + step, 1.0 - step, 2.0, -1.0, 0.5], dtype=dtype)
    return np.array([1, 0, 1, 2] if dtype.kind == "u" else [1, 0, 1, 1, 2, -1], dtype=dtype)
