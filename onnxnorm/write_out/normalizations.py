"""Writes layer-, group-, RMS-, Lp- and mean-variance normalization in standard operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant, put_in_place, remove_unread
from onnxnorm.graph.facts import Facts
from onnxnorm.model.dtypes import HALVES
from onnxnorm.numerics.arrays import MAX_ELEMENTS

__all__ = ["FORMS", "rank_is_known", "write_out"]

_OPSET_OF_EXTREMES_THAT_BROADCAST = 8


@dataclass(eq=False)
class _Steps:
    """A series of nodes, added one after the other, with names and types."""

    node: ir.Node
    graph: ir.Graph
    facts: Facts
    dtype: ir.DataType
    nodes: list[ir.Node] = field(default_factory=list)

    def add(
        self, op_type: str, *inputs: ir.Value | None, dtype: ir.DataType | None = None, **attributes: object
    ) -> ir.Value:
        name = f"{self.node.name}_{op_type.lower()}_{len(self.nodes)}"
        step = ir.node(op_type, list(inputs), attributes=attributes, name=name)  # type: ignore[arg-type]
        output = step.outputs[0]
        output.name, output.type = self.facts.fresh_name(name), ir.TensorType(dtype or self.dtype)
        self.nodes.append(step)
        return output

    def ints(self, values: Sequence[int]) -> ir.Value:
        array = np.array(values, np.int64)
        return add_constant(
            self.graph, self.facts.fresh_name(f"{self.node.name}_ints"), array, ir.DataType.INT64, self.facts
        )

    def number(self, value: float) -> ir.Value:
        array = np.array(value).astype(self.dtype.numpy())
        return add_constant(
            self.graph, self.facts.fresh_name(f"{self.node.name}_number"), array, self.dtype, self.facts
        )

    def at_least(self, x: ir.Value, least: float) -> ir.Value:
        if self.facts.opset(self.node) >= _OPSET_OF_EXTREMES_THAT_BROADCAST:
            return self.add("Max", x, self.number(least))
        return self.add("Clip", x, min=least)

    def reduced(self, op_type: str, x: ir.Value, axes: Sequence[int]) -> ir.Value:
        since = 13 if op_type == "ReduceSum" else 18
        if self.facts.opset(self.node) >= since:
            return self.add(op_type, x, self.ints(axes), keepdims=1)
        return self.add(op_type, x, axes=tuple(axes), keepdims=1)


@dataclass(frozen=True, eq=False)
class _Form:
    node: ir.Node
    graph: ir.Graph
    facts: Facts
    x: ir.Value
    rank: int
    steps: _Steps

    def operand(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def wide(self, value: ir.Value) -> ir.Value:
        """Return the value in float32 if it is of a half type, else as it is."""
        if self.x.dtype not in HALVES:
            return value
        self.steps.dtype = ir.DataType.FLOAT
        return self.steps.add("Cast", value, to=int(ir.DataType.FLOAT))

    def narrow(self, value: ir.Value) -> ir.Value:
        if self.x.dtype not in HALVES:
            return value
        assert self.x.dtype is not None
        self.steps.dtype = self.x.dtype
        return self.steps.add("Cast", value, to=int(self.x.dtype))

    def with_weights(self, value: ir.Value, scale: ir.Value | None, bias: ir.Value | None) -> ir.Value:
        # ONNX demands a scale of nodes that have none by their formula.
        if scale is not None and not self._is_one(scale):
            value = self.steps.add("Mul", value, scale)
        return value if bias is None else self.steps.add("Add", value, bias)

    def spread(self, value: ir.Value) -> ir.Value:
        """Return the vector along the channels, as a constant where it is one."""
        shape, array = [-1, *[1] * (self.rank - 2)], self.facts.constant(value)
        if array is None or value.dtype is None:
            return self.steps.add("Reshape", value, self.steps.ints(shape))
        name = self.facts.fresh_name(f"{value.name}_spread")
        return add_constant(self.graph, name, array.reshape(shape), value.dtype, self.facts)

    def _is_one(self, scale: ir.Value) -> bool:
        array = self.facts.constant(scale)
        return array is not None and bool(np.all(array == 1))


def _centred(form: _Form, axes: Sequence[int]) -> tuple[ir.Value, ir.Value]:
    """Return x, wide already, without its mean, and the variance."""
    add, reduced = form.steps.add, form.steps.reduced
    x = form.wide(form.x)
    centred = add("Sub", x, reduced("ReduceMean", x, axes))
    return centred, reduced("ReduceMean", add("Mul", centred, centred), axes)


def _trailing(form: _Form) -> range:
    return range(form.node.attributes.get_int("axis", -1) % form.rank, form.rank)


def _layer_norm(form: _Form) -> ir.Value:
    add = form.steps.add
    centred, variance = _centred(form, _trailing(form))
    deviation = add("Sqrt", add("Add", variance, form.steps.number(form.node.attributes.get_float("epsilon", 1e-5))))
    return form.with_weights(form.narrow(add("Div", centred, deviation)), form.operand(1), form.operand(2))


def _rms_norm(form: _Form) -> ir.Value:
    add = form.steps.add
    x = form.wide(form.x)
    mean = form.steps.reduced("ReduceMean", add("Mul", x, x), _trailing(form))
    root = add("Sqrt", add("Add", mean, form.steps.number(form.node.attributes.get_float("epsilon", 1e-5))))
    return form.with_weights(form.narrow(add("Div", x, root)), form.operand(1), None)


def _mean_variance(form: _Form) -> ir.Value:
    add = form.steps.add
    axes = form.node.attributes.get_ints("axes", (0, 2, 3))
    centred, variance = _centred(form, axes)
    deviation = add("Add", add("Sqrt", variance), form.steps.number(1e-9))
    return form.narrow(add("Div", centred, deviation))


def _lp_norm(form: _Form) -> ir.Value:
    """Write Lp normalization.

    A vector of zeros is divided by the smallest normal number, since the operator gives 0 for it.
    """
    op_type = "ReduceL1" if form.node.attributes.get_int("p", 2) == 1 else "ReduceL2"
    x = form.wide(form.x)
    length = form.steps.reduced(op_type, x, [form.node.attributes.get_int("axis", -1)])
    least = np.finfo(np.float64 if form.steps.dtype is ir.DataType.DOUBLE else np.float32).tiny
    return form.narrow(form.steps.add("Div", x, form.steps.at_least(length, float(least))))


def _group_norm(form: _Form) -> ir.Value | None:
    """Write an InstanceNormalization of the reshaped tensor, then scale and bias for each channel (opset 21)."""
    if form.facts.opset(form.node) < 21:
        return None
    groups, add = form.node.attributes.get_int("num_groups", 1), form.steps.add
    if not 1 <= groups <= MAX_ELEMENTS:
        return None
    dtype = form.steps.dtype
    x = form.wide(form.x)
    shape = form.steps.ints([0, groups, -1])
    ones, zeros = (_filled(form, value, groups) for value in (1.0, 0.0))
    y = add(
        "InstanceNormalization",
        add("Reshape", x, shape),
        ones,
        zeros,
        epsilon=form.node.attributes.get_float("epsilon", 1e-5),
    )
    extents = [dim for dim in (form.facts.shape(form.x) or ())[1:] if isinstance(dim, int) and dim > 0]
    is_fixed = len(extents) == form.rank - 1
    y = add("Reshape", y, form.steps.ints([0, *extents]) if is_fixed else add("Shape", x, dtype=ir.DataType.INT64))
    y = form.narrow(y)
    form.steps.dtype = dtype
    scale, bias = (form.spread(value) for value in form.node.inputs[1:3] if value is not None)
    shift = form.facts.constant(form.operand(2))
    return form.with_weights(y, scale, None if shift is not None and not np.any(shift) else bias)


def _filled(form: _Form, value: float, extent: int) -> ir.Value:
    dtype = form.steps.dtype
    array = np.full(extent, value).astype(dtype.numpy())
    return add_constant(form.graph, form.facts.fresh_name(f"{form.node.name}_filled"), array, dtype, form.facts)


FORMS: Mapping[str, Callable[[_Form], ir.Value | None]] = {
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
}


def rank_is_known(node: ir.Node, facts: Facts) -> bool:
    """Tell whether the rank and element type of the tensor that `node` normalizes are known."""
    x = node.inputs[0]
    return x is not None and x.dtype is not None and facts.rank(x) is not None


def write_out(node: ir.Node, graph: ir.Graph, facts: Facts) -> bool:
    """Put standard operators in the place of a normalization node of one of the types of `FORMS`.

    Returns:
        Whether that was done: not where the rank is unknown, a further output is read, or the form has no place for an
        attribute.
    """
    write, x = FORMS.get(node.op_type), node.inputs[0]
    rank = None if x is None else facts.rank(x)
    if write is None or x is None or rank is None or x.dtype is None:
        return False
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return False
    form = _Form(node, graph, facts, x, rank, _Steps(node, graph, facts, x.dtype))
    output = write(form)
    if output is None:
        return False
    put_in_place(node, form.steps.nodes, output)
    remove_unread([node], facts)
    return True
