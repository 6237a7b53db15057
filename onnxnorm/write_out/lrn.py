"""Writes inter-channel LRN in the standard operators that run it fastest.

Before: ONNX `LRN`, of which onnxruntime's kernel takes several times as long as the operators it is defined by.
After: x^2 -> Unsqueeze -> AveragePool along the channels -> Squeeze -> * alpha -> + bias -> roots -> x / that; from
opset 19 on x is padded along the channels before it is squared, and the pool has no padding.
Algebra: with the channels as a spatial axis, a pool that counts its padding is the mean over the window, cut at the
border; base^(3/4) = sqrt(base) * sqrt(sqrt(base)), and base^(1/2) and base^(1/4) are roots alone.
Conditions: float, rank 3 or 4 (a pool has up to three spatial axes), opset 7 or newer; roots where neither alpha nor
bias is negative, Pow elsewhere.

onnxruntime 1.21.0 to 1.24.4 computes an AveragePool of opset 19 or newer that counts its padding wrong for windows such
as [5, 1]. A Pad right before a pool is no way out: these versions and 1.20 fuse the two. They do not where a Mul stands
between, and older opsets are right as they are.

Of the forms that bench/lrn_forms.py times (pools of two and three axes, convolution with a column or with a band matrix
over the channels, Pow and roots) this is the fastest that is exact for every input: where squares overflow, a band
matrix makes NaN of infinity times zero, in channels whose window is finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.edit import add_constant
from onnxnorm.graph.facts import Facts
from onnxnorm.journal.reasons import Code

__all__ = ["why_not", "write_out"]

_OLDEST_OPSET = 7  # AveragePool that counts its padding
_OPSET_OF_AXES_AS_INPUT = 13
_OPSET_OF_WRONG_PADDING = 19
_DEFAULTS = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}


def why_not(node: ir.Node, facts: Facts, opset: int) -> tuple[str, Code] | None:
    """Give the reason why this LRN stays one node, in words and as a code; None where it can be written out."""
    x = node.inputs[0]
    if opset < _OLDEST_OPSET:
        return f"written out it needs opset {_OLDEST_OPSET}, the model has {opset}", Code.NEEDS_OPSET
    if x is None or x.dtype is not ir.DataType.FLOAT:
        return "written out it would need float inputs: squares overflow in half precision", Code.OUT_OF_RANGE
    if facts.rank(x) not in (3, 4):
        return "written out it needs an input of rank 3 or 4", Code.UNKNOWN_SHAPE
    if node.graph is None or facts.is_function_body(node.graph):
        return "it stands in a function", Code.OPERATOR
    return None


def write_out(node: ir.Node, facts: Facts, opset: int) -> None:
    """Put the operators in the place of the node; its output keeps its name."""
    x, output, graph = node.inputs[0], node.outputs[0], node.graph
    rank = None if x is None else facts.rank(x)
    assert x is not None and graph is not None and rank is not None
    size = node.attributes["size"].as_int()
    alpha, beta, bias = (_single(node, name) for name in ("alpha", "beta", "bias"))
    writer = _Writer(node, graph, facts)

    flat = [0] * (rank - 2)
    before, after = (size - 1) // 2, size // 2
    padding: dict[str, int | Sequence[int]] = {}
    padded = x
    if opset < _OPSET_OF_WRONG_PADDING:
        padding = {"pads": [before, *flat, after, *flat], "count_include_pad": 1}
    elif size > 1:
        pads = np.array([0, before, *flat, 0, after, *flat])
        padded = writer.then("padded", "Pad", x, writer.constant("pads", pads))
    squares = writer.then("squares", "Mul", padded, padded)
    volume = writer.axis("Unsqueeze", "volume", squares, opset)
    kernel_shape = [size, *(1 for _ in flat)]
    pool = writer.then("pool", "AveragePool", volume, kernel_shape=kernel_shape, **padding)
    mean = writer.axis("Squeeze", "mean", pool, opset)
    scaled = writer.then("scaled", "Mul", mean, writer.constant("alpha", np.float32(alpha)))
    base = writer.then("base", "Add", scaled, writer.constant("bias", np.float32(bias)))
    roots_alone = alpha >= 0 and math.copysign(1, bias) > 0
    result = writer.then("result", "Div", x, _power(writer, base, beta, roots_alone))

    if x.shape is not None:
        batch, channels, *places = list(x.shape)
        for value in (mean, scaled, base):
            value.shape = x.shape
        pool.shape = ir.Shape([batch, 1, channels, *places])
        if padded is not x:
            wider = channels + size - 1 if isinstance(channels, int) else None
            padded.shape = ir.Shape([batch, wider, *places])
        squares.shape = padded.shape
        assert padded.shape is not None
        volume.shape = ir.Shape([batch, 1, *list(padded.shape)[1:]])
    result.type, result.shape = output.type, output.shape
    name = output.name
    output.replace_all_uses_with(result, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    output.name, result.name = None, name


def _single(node: ir.Node, name: str) -> float:
    return float(np.float32(node.attributes[name].as_float() if name in node.attributes else _DEFAULTS[name]))


def _power(writer: _Writer, base: ir.Value, beta: float, roots_alone: bool) -> ir.Value:
    if beta == 1:
        return base
    if beta not in (0.25, 0.5, 0.75) or not roots_alone:
        return writer.then("power", "Pow", base, writer.constant("beta", np.float32(beta)))
    root = writer.then("root", "Sqrt", base)
    if beta == 0.5:
        return root
    fourth = writer.then("fourth_root", "Sqrt", root)
    return fourth if beta == 0.25 else writer.then("power", "Mul", root, fourth)


@dataclass(frozen=True)
class _Writer:
    """A writer that puts new nodes before `node`, with names after its own."""

    node: ir.Node
    graph: ir.Graph
    facts: Facts

    def constant(self, name: str, value: np.generic | npt.NDArray[np.generic]) -> ir.Value:
        array = np.asarray(value)
        dtype = ir.DataType.from_numpy(array.dtype)
        return add_constant(self.graph, self._named(name), array, dtype, self.facts)

    def then(self, name: str, op_type: str, *inputs: ir.Value, **attributes: int | Sequence[int]) -> ir.Value:
        made = ir.node(op_type, inputs, attributes=attributes, name=self._named(name))
        value = made.outputs[0]
        value.name, value.dtype = self._named(name), ir.DataType.FLOAT
        self.graph.insert_before(self.node, made)
        return value

    def axis(self, op_type: str, name: str, value: ir.Value, opset: int) -> ir.Value:
        """Put in or take out an axis before the channels."""
        if opset < _OPSET_OF_AXES_AS_INPUT:
            return self.then(name, op_type, value, axes=[1])
        return self.then(name, op_type, value, self.constant(f"{name}_axis", np.array([1])))

    def _named(self, name: str) -> str:
        return self.facts.fresh_name(f"{self.node.name}_{name}")
