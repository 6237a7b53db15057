"""Tells what is known of the digits of a value: whether rounding has touched them, and about how large the value is.

A forward move replaces y = s x + t by x itself, and what was y + z by s x + z. In floating point that sum loses the
digits of z where |s x| is large beside it. Where x is the result of rounded arithmetic, the original has lost them
too: its y carries the rounding error of s x, whatever t does to the size of y. Where x is exact (a mask of zeros and
ones, an input of the model, a saturated sigmoid), s x + t may cancel to an exact zero, and nothing was lost.

A value is called rounded if each of its elements that is not zero carries a rounding error in proportion to its size.
The answers err on the side of exact values: those let fewer affines move.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxnorm.affine.channel import FloatArray
from onnxnorm.affine.exactness import size_of
from onnxnorm.affine.rules.affine_nodes import VAST, AffineNode, affine_of, is_affine
from onnxnorm.graph.facts import Facts
from onnxnorm.graph.nodes import is_standard
from onnxnorm.model.dtypes import FLOATS

__all__ = ["Digits"]

# Their results are rounded if a constant or another operand is no small integer or fraction of a power of two.
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "DeformConv", "Einsum", "Gemm", "MatMul"})
# Statistics of the input are rounded whatever the input is.
_NORMS = frozenset({"GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "RMSNormalization"})
# Their results are elements of one input, or zero, or sums and means of them.
_COPIES = frozenset(
    [
        "AveragePool", "BatchNormalization", "Cast", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather",
        "GatherElements", "GatherND", "Gelu", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool",
        "Neg", "PRelu", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Slice",
        "SpaceToDepth", "Split", "Squeeze", "Swish", "Tile", "Transpose", "Trilu", "Unsqueeze", "Upsample",
    ]
)  # fmt: skip
# An element of the result is one of any operand.
_JOINS = frozenset({"Concat", "Max", "Min", "ScatterElements", "ScatterND", "Where"})
_SUMS = frozenset({"Add", "Mean", "Sub", "Sum"})
_LAYOUT = frozenset(
    ["Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"]
)
# Their results are whole numbers.
_WHOLE = frozenset({"Ceil", "Floor", "OneHot", "Round", "Sign"})
# They bring constants of their own, exact ones, among the elements of a value.
_MIXES = frozenset(
    ["Clip", "Concat", "Gather", "If", "Loop", "Max", "Min", "Pad", "Scan", "ScatterElements", "ScatterND", "Where"]
)

# Pixels lie between 0 and 255: most are as far as this from their mean.
_PIXEL = 64.0
_MAX_VALUES = 256
_MAX_READERS = 16
_GRANULE = 256.0


class Digits:
    """Answers to questions about the digits of values, for one model and as long as that stays as it is."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._rounded: dict[ir.Value, bool] = {}
        self._masks: dict[ir.Value, bool] = {}
        self._vast: dict[ir.Node, bool] = {}

    def rounded(self, value: ir.Value) -> bool:
        """Whether the elements of the value that are not zero carry rounding errors in proportion to their size."""
        if value not in self._rounded:
            self._rounded[value] = self._is_rounded(value, {})
        return self._rounded[value]

    def _is_rounded(self, value: ir.Value, seen: dict[ir.Value, bool]) -> bool:
        """Decide `rounded` by depth first search; a value not answered yet, or beyond the budget, counts as exact."""
        if value in seen or len(seen) >= _MAX_VALUES:
            return seen.get(value, False)
        seen[value] = False
        seen[value] = self._decided(value, seen)
        return seen[value]

    def _decided(self, value: ir.Value, seen: dict[ir.Value, bool]) -> bool:
        node = value.producer()
        if node is None or not is_standard(node) or value.dtype not in (None, *FLOATS):
            return False
        kind, operands = node.op_type, [each for each in node.inputs if each is not None]
        dynamic = [each for each in operands if not self._facts.is_constant(each)]
        if kind in _NORMS:
            return True
        if kind in _PRODUCTS:
            return any(map(self._is_uneven, operands)) or any(self._is_rounded(each, seen) for each in dynamic)
        if kind in _COPIES or (kind == "Div" and len(dynamic) == 1 and dynamic[0] is operands[0]):
            return bool(operands) and self._is_rounded(operands[0], seen)
        if kind in _JOINS:
            own = operands[1:] if kind == "Where" else operands[::2] if kind.startswith("Scatter") else operands
            return len(own) > 0 and all(each in dynamic and self._is_rounded(each, seen) for each in own)
        if kind == "Mul" and any(_makes(each, "Reciprocal") for each in dynamic):
            return False
        return kind in (*_SUMS, "Mul") and any(self._is_rounded(each, seen) for each in dynamic)

    def _is_uneven(self, value: ir.Value) -> bool:
        """Whether the value is a constant, or quantized, with an element by which a product has to be rounded."""
        if _makes(value, "DequantizeLinear"):
            return True
        array = self._facts.constant(value) if self._facts.is_constant(value) else None
        if array is None or array.dtype.kind not in "fV":
            return False
        some = np.asarray(array.reshape(-1)[:4096], np.float64) * _GRANULE
        return bool(np.any(some != np.round(some)))

    def product_before(self, value: ir.Value) -> ir.Node | None:
        """Return the linear operator that makes the value, if it rounds its results.

        Sums and copies of elements may stand between the two.
        """
        for _ in range(_MAX_VALUES):
            node = value.producer()
            if node is None or not node.inputs or node.inputs[0] is None:
                return None
            if node.op_type in _PRODUCTS:
                return node if self.rounded(node.outputs[0]) else None
            if node.op_type not in _COPIES:
                return None
            value = node.inputs[0]
        return None

    def whole(self, value: ir.Value) -> bool:
        """Whether the elements are whole numbers, or come from a few of them: counts, masks, classes."""
        for each in self.upstream(value):
            node = each.producer()
            if node is None:
                return each.dtype not in (None, *FLOATS)
            source = node.inputs[0] if node.inputs else None
            if node.op_type in _WHOLE:
                return True
            if node.op_type == "Cast" and source is not None and source.dtype not in (None, *FLOATS):
                return True
        return False

    def mixes_constants(self, value: ir.Value) -> bool:
        """Whether the operator that makes the value puts constants among its elements."""
        node = value.producer()
        if node is None or node.op_type not in _MIXES:
            return False
        if node.op_type in ("Clip", "If", "Loop", "Pad", "Scan"):
            return True
        scatters = node.op_type.startswith("Scatter")
        own = node.inputs[:1] if node.op_type == "Gather" else node.inputs[::2] if scatters else node.inputs
        return any(each is not None and self._facts.is_constant(each) for each in own)

    def masks(self, value: ir.Value) -> bool:
        """Whether affines alone, one of them with a number as large as those of masks, make the value or read it."""
        if value not in self._masks:
            self._masks[value] = self._is_mask(value)
        return self._masks[value]

    def _is_mask(self, value: ir.Value) -> bool:
        makers = (each.producer() for each in self.upstream(value))
        if any(node is not None and self._is_vast(node) for node in makers):
            return True
        readers: dict[ir.Node, None] = dict.fromkeys(value.consumers())
        for node in itertools.islice(_growing(readers), _MAX_READERS):
            if self._is_vast(node):
                return True
            if node.op_type in _LAYOUT or is_affine(node):
                readers.update(dict.fromkeys(reader for output in node.outputs for reader in output.consumers()))
        return False

    def _is_vast(self, node: ir.Node) -> bool:
        """Whether the node is arithmetic with a constant too large to be moved (see `exactness.is_vast`)."""
        if not is_affine(node):
            return False
        if node not in self._vast:
            found = affine_of(node, self._facts)
            self._vast[node] = found.vast if isinstance(found, AffineNode) else found is VAST
        return self._vast[node]

    def size(self, value: ir.Value) -> FloatArray:
        """Estimate how large the value is from what is known of it, else from the remembered size, else as one."""
        size = size_of(value, self._facts)
        divisor = self._divisor_behind(value)
        pixel = self._pixel(value)
        for told in (divisor, pixel):
            if told is not None:
                size = np.maximum(size, told)
        return size

    def size_after(self, value: ir.Value, scale: FloatArray) -> FloatArray:
        """Estimate how large the value is once it is scaled and shifted: one, but for images."""
        return np.maximum(1.0, (self._pixel(value) or 0.0) * np.abs(scale))

    def _divisor_behind(self, value: ir.Value) -> float | None:
        """Return the number by which the only reader of the value divides it, or None.

        A standard deviation brings what it divides to size one.
        """
        uses = value.uses()
        if len(uses) != 1 or value.is_graph_output():
            return None
        node = next(iter(uses)).node
        found = affine_of(node, self._facts) if is_affine(node) else None
        if not isinstance(found, AffineNode) or node.op_type not in ("Mul", "Div"):
            return None
        scale = np.abs(found.affine.scale)
        return float(1.0 / scale.max()) if scale.size and scale.max() > 0.0 else None

    def _pixel(self, value: ir.Value) -> float | None:
        """Estimate the size of what affines alone make of an image, an input of the model of rank 4 or more.

        None for others.
        """
        scale = 1.0
        for each in self.upstream(value):
            node = each.producer()
            if node is None:
                return _PIXEL * scale if each.is_graph_input() and self._is_image(each) else None
            if is_affine(node):
                found = affine_of(node, self._facts)
                if not isinstance(found, AffineNode):
                    return None
                scale *= float(np.abs(found.affine.scale).min(initial=np.inf))
        return None

    def upstream(self, value: ir.Value) -> Iterator[ir.Value]:
        """Yield the value and those before it, while each is an affine or another layout of one value before it."""
        for _ in range(_MAX_VALUES):
            yield value
            node = value.producer()
            if node is None or not (node.op_type in _LAYOUT or is_affine(node)):
                return
            own = node.inputs[:1] if node.op_type in _LAYOUT else node.inputs
            dynamic = [each for each in own if each is not None and not self._facts.is_constant(each)]
            if len(dynamic) != 1:
                return
            value = dynamic[0]

    def _is_image(self, value: ir.Value) -> bool:
        """Whether the value has the shape of images: rank 4 or more, and no extent of one but the first."""
        shape = self._facts.shape(value)
        return shape is not None and len(shape) >= 4 and 1 not in shape[1:]


def _growing(nodes: dict[ir.Node, None]) -> Iterator[ir.Node]:
    """Yield the nodes, with those that are added to the mapping while it is read."""
    done = 0
    while done < len(nodes):
        yield next(itertools.islice(nodes, done, None))
        done += 1


def _makes(value: ir.Value, op_type: str) -> bool:
    node = value.producer()
    return node is not None and node.op_type == op_type
