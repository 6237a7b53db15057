"""Finds activations, by what they compute: gelu, swish, hard swish, mish, softplus, in any spelling.

From an anchor (Erf, Tanh, Sigmoid, ...) the values before it and behind it that hold one number for each number of some
x are paired: what lies between is a candidate. It is evaluated on a few numbers and compared with the functions that
have names, so that the order of operands, Div or Mul, Pow or products, and where a factor stands make no difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["GRID", "activations", "evaluate_between"]

_Array: TypeAlias = npt.NDArray[np.float64]

GRID = np.concatenate([np.linspace(-7.0, 7.0, 29), [-0.3, 0.1, 0.7]])
"""The numbers on which functions are compared."""
# Exporters write the constants of an activation in half precision or with few digits.
_ALIKE = 2e-3
_STEPS_BACK = 8
_STEPS_ON = 6
_LARGEST_CONE = 14


def _sigmoid(x: _Array) -> _Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _softplus(x: _Array) -> _Array:
    return np.asarray(np.logaddexp(x, 0.0))


def _erf(x: _Array) -> _Array:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


_NAMED: Mapping[Kind, Callable[[_Array], _Array]] = {
    Kind.GELU: lambda x: 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0))),
    Kind.TANH_GELU: lambda x: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    Kind.HARD_SWISH: lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    Kind.MISH: lambda x: x * np.tanh(_softplus(x)),
    Kind.SOFTPLUS: _softplus,
}
_ANCHORS: Mapping[str, tuple[Kind, ...]] = {
    "Erf": (Kind.GELU,),
    "Tanh": (Kind.TANH_GELU, Kind.MISH),
    "Sigmoid": (Kind.SWISH,),
    "HardSigmoid": (Kind.HARD_SWISH,),
    "Clip": (Kind.HARD_SWISH,),
    "Log": (Kind.SOFTPLUS,),
    "Exp": (Kind.SWISH,),
}
_UNARY: Mapping[str, Callable[[_Array], _Array]] = {
    "Erf": _erf,
    "Tanh": np.tanh,
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
    "Exp": np.exp,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Identity": np.array,
    "Cast": np.array,
    "Relu": lambda x: np.maximum(x, 0.0),
}
_BINARY: Mapping[str, Callable[[_Array, _Array], _Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Min": np.minimum,
    "Max": np.maximum,
}
_ELEMENTWISE = frozenset({*_UNARY, *_BINARY, "Clip", "HardSigmoid"})


def activations(graph: ir.Graph, facts: Facts) -> Iterator[Idiom]:
    """Find the activations of one graph, each with all of its nodes."""
    taken: set[ir.Node] = set()
    for node in graph:
        kinds = _ANCHORS.get(node.op_type, ()) if is_standard(node) and node not in taken else ()
        found = _around(node, kinds, facts) if kinds else None
        if found is not None:
            taken |= found.nodes
            yield found


def evaluate_between(y: ir.Value, x: ir.Value, facts: Facts) -> tuple[_Array, frozenset[ir.Node]] | None:
    """Return the elements of `y` where `x` holds `GRID`, and the nodes between; None where y takes anything else."""
    cone: set[ir.Node] = set()
    with np.errstate(all="ignore"):
        values = _evaluated(y, x, facts, cone, {})
    return None if values is None or np.shape(values) != GRID.shape else (values, frozenset(cone))


def _around(anchor: ir.Node, kinds: tuple[Kind, ...], facts: Facts) -> Idiom | None:
    ends = _on(anchor, facts)
    for x in _back(anchor, facts):
        for y in ends:
            cone: set[ir.Node] = set()
            with np.errstate(all="ignore"):
                values = _evaluated(y, x, facts, cone, {})
            if values is None or anchor not in cone or np.shape(values) != GRID.shape:
                continue
            kind = next((kind for kind in kinds if _is(kind, values)), None)
            if kind is not None and _is_closed(cone, y):
                return Idiom(kind, frozenset(cone))
    return None


def _back(anchor: ir.Node, facts: Facts) -> list[ir.Value]:
    """Return the values from which the anchor is computed, nearest first."""
    found: dict[ir.Value, None] = {}
    stack = [anchor]
    for node in stack:
        for value in node.inputs:
            if value is not None and value not in found and not facts.is_constant(value):
                found[value] = None
                maker = value.producer()
                if maker is not None and is_standard(maker) and maker.op_type in _ELEMENTWISE:
                    stack.append(maker)
        if len(found) >= _STEPS_BACK:
            break
    return list(found)


def _on(anchor: ir.Node, facts: Facts) -> list[ir.Value]:
    """Return the values that are computed from the anchor and read as a whole, nearest first."""
    found = [anchor.outputs[0]]
    while len(found) < _STEPS_ON and len(users := set(found[-1].consumers())) == 1 and not found[-1].is_graph_output():
        (user,) = users
        if not is_standard(user) or user.op_type not in _ELEMENTWISE or user.graph is not anchor.graph:
            break
        found.append(user.outputs[0])
    return found


def _evaluated(
    y: ir.Value, x: ir.Value, facts: Facts, cone: set[ir.Node], known: dict[ir.Value, _Array | None]
) -> _Array | None:
    """Return the elements of y where x holds the grid.

    The nodes between go to `cone`. None where y takes anything else.
    """
    if y is x:
        return GRID
    if y in known:
        return known[y]
    known[y] = None
    if facts.is_constant(y):
        array = facts.constant(y)
        if array is not None and array.size == 1 and array.dtype.kind in "fiu":
            known[y] = np.asarray(array, np.float64).reshape(())
        return known[y]
    node = y.producer()
    if node is None or not is_standard(node) or node.op_type not in _ELEMENTWISE or len(cone) >= _LARGEST_CONE:
        return None
    cone.add(node)
    operands = [_evaluated(value, x, facts, cone, known) for value in node.inputs if value is not None]
    if any(operand is None for operand in operands):
        return None
    known[y] = _result(node, [operand for operand in operands if operand is not None])
    return known[y]


def _result(node: ir.Node, operands: list[_Array]) -> _Array | None:
    op_type, attributes = node.op_type, node.attributes
    if any(attribute.is_ref() for attribute in attributes.values()):
        return None

    def number(name: str, default: float) -> float:
        return attributes[name].as_float() if name in attributes else default

    if op_type in _UNARY and len(operands) == 1:
        return _UNARY[op_type](operands[0])
    if op_type in _BINARY and len(operands) == 2:
        return _BINARY[op_type](*operands)
    if op_type == "HardSigmoid":
        return np.asarray(np.clip(number("alpha", 0.2) * operands[0] + number("beta", 0.5), 0.0, 1.0))
    if op_type == "Clip" and len(operands) in (1, 3):
        if len(operands) == 3:
            return np.asarray(np.clip(*operands))
        return np.asarray(np.clip(operands[0], number("min", -np.inf), number("max", np.inf)))
    return None


def _is(kind: Kind, values: _Array) -> bool:
    if kind is Kind.SWISH:
        at_one = float(np.interp(0.7, *_sorted(values))) / 0.7
        if not 0.5 < at_one < 1.0:
            return False
        beta = math.log(at_one / (1.0 - at_one)) / 0.7
        return _alike(values, GRID * _sigmoid(beta * GRID))
    return _alike(values, _NAMED[kind](GRID))


def _sorted(values: _Array) -> tuple[_Array, _Array]:
    order = np.argsort(GRID)
    return GRID[order], values[order]


def _alike(values: _Array, wanted: _Array) -> bool:
    return bool(np.all(np.abs(values - wanted) <= _ALIKE * (1.0 + np.abs(wanted))))


def _is_closed(cone: set[ir.Node], y: ir.Value) -> bool:
    """Whether nobody outside reads what is computed on the way."""
    return all(
        output is y or (not output.is_graph_output() and all(user in cone for user in output.consumers()))
        for node in cone
        for output in node.outputs
    )
