"""Adds the nodes of a written-out LRN, one after the other: windows, powers, casts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant
from onnxnorm.graph.facts import Facts
from onnxnorm.model.dtypes import HALVES

__all__ = ["OPSET_OF_SLOW_POOLS", "LrnSteps", "constants_of", "reach", "write_by_slices"]

OPSET_OF_SLOW_POOLS = 19
"""The first opset whose AveragePool onnxruntime runs slowly, and 1.21.0 to 1.24.4 with wrong counts of padding."""
_OPSET_OF_AXES_AS_INPUT = 13
_OPSET_OF_PADS_AS_INPUT = 11
_OPSET_OF_SLICE_BOUNDS_AS_INPUT = 10
_DEFAULTS = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}
_FAR = 2**31 - 1


def constants_of(node: ir.Node) -> tuple[float, float, float]:
    """Return alpha, beta and bias of an LRN node, as single precision holds them."""
    alpha, beta, bias = (float(np.float32(node.attributes.get_float(name, value))) for name, value in _DEFAULTS.items())
    return alpha, beta, bias


def reach(kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return how far a window of each extent goes back and ahead."""
    return [(size - 1) // 2 for size in kernel], [size // 2 for size in kernel]


def write_by_slices(node: ir.Node, graph: ir.Graph, facts: Facts, opset: int, kernel: Sequence[int]) -> None:
    """Put an LRN of sums of slices in the place of the node, for any type and rank.

    Args:
        node: the LRN.
        graph: where it stands.
        facts: what is known of the model.
        opset: the version of the standard operators.
        kernel: the extent of the window along each axis of its input.
    """
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    steps = LrnSteps(node, graph, facts, opset, ir.DataType.FLOAT if x.dtype in HALVES else x.dtype)
    wide = steps.cast("wide", x, steps.dtype)
    padded = steps.padded(wide, *reach(kernel))
    total = steps.then("squares", "Mul", padded, padded, shape=padded.shape)
    for axis, size in enumerate(kernel):
        if size > 1:
            total = steps.window_sum(total, axis, size)
    total.shape = wide.shape
    alpha, _, _ = constants_of(node)
    steps.finish(wide, total, alpha / math.prod(kernel))


@dataclass
class LrnSteps:
    """A writer that puts new nodes before `node`, with names after its own.

    Attributes:
        node: the node that is written out.
        graph: where it stands.
        facts: what is known of the model.
        opset: the version of the standard operators.
        dtype: the type in which is computed.
    """

    node: ir.Node
    graph: ir.Graph
    facts: Facts
    opset: int
    dtype: ir.DataType = ir.DataType.FLOAT

    def then(
        self,
        name: str,
        op_type: str,
        *inputs: ir.Value,
        shape: ir.Shape | None = None,
        **attributes: int | str | Sequence[int],
    ) -> ir.Value:
        made = ir.node(op_type, inputs, attributes=attributes, name=self._named(name))
        value = made.outputs[0]
        value.name, value.dtype, value.shape = self._named(name), self.dtype, shape
        self.graph.insert_before(self.node, made)
        return value

    def number(self, name: str, value: float) -> ir.Value:
        return self._constant(name, np.array(value).astype(self.dtype.numpy()), self.dtype)

    def ints(self, name: str, values: Sequence[int]) -> ir.Value:
        return self._constant(name, np.array(values, np.int64), ir.DataType.INT64)

    def cast(self, name: str, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return the value in another type."""
        if value.dtype is dtype:
            return value
        made = self.then(name, "Cast", value, shape=value.shape, to=int(dtype))
        made.dtype = dtype
        return made

    def axis(self, op_type: str, name: str, value: ir.Value) -> ir.Value:
        """Put in or take out an axis before the channels."""
        if self.opset < _OPSET_OF_AXES_AS_INPUT:
            return self.then(name, op_type, value, axes=[1])
        return self.then(name, op_type, value, self.ints(f"{name}_axis", [1]))

    def padded(self, value: ir.Value, before: Sequence[int], after: Sequence[int]) -> ir.Value:
        """Put zeros before and behind each axis."""
        pads = [*before, *after]
        if not any(pads):
            return value
        shape = None
        if value.shape is not None:
            more = [back + front for back, front in zip(before, after, strict=True)]
            shape = ir.Shape(
                [
                    (dim + extra if isinstance(dim, int) else None) if extra else dim
                    for dim, extra in zip(value.shape, more, strict=True)
                ]
            )
        # The mode is the default, and pnnx leaves the padding of a Pad out that does not say it.
        if self.opset < _OPSET_OF_PADS_AS_INPUT:
            return self.then("padded", "Pad", value, shape=shape, mode="constant", pads=pads)
        return self.then("padded", "Pad", value, self.ints("pads", pads), shape=shape, mode="constant")

    def window_sum(self, value: ir.Value, axis: int, size: int) -> ir.Value:
        """Sum each `size` neighbours along the axis, which becomes `size - 1` shorter.

        Sums of two, four, eight neighbours are each a sum of two slices; the window is put together from these. Nothing
        is subtracted, so that an infinity or a NaN reaches the windows that hold it and no other.
        """
        result: ir.Value | None = None
        taken, width, sums = 0, 1, value
        while True:
            if size & width:
                part = self._slice(sums, axis, taken, size - width - taken)
                result = part if result is None else self.then(f"sum_{axis}", "Add", result, part)
                taken += width
            if taken == size:
                assert result is not None
                return result
            sums = self.then(f"sum_{axis}", "Add", self._slice(sums, axis, 0, width), self._slice(sums, axis, width, 0))
            width *= 2

    def divisor(self, base: ir.Value, beta: float, *, roots_alone: bool, shape: ir.Shape | None) -> ir.Value:
        """Compute base ** beta, by roots where they do and no base is negative: Pow takes several times as long."""
        if beta == 1:
            return base
        if beta not in (0.25, 0.5, 0.75) or not roots_alone:
            return self.then("power", "Pow", base, self.number("beta", beta), shape=shape)
        root = self.then("root", "Sqrt", base, shape=shape)
        if beta == 0.5:
            return root
        fourth = self.then("fourth_root", "Sqrt", root, shape=shape)
        return fourth if beta == 0.25 else self.then("power", "Mul", root, fourth, shape=shape)

    def finish(self, x: ir.Value, mean: ir.Value, factor: float) -> None:
        """Divide by the power of bias + factor * mean, and put the result in the place of the node."""
        node, output = self.node, self.node.outputs[0]
        alpha, beta, bias = constants_of(node)
        shape = x.shape
        scaled = self.then("scaled", "Mul", mean, self.number("alpha", factor), shape=shape)
        base = self.then("base", "Add", scaled, self.number("bias", bias), shape=shape)
        roots_alone = alpha >= 0 and math.copysign(1, bias) > 0
        power = self.divisor(base, beta, roots_alone=roots_alone, shape=shape)
        result = self.then("result", "Div", x, power, shape=shape)
        given = node.inputs[0]
        if given is not None and given.dtype is not None:
            result = self.cast("narrow", result, given.dtype)
        result.type, result.shape = output.type or result.type, output.shape
        name = output.name
        output.replace_all_uses_with(result, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)
        output.name, result.name = None, name

    def _slice(self, value: ir.Value, axis: int, start: int, left_out: int) -> ir.Value:
        """Cut `start` entries off at the beginning of the axis, and `left_out` at its end."""
        if start == left_out == 0:
            return value
        end = -left_out if left_out else _FAR
        if self.opset < _OPSET_OF_SLICE_BOUNDS_AS_INPUT:
            return self.then("part", "Slice", value, starts=[start], ends=[end], axes=[axis])
        bounds = [self.ints(name, [number]) for name, number in (("starts", start), ("ends", end), ("axes", axis))]
        return self.then("part", "Slice", value, *bounds)

    def _constant(self, name: str, array: npt.NDArray[np.generic], dtype: ir.DataType) -> ir.Value:
        return add_constant(self.graph, self._named(name), array, dtype, self.facts)

    def _named(self, name: str) -> str:
        return self.facts.fresh_name(f"{self.node.name}_{name}")
