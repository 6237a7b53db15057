"""Finds what may end a native normalization: a residual that is added, and an activation in any spelling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.idioms.activations import GRID, evaluate_between
from onnxnorm.ops.operators import ACTIVATIONS

__all__ = ["Tail", "tail_of"]

_Array: TypeAlias = npt.NDArray[np.float64]

# What float32 constants leave of a formula.
_ALIKE = 1e-6
_MOST_NODES = 10


@dataclass(frozen=True, eq=False)
class Tail:
    """A residual sum and an activation behind a normalization, which become part of its node.

    Attributes:
        last: the value that the node makes in the end.
        residual: what is added before the activation.
        attributes: those of the node that name the activation.
        parts: the names of the parts, for a sentence.
    """

    last: ir.Value
    residual: ir.Value | None
    attributes: Mapping[str, int | float]
    parts: tuple[str, ...] = ()


def _erf(x: _Array) -> _Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


_FORMULAS: Mapping[str, Callable[[_Array], _Array]] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Silu": lambda x: x / (1.0 + np.exp(-x)),
    "Gelu": lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    "GeluTanh": lambda x: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    "HardSwish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
}


def tail_of(value: ir.Value, facts: Facts) -> Tail:
    """Return what follows `value` and can be computed with it: nothing of it is read or told elsewhere."""
    residual = _residual(value, facts)
    parts: tuple[str, ...] = ()
    last = value
    if residual is not None:
        last, parts = value.consumers()[0].outputs[0], ("a residual sum",)
    named = _activation(last, facts)
    if named is None:
        return Tail(last, residual, {}, parts)
    name, end, numbers = named
    return Tail(end, residual, {"activation": ACTIVATIONS.index(name), **numbers}, (*parts, name))


def _residual(value: ir.Value, facts: Facts) -> ir.Value | None:
    """Return what an Add behind `value` adds to it, if that has the same shape and type."""
    if value.is_graph_output() or len(value.uses()) != 1:
        return None
    (user,) = value.consumers()
    if not is_standard(user) or user.op_type != "Add" or user.graph is not _graph(value):
        return None
    other = user.inputs[1] if user.inputs[0] is value else user.inputs[0]
    if other is None or other.dtype is not value.dtype or facts.is_constant(other):
        return None
    own, shape = facts.shape(value), facts.shape(other)
    if own is None or own != shape or any(dim is None for dim in own):
        return None
    return other


def _graph(value: ir.Value) -> ir.Graph | ir.Function | None:
    producer = value.producer()
    return None if producer is None else producer.graph


def _activation(value: ir.Value, facts: Facts) -> tuple[str, ir.Value, dict[str, int | float]] | None:
    if value.is_graph_output():
        return None
    users = set(value.consumers())
    if len(users) == 1:
        (user,) = users
        single = _single(user, value, facts)
        if single is not None:
            return (single[0], user.outputs[0], single[1]) if user.graph is _graph(value) else None
    for end in _reached(value):
        found = evaluate_between(end, value, facts)
        if found is None or not _is_closed(value, end, found[1]):
            continue
        for name, formula in _FORMULAS.items():
            wanted = formula(GRID)
            if np.all(np.abs(found[0] - wanted) <= _ALIKE * np.maximum(np.abs(wanted), 1e-2)):
                return name, end, {}
    return None


def _single(node: ir.Node, value: ir.Value, facts: Facts) -> tuple[str, dict[str, int | float]] | None:
    """Return the activation that is one node of the standard."""
    if not is_standard(node) or any(attribute.is_ref() for attribute in node.attributes.values()):
        return None
    if node.op_type == "LeakyRelu":
        return "LeakyRelu", {"alpha": node.attributes.get_float("alpha", 0.01)}
    if node.op_type == "HardSwish":
        return "HardSwish", {}
    if node.op_type == "Gelu":
        approximate = node.attributes.get_string("approximate", "none")
        return ("GeluTanh" if approximate == "tanh" else "Gelu"), {}
    if node.op_type == "Swish" and node.attributes.get_float("alpha", 1.0) == 1.0:
        return "Silu", {}
    if node.op_type == "Clip" and node.inputs[0] is value:
        return _clip(node, facts)
    return None


def _clip(node: ir.Node, facts: Facts) -> tuple[str, dict[str, int | float]] | None:
    bounds = [node.attributes.get_float("min", -math.inf), node.attributes.get_float("max", math.inf)]
    for index, given in enumerate(node.inputs[1:3]):
        if given is None:
            continue
        array = facts.constant(given)
        if array is None or array.size != 1 or given is node.inputs[0]:
            return None
        bounds[index] = float(np.asarray(array, np.float64).ravel()[0])
    if any(math.isnan(bound) or float(np.float32(bound)) != bound for bound in bounds) or bounds[0] > bounds[1]:
        return None
    if math.inf in map(abs, bounds):
        return ("Relu", {}) if bounds == [0.0, math.inf] else None
    return "Clip", {"alpha": bounds[0], "beta": bounds[1]}


def _reached(value: ir.Value) -> list[ir.Value]:
    """Return the results of the nodes behind `value`, nearest first."""
    found: dict[ir.Value, None] = {}
    waiting = [value]
    for each in waiting:
        for user in each.consumers():
            if is_standard(user) and user.op_type not in ("Cast", "Identity") and user.graph is _graph(value):
                for output in user.outputs:
                    if output not in found and len(found) < _MOST_NODES:
                        found[output] = None
                        waiting.append(output)
    return list(found)


def _is_closed(value: ir.Value, end: ir.Value, cone: frozenset[ir.Node]) -> bool:
    """Whether nobody else reads what is computed on the way, and all of it has one type."""
    inner = [value, *(output for node in cone for output in node.outputs if output is not end)]
    return all(
        not each.is_graph_output() and each.dtype in (None, value.dtype) and cone.issuperset(each.consumers())
        for each in inner
    )
