"""The constants of a model, also those in disguise.

A constant in disguise is a value computed from constants alone: exporters leave weights behind Identity, Cast,
Transpose, Reshape, Expand, Shape and arithmetic. They are computed when somebody asks, one node at a time, and never
written into the model unless an absorber changes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.constant_nodes import ConstantNodes, array_of, array_of_constant_node
from onnxnorm.graph.known_shapes import KnownShapes
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.graph.opsets import Opsets

__all__ = ["GENERATORS", "Constants"]

# The largest constant that is computed: beyond this a model asks for memory, not for a weight.
_MAX_ELEMENTS = 2**28
_NO_CONSTANT = frozenset(
    [
        "Bernoulli",
        # Quantized weights stay quantized: an absorber would write them back in full precision.
        "DequantizeLinear",
        "If",
        "Loop",
        "Multinomial",
        "OptionalHasElement",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Scan",
        "SequenceEmpty",
        # It counts as far as its attributes say.
        "TfIdfVectorizer",
    ]
)
# Operators that make much of little.
GENERATORS = frozenset(["ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Tile"])
_UNKNOWN = object()


class Constants:
    """Answers about the constants of one model; each is computed once."""

    def __init__(self, ir_version: int, opsets: Opsets, shapes: KnownShapes, arrays: dict[ir.Value, object]) -> None:
        """
        Args:
            ir_version: of the model; from 4 on a caller may override initializers that are inputs.
            opsets: of the model.
            shapes: of its values.
            arrays: what has been computed; it grows, and `shapes` looks into it.
        """
        self._ir_version = ir_version
        self._opsets = opsets
        self._shapes = shapes
        self._constants = arrays
        self._is_constant: dict[ir.Value, bool] = {}
        self._nodes = ConstantNodes()
        self._dequantized: dict[ir.Node, tuple[tuple[object, ...], npt.NDArray[np.generic] | None]] = {}

    def forget(self, value: ir.Value) -> None:
        """Forget the array of the value, which was given another constant."""
        self._constants.pop(value, None)

    def constant(self, value: ir.Value | None) -> npt.NDArray[np.generic] | None:
        """Return the value as an array where it is the same at every inference, else None."""
        if value is None:
            return None
        known = self._constants.get(value, _UNKNOWN)
        if known is _UNKNOWN:
            # Nearly every constant is an initializer as it stands.
            known = self._leaf(value) if value.is_initializer() else self._compute(value)
            self._constants[value] = known
        return known if isinstance(known, np.ndarray) else None

    def dequantized(self, value: ir.Value | None) -> npt.NDArray[np.generic] | None:
        """Return the array as `constant` does, and that of the result of a DequantizeLinear of constants too."""
        node = producer_of(value)
        if node is None or node.op_type != "DequantizeLinear" or not is_standard(node):
            return self.constant(value)
        arrays = [self.constant(operand) for operand in node.inputs]
        if any(array is None for operand, array in zip(node.inputs, arrays, strict=True) if operand is not None):
            return None
        # It holds as long as the node has the same operands.
        operands, result = self._dequantized.get(node, ((), None))
        if len(operands) != len(arrays) or any(a is not b for a, b in zip(operands, arrays, strict=True)):
            (made,) = self._nodes.compute(node, arrays, self._opsets.of_node(node))
            result = made if isinstance(made, np.ndarray) else None
            self._dequantized[node] = (tuple(arrays), result)
        return result

    def overridable(self, value: ir.Value | None) -> bool:
        """Whether the value is an initializer that a caller may replace at run time."""
        return value is not None and value.is_initializer() and value.is_graph_input() and self._ir_version >= 4

    def is_constant(self, value: ir.Value | None) -> bool:
        """Whether `constant` may give an array; found without computing anything."""
        if value is None:
            return False
        known = self._is_constant
        stack = [value]
        while stack:
            top = stack[-1]
            inputs = () if top in known else self._read_for(top)
            answers = [known.get(each) for each in inputs]
            if False not in answers and None in answers:
                stack.extend(each for each, answer in zip(inputs, answers, strict=True) if answer is None)
                continue
            stack.pop()
            if top not in known:
                known[top] = False not in answers and (self._constant_inputs(top) is not None or self._is_leaf(top))
        return known[value]

    def _read_for(self, value: ir.Value) -> list[ir.Value]:
        """Return the values that must all be constant for this one to be so.

        A shape may be known of a value that varies.
        """
        node = value.producer()
        if node is None or (node.op_type == "Shape" and self._static_shape(node) is not None):
            return []
        return [operand for operand in node.inputs if operand is not None]

    def _compute(self, value: ir.Value) -> object:
        if not self.is_constant(value):
            return None
        for operand, inputs in self._unfinished(value, self._constants):
            if inputs is None:
                self._constants[operand] = self._leaf(operand)
                continue
            node = operand.producer()
            assert node is not None
            arrays = [None if each is None else self._constants[each] for each in node.inputs]
            known = all(
                each is None or isinstance(array, np.ndarray) for each, array in zip(node.inputs, arrays, strict=True)
            )
            results = (
                self._nodes.compute(node, arrays, self._opsets.of_node(node)) if known else [None] * len(node.outputs)
            )
            self._constants.update(zip(node.outputs, results, strict=True))
        return self._constants[value]

    def _unfinished(
        self, value: ir.Value, finished: Mapping[ir.Value, object]
    ) -> Iterator[tuple[ir.Value, list[ir.Value] | None]]:
        """Yield `value` and all it is computed from, operands first, each with its own `_constant_inputs`.

        The walk uses no recursion, since a chain may be long.
        """
        inputs: dict[ir.Value, list[ir.Value] | None] = {}
        stack = [value]
        while stack:
            top = stack[-1]
            if top in finished:
                stack.pop()
                continue
            if top not in inputs:
                inputs[top] = self._constant_inputs(top)
            missing = [each for each in inputs[top] or () if each not in finished]
            if missing:
                stack.extend(missing)
            else:
                yield top, inputs[top]
                stack.pop()

    def _is_leaf(self, value: ir.Value) -> bool:
        if value.is_initializer():
            return not self.overridable(value) and value.const_value is not None
        node = value.producer()
        if node is None or value.is_graph_input() or not is_standard(node):
            return False
        return node.op_type == "Constant" or (node.op_type == "Shape" and self._static_shape(node) is not None)

    def _leaf(self, value: ir.Value) -> object:
        if value.is_initializer() and not self.overridable(value):
            return None if value.const_value is None else array_of(value.const_value)
        node = value.producer()
        if node is not None and node.op_type == "Constant" and is_standard(node):
            return array_of_constant_node(node)
        if node is not None and node.op_type == "Shape" and is_standard(node) and not value.is_graph_input():
            return self._static_shape(node)
        return None

    def _constant_inputs(self, value: ir.Value) -> list[ir.Value] | None:
        """Return the inputs from which a node could compute the value once and for all; None where it cannot."""
        node = value.producer()
        if (
            node is None
            or not is_standard(node)
            or node.op_type in _NO_CONSTANT
            or node.op_type == "Constant"
            or not node.inputs
            or (node.op_type == "Dropout" and not self._drops_nothing(node))
            or any(a.is_ref() or a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
                   for a in node.attributes.values())
        ):  # fmt: skip
            return None
        if node.op_type == "Shape" and self._static_shape(node) is not None:
            return None
        shape = self._shapes.shape(value)
        if shape is not None and math.prod(dim if isinstance(dim, int) else 1 for dim in shape) > _MAX_ELEMENTS:
            return None
        # Of a vector whose length cannot be foreseen the budget is asked when it is computed.
        if node.op_type in GENERATORS and (
            shape is None or (len(shape) > 1 and not all(isinstance(dim, int) for dim in shape))
        ):
            return None
        return [operand for operand in node.inputs if operand is not None]

    def _drops_nothing(self, node: ir.Node) -> bool:
        """Whether the Dropout says that it does not train: from opset 12 on by an input, before 7 by an attribute."""
        if self._opsets.of_node(node) < 7:
            is_test = node.attributes.get("is_test")
            return is_test is not None and is_test.as_int() != 0
        told = node.inputs[2] if len(node.inputs) > 2 else None
        training = None if told is None else self._leaf(told)
        return told is None or (isinstance(training, np.ndarray) and not training.any())

    def _static_shape(self, node: ir.Node) -> object:
        shape = None if node.inputs[0] is None else self._shapes.shape(node.inputs[0])
        if shape is None or not all(isinstance(dim, int) for dim in shape):
            return None
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        return np.array(shape[start.as_int() if start else None : end.as_int() if end else None], np.int64)
