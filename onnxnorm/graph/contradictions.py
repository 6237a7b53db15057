"""Finds, by trying them, nodes whose operands do not fit together.

ONNX's checker and its shape inference let pass a BatchNormalization with fewer parameters than channels, an Einsum
whose labels have two extents, a Gemm whose C does not broadcast, and more of that kind. A rule that meets such a node
trips over arrays that do not fit. Whether it is the node's fault is asked then, not before, since it takes a while: it
is if the evaluator of `verify` takes no operands of the shapes that are known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from onnxnorm.graph.constant_budget import foreseen_elements
from onnxnorm.graph.facts import GENERATORS, Dim, Facts
from onnxnorm.model.domains import STANDARD_DOMAINS
from onnxnorm.model.one_node import model_of_node
from onnxnorm.model.walk import graphs_of
from onnxnorm.numerics.arrays import MAX_RANK

__all__ = ["contradiction_in", "contradicts_itself"]

_Shape: TypeAlias = "tuple[Dim, ...]"
_Array: TypeAlias = "npt.NDArray[np.generic]"

_MAX_TRIALS = 256
_MAX_ELEMENTS = 2**22


def contradiction_in(model: ir.Model) -> str | None:
    """Name the node that contradicts itself, and how; None where none is found."""
    facts = Facts(model)
    for graph in graphs_of(model):
        for node in graph:
            if contradicts_itself(node, facts):
                shapes = [None if value is None else facts.shape(value) for value in node.inputs]
                told = ", ".join("nothing" if shape is None else str(list(shape))[:100] for shape in shapes)
                return f"node {node.name!r} ({node.op_type}) cannot take inputs of the shapes {told}"
    return None


def contradicts_itself(node: ir.Node, facts: Facts, told: Mapping[ir.Value, _Shape] | None = None) -> bool:
    """Whether the node takes no inputs of the shapes they have, or none that give its outputs the shapes these have.

    Args:
        node: any node; one that cannot be tried is held for sound.
        facts: what is known of the model.
        told: shapes of values, where more is known of them.
    """
    known = dict(told or {})
    for value in (*node.inputs, *node.outputs):
        if value is not None and value not in known and (shape := facts.shape(value)) is not None:
            known[value] = shape
    arrays = {value: facts.constant(value) for value in node.inputs if value is not None}
    free = [value for value, array in arrays.items() if array is None]
    constants = {value: array for value, array in arrays.items() if array is not None}
    if any(value in known and not _agree(array.shape, known[value]) for value, array in constants.items()):
        return True
    if any(value not in known or value.dtype is ir.DataType.STRING for value in free):
        return False
    extents = {dim for shape in (*known.values(), *(array.shape for array in constants.values())) for dim in shape}
    refused = False
    try:
        trial = _Trial(node, facts)
        for filled in _filled([known[value] for value in free], {1, *(dim for dim in extents if isinstance(dim, int))}):
            made = trial.run({**constants, **{v: _zeros(v, shape) for v, shape in zip(free, filled, strict=True)}})
            pairs = zip(node.outputs, made or (), strict=False)
            if made is not None and all(value not in known or _agree(shape, known[value]) for value, shape in pairs):
                return False
            refused = True
    except _UntriedError:
        return False
    return refused


def _agree(shape: _Shape, other: _Shape) -> bool:
    return len(shape) == len(other) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(shape, other, strict=True)
    )


def _filled(shapes: Sequence[_Shape], extents: Collection[int]) -> Iterator[list[tuple[int, ...]]]:
    """Yield the shapes with an extent in place of every unknown one, in all ways.

    There are none where there are too many.
    """
    named = [[(i, axis) if dim is None else dim for axis, dim in enumerate(shape)] for i, shape in enumerate(shapes)]
    unknown = list(dict.fromkeys(dim for shape in named for dim in shape if not isinstance(dim, int)))
    if len(extents) ** len(unknown) > _MAX_TRIALS:
        return
    for chosen in itertools.product(sorted(extents), repeat=len(unknown)):
        found = dict(zip(unknown, chosen, strict=True))
        filled = [tuple(dim if isinstance(dim, int) else found[dim] for dim in shape) for shape in named]
        if sum(map(math.prod, filled)) > _MAX_ELEMENTS or any(len(shape) > MAX_RANK for shape in filled):
            raise _UntriedError
        yield filled


def _zeros(value: ir.Value, shape: tuple[int, ...]) -> _Array:
    return np.zeros(shape, (value.dtype or ir.DataType.FLOAT).numpy())


class _UntriedError(Exception):
    """Raised where it cannot be tried whether the node takes its operands."""


class _Trial:
    """A trial that runs one node for the shapes of its results."""

    def __init__(self, node: ir.Node, facts: Facts) -> None:
        if node.domain not in STANDARD_DOMAINS or any(
            each.is_ref() or each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for each in node.attributes.values()
        ):
            raise _UntriedError
        from onnxnorm.evaluate.evaluator import Float64Evaluator

        try:
            self._node, self._model = node, _alone(node, facts)
            self._evaluator = Float64Evaluator(self._model)
        except Exception:
            # What cannot be written down, or has no such evaluator.
            raise _UntriedError from None

    def run(self, operands: Mapping[ir.Value, _Array]) -> list[_Shape] | None:
        """Return the shape of each output; None where the node refuses these operands."""
        feeds = {f"i{self._node.inputs.index(value)}": array for value, array in operands.items()}
        try:
            elements = foreseen_elements(self._model, feeds)
        except Exception:
            return None
        if elements is None and self._node.op_type not in GENERATORS:
            # At most one for every choice of an element of each operand.
            elements = math.prod(array.size for array in feeds.values())
        if elements is None or elements > _MAX_ELEMENTS:
            raise _UntriedError
        try:
            made = self._evaluator.run(feeds)
        except Exception:
            return None
        return [np.shape(made[f"o{index}"]) if value.name else () for index, value in enumerate(self._node.outputs)]


def _alone(node: ir.Node, facts: Facts) -> onnx.ModelProto:
    """Return a model of the node alone: value number k among its inputs is called ik, result number k is called ok."""
    inputs = ["" if value is None else f"i{node.inputs.index(value)}" for value in node.inputs]
    outputs = [f"o{index}" if value.name else "" for index, value in enumerate(node.outputs)]
    return model_of_node(node, inputs, outputs, facts.opset(node))
