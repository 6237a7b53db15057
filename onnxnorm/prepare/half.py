"""Converts a model to float16 or bfloat16.

Before: float32. After: every node that may computes in the type, weights are rounded once, and a Cast stands where a
value crosses to a node that stays in float32 (`half_rules.py` says which, and why), one for each value and direction.
Normalizations that have an attribute for the type of their statistics keep those in float32 inside of the one node, as
BatchNormalization keeps its parameters. Bodies of If, Loop and Scan are converted as well; what a Loop or a Scan
carries from round to round stays in float32, since errors would add up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxnorm.convert.same_form import schema_of
from onnxnorm.graph.edit import add_constant, drop_if_unused
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.graph.shapes import infer_shapes
from onnxnorm.model.walk import graphs_within, subgraphs_of
from onnxnorm.prepare.bodies import handed_in, handed_out, is_control_flow
from onnxnorm.prepare.half_rules import Choice, choose, data_variables
from onnxnorm.prepare.observe import Observed

__all__ = ["Converted", "Stayed", "to_half"]

_FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True)
class Stayed:
    """A node that stays in float32, and why."""

    node: str
    op_type: str
    reason: str


@dataclass(frozen=True)
class Converted:
    """The account of a conversion: what stays in float32, and how many constants of masks became how small."""

    stayed: tuple[Stayed, ...]
    masks: int
    least: float


def to_half(
    model: ir.Model,
    dtype: ir.DataType,
    *,
    keep_io_types: bool = False,
    keep: Collection[str] = (),
    observed: Mapping[str, Observed] | None = None,
) -> Converted:
    """Convert the model itself; tell which nodes stay in float32.

    Args:
        model: whose float32 becomes `dtype`.
        dtype: FLOAT16 or BFLOAT16.
        keep_io_types: leave the types of inputs and outputs as they are.
        keep: names or patterns of nodes that stay in float32.
        observed: how large the values become, by their names.
    """
    infer_shapes(model)
    facts, graph = Facts(model), model.graph
    choice = choose(graph, facts, dtype, keep, observed or {})
    _Conversion(graph, facts, dtype, choice).run(keep_io_types)
    stayed = tuple(Stayed(node.name or "", node.op_type, reason) for node, reason in choice.reasons.items())
    return Converted(stayed, len(choice.masks.constants), choice.masks.least)


class _Conversion:
    def __init__(self, graph: ir.Graph, facts: Facts, dtype: ir.DataType, choice: Choice) -> None:
        self._graph, self._facts, self._dtype, self._choice = graph, facts, dtype, choice
        self._narrow: set[ir.Value] = set()
        """The values that are of the type of two bytes from now on."""
        self._constants: dict[ir.Value, ir.Value] = {}
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._narrow_ends: set[tuple[ir.Graph, int]] = set()
        """The outputs of bodies that are expected to be of the type of two bytes."""

    def run(self, keep_io_types: bool) -> None:
        inputs = [
            value
            for value in self._graph.inputs
            if value.dtype is _FLOAT and isinstance(value.type, ir.TensorType) and not value.is_initializer()
        ]
        if not keep_io_types:
            self._narrow.update(inputs)
        graphs = list(graphs_within(self._graph))
        nodes = [node for graph in graphs for node in graph]
        self._narrow_results(self._graph)
        for node in nodes:
            self._feed(node)
        for graph in graphs[1:]:
            self._give_back(graph)
        for value in self._narrow:
            value.type = ir.TensorType(self._dtype)
        self._finish(_FLOAT if keep_io_types else self._dtype)

    def _narrow_results(self, graph: ir.Graph) -> None:
        """Mark what the nodes of a graph make in the type of two bytes, and what goes in and out of their bodies."""
        for node in graph:
            if node in self._choice.half:
                self._narrow.update(_results(node, self._facts))
                if node.op_type == "Cast":
                    node.attributes["to"] = ir.AttrInt64("to", int(self._dtype))
            if not is_control_flow(node):
                continue
            self._narrow.update(inner for place, inner in handed_in(node) if node.inputs[place] in self._narrow)
            for body in subgraphs_of(node):
                self._narrow_results(body)
            for outer, places in handed_out(node):
                if outer.dtype is _FLOAT and any(body.outputs[place] in self._narrow for body, place in places):
                    self._narrow.add(outer)
                    self._narrow_ends.update(places)

    def _give_back(self, graph: ir.Graph) -> None:
        """Let a body give back its outputs in the types that are expected of it."""
        for place, value in enumerate(graph.outputs):
            narrow = (graph, place) in self._narrow_ends
            if value.dtype is _FLOAT and narrow is not (value in self._narrow):
                graph.outputs[place] = self._cast(value, self._dtype if narrow else _FLOAT)

    def _feed(self, node: ir.Node) -> None:
        """Give the node its operands in the types that it takes."""
        if is_control_flow(node):
            places = frozenset(place for place, inner in handed_in(node) if inner in self._narrow)
        else:
            places = _operands(node, self._facts) if node in self._choice.half else frozenset[int]()
        for place, value in enumerate(node.inputs):
            if value is None or value.dtype is not _FLOAT:
                continue
            narrow = place in places
            if self._is_constant(value):
                if narrow:
                    node.replace_input_with(place, self._rounded(value))
                    drop_if_unused(value, self._facts)
            elif narrow is not (value in self._narrow) and not (node.op_type == "Cast" and is_standard(node)):
                # A Cast reads either type.
                node.replace_input_with(place, self._cast(value, self._dtype if narrow else _FLOAT))

    def _is_constant(self, value: ir.Value) -> bool:
        maker = value.producer()
        return (value.is_initializer() and not value.is_graph_input()) or (
            maker is not None and maker.op_type == "Constant"
        )

    def _rounded(self, value: ir.Value) -> ir.Value:
        if value not in self._constants:
            array = self._facts.constant(value)
            assert array is not None
            name = self._facts.fresh_name(f"{value.name}_{self._dtype.name.lower()}")
            exact = np.asarray(array, np.float64)
            if value in self._choice.masks.constants:
                exact = np.where(np.isneginf(exact), exact, np.maximum(exact, self._choice.masks.least))
            with np.errstate(over="ignore"):
                narrow = exact.astype(self._dtype.numpy())
            self._constants[value] = add_constant(self._graph, name, narrow, self._dtype, self._facts)
        return self._constants[value]

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        key = (value, dtype)
        if key not in self._casts:
            name = self._facts.fresh_name(f"{value.name}_{dtype.name.lower()}")
            node = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=self._facts.fresh_name(f"{name}_cast"))
            made, maker, graph = node.outputs[0], value.producer(), value.graph or self._graph
            made.name, made.shape, made.type = name, value.shape, ir.TensorType(dtype)
            if maker is not None:
                graph.insert_after(maker, node)
            elif len(graph):
                graph.insert_before(graph[0], node)
            else:
                graph.append(node)
            self._casts[key] = made
        return self._casts[key]

    def _finish(self, wanted: ir.DataType) -> None:
        """Give the outputs of the graph their types; each keeps its name."""
        for place, value in enumerate(self._graph.outputs):
            have = self._dtype if value in self._narrow else value.dtype
            if not isinstance(value.type, ir.TensorType):
                continue
            if have not in (_FLOAT, self._dtype) or have is wanted:
                continue
            if value.dtype is self._dtype and value not in self._narrow:
                # It was of this type before.
                continue
            cast, name = self._cast(value, wanted), value.name
            if value.is_graph_input() or value.is_initializer() or name is None:
                self._graph.outputs[place] = cast
                continue
            self._graph.outputs[place] = cast
            value.name, cast.name = self._facts.fresh_name(f"{name}_uncast"), name


def _results(node: ir.Node, facts: Facts) -> list[ir.Value]:
    """Return the results of a node that are of the type of its data."""
    if node.op_type == "Cast":
        return list(node.outputs)
    schema = schema_of(node.op_type, facts.opset(node))
    assert schema is not None
    variables, last = data_variables(node, schema), len(schema.outputs) - 1
    return [
        value
        for place, value in enumerate(node.outputs)
        if value.dtype is _FLOAT and schema.outputs[min(place, last)].type_str in variables
    ]


def _operands(node: ir.Node, facts: Facts) -> frozenset[int]:
    """Return the places of the operands of a node that are of the type of its data."""
    if node.op_type == "Cast":
        return frozenset()
    schema = schema_of(node.op_type, facts.opset(node))
    assert schema is not None
    variables, last = data_variables(node, schema), len(schema.inputs) - 1
    return frozenset(
        place for place in range(len(node.inputs)) if schema.inputs[min(place, last)].type_str in variables
    )
