"""What is known about the values of a model: constants, also in disguise, shapes, element types, opsets.

A constant in disguise is a value computed from constants alone: exporters leave weights behind Identity, Cast,
Transpose, Reshape, Expand, Shape and arithmetic. They are computed when somebody asks, one node at a time, and never
written into the model unless an absorber changes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.constant_nodes import ConstantNodes, array_of, array_of_constant_node
from onnxnorm.graph.size_budget import SizeBudget, size_budget_of
from onnxnorm.io.new_weights import Spool, spool_of
from onnxnorm.model.names import fresh_name
from onnxnorm.model.walk import graphs_of, subgraphs_of
from onnxnorm.numerics.arrays import MAX_ELEMENTS

__all__ = ["GENERATORS", "Dim", "Facts", "within_reach"]

Dim: TypeAlias = "int | str | None"

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
_CHANNELS_OF_WEIGHT = frozenset({"Conv", "ConvTranspose", "Gemm"})
_OTHER_EXTENTS = frozenset({"AveragePool", "Concat", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"})
_RANK_OF_INPUT = frozenset(
    [
        "Swish",
        "Erf",
        "Abs",
        "Sqrt",
        "Exp",
        "PRelu",
        "Mish",
        "Gelu",
        "Tanh",
        "Softplus",
        "Celu",
        "Selu",
        "Elu",
        "HardSwish",
        "HardSigmoid",
        "LogSoftmax",
        "Softmax",
        "MeanVarianceNormalization",
        "LpNormalization",
        "RMSNormalization",
        "LayerNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Concat",
        "Dropout",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LRN",
        "LeakyRelu",
        "MaxPool",
        "Neg",
        "Relu",
        "Sigmoid",
    ]
)
_UNKNOWN = object()


class Facts:
    """Answers about one model; holds for as long as values are replaced, not changed in place."""

    def __init__(self, model: ir.Model) -> None:
        self._ir_version = model.ir_version or 4
        initializers = model.graph.initializers.values()
        self._lists_initializers = self._ir_version < 4 and (
            not initializers or any(value.is_graph_input() for value in initializers)
        )
        self._opsets: Mapping[str, int] = dict(model.graph.opset_imports)
        self._constants: dict[ir.Value, object] = {}
        self._is_constant: dict[ir.Value, bool] = {}
        self.memo: dict[ir.Node, object] = {}
        """What passes found out about nodes, for as long as they stay as they are."""
        self._main = model.graph
        self._bodies = {function.graph for function in model.functions.values()}
        self._model = model
        self._spool = spool_of(model)
        self._size_budget = size_budget_of(model)
        self._nodes = ConstantNodes()
        self._owners = _owners(model)

    def opset(self, node: ir.Node) -> int:
        """The version of the operator set that defines `node`."""
        return node.version or (self._opsets if node.graph is None else self._imports(node.graph)).get(node.domain, 1)

    def opset_of(self, graph: ir.Graph) -> int:
        """The version of the standard operator set that nodes of `graph` are defined by."""
        return self._imports(graph).get("", 1)

    def _imports(self, graph: ir.Graph) -> Mapping[str, int]:
        # Only the main graph and the bodies of functions import operator sets; a subgraph has those around it.
        while not graph.opset_imports and (owner := self._owners.get(graph)) is not None and owner.graph is not None:
            graph = owner.graph
        return graph.opset_imports or self._opsets

    def owner(self, graph: ir.Graph) -> ir.Node | None:
        """The node (If, Loop, Scan) whose subgraph this is; None for the main graph and the bodies of functions."""
        return self._owners.get(graph)

    @property
    def initializers_are_inputs(self) -> bool:
        """Whether a new initializer is listed among the inputs too, as the letter of IR versions before 4 has it.

        Files of these versions that list none of their initializers are run by every runtime, and stay like that.
        """
        return self._lists_initializers

    def is_main(self, graph: ir.Graph) -> bool:
        return graph is self._main

    def is_function_body(self, graph: ir.Graph) -> bool:
        """Function bodies have no initializers: a constant there is a node."""
        return graph in self._bodies

    def new_tensor(self, array: npt.NDArray[np.generic], dtype: ir.DataType, name: str | None) -> ir.TensorProtocol:
        """The array as a tensor of the model: in memory, or in a file where memory holds much already."""
        return self._spool.tensor(array, dtype, name)

    @property
    def spool(self) -> Spool:
        """Where the new weights of the model go."""
        return self._spool

    @property
    def size_budget(self) -> SizeBudget:
        """How much the weights of the model may still grow."""
        return self._size_budget

    def forget(self, value: ir.Value) -> None:
        """The value was given another constant."""
        self._constants.pop(value, None)

    @cached_property
    def _names(self) -> set[str]:
        return {value.name for value in _all_values(self._model) if value.name}

    def fresh_name(self, wish: str) -> str:
        """A value name that no value of the model has, and from now on this one has."""
        return fresh_name(wish, self._names)

    def constant(self, value: ir.Value | None) -> npt.NDArray[np.generic] | None:
        """The value as an array where it is the same at every inference, else None."""
        if value is None:
            return None
        known = self._constants.get(value, _UNKNOWN)
        if known is _UNKNOWN:
            # Nearly every constant is an initializer as it stands.
            known = self._leaf(value) if value.is_initializer() else self._compute(value)
            self._constants[value] = known
        return known if isinstance(known, np.ndarray) else None

    def dequantized(self, value: ir.Value | None) -> npt.NDArray[np.generic] | None:
        """As `constant`, and the result of a DequantizeLinear of constants."""
        node = None if value is None else value.producer()
        if node is None or node.op_type != "DequantizeLinear" or node.domain not in ("", "ai.onnx"):
            return self.constant(value)
        arrays = [self.constant(operand) for operand in node.inputs]
        if any(array is None for operand, array in zip(node.inputs, arrays, strict=True) if operand is not None):
            return None
        (result,) = self._nodes.compute(node, arrays, self.opset(node))
        return result if isinstance(result, np.ndarray) else None

    def overridable(self, value: ir.Value | None) -> bool:
        """Whether the value is an initializer that a caller may replace at run time."""
        return value is not None and value.is_initializer() and value.is_graph_input() and self._ir_version >= 4

    def shape(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """Extents, names of symbolic ones, None for unknown ones; None as a whole where the rank is not known."""
        if value.shape is not None:
            return tuple([dim if isinstance(dim, int) else dim.value for dim in value.shape])
        if (array := self._constants.get(value)) is not None and isinstance(array, np.ndarray):
            return tuple(array.shape)
        node = value.producer()
        # Shape inference does not reach the bodies of functions, where constants are nodes.
        if node is not None and node.op_type == "Constant" and (array := self.constant(value)) is not None:
            return tuple(array.shape)
        return self._shape_by_weights(value)

    def rank(self, value: ir.Value) -> int | None:
        shape = self.shape(value)
        return None if shape is None else len(shape)

    def elements(self, value: ir.Value) -> int:
        """How many elements the value has, unknown extents counted as one."""
        return math.prod([dim if isinstance(dim, int) else 1 for dim in self.shape(value) or ()])

    def _shape_by_weights(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """The rank, and the extents that a weight tells, where the producers in front of the value keep them."""
        keeps_extents = True
        # A chain of operators that keep the rank ends at a weight, a known shape, or nowhere.
        for _ in range(64):
            known = self._own_shape(value)
            if known is not None:
                return known if keeps_extents else (None,) * len(known)
            node = value.producer()
            if node is None or node.domain not in ("", "ai.onnx") or not node.inputs or node.inputs[0] is None:
                return None
            keeps_extents &= node.op_type not in _OTHER_EXTENTS
            if node.op_type not in _RANK_OF_INPUT:
                return None
            value = node.inputs[0]
        return None

    def _own_shape(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """The shape that is written down for the value, or that follows from the weight of its producer."""
        if value.shape is not None:
            return tuple([dim if isinstance(dim, int) else dim.value for dim in value.shape])
        if isinstance(array := self._constants.get(value), np.ndarray):
            return tuple(array.shape)
        node = value.producer()
        if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in _CHANNELS_OF_WEIGHT:
            return None
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        shape = None if weight is None else self._own_shape(weight)
        if shape is None:
            return (None, None) if node.op_type == "Gemm" else None
        channels: Dim = None
        if node.op_type == "Conv":
            channels = shape[0]
        elif node.op_type == "Gemm" and len(shape) == 2:
            transposed = node.attributes.get("transB")
            channels = shape[0 if transposed is not None and transposed.as_int() else 1]
        return (None, channels, *(None,) * (len(shape) - 2))

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
        """What all has to be constant for the value to be so; a shape may be known of what varies."""
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
            results = self._nodes.compute(node, arrays, self.opset(node)) if known else [None] * len(node.outputs)
            self._constants.update(zip(node.outputs, results, strict=True))
        return self._constants[value]

    def _unfinished(
        self, value: ir.Value, finished: Mapping[ir.Value, object]
    ) -> Iterator[tuple[ir.Value, list[ir.Value] | None]]:
        """`value` and all it is computed from, operands first, each with its own `_constant_inputs`.

        Without recursion, since a chain may be long.
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
        if node is None or value.is_graph_input() or node.domain not in ("", "ai.onnx"):
            return False
        return node.op_type == "Constant" or (node.op_type == "Shape" and self._static_shape(node) is not None)

    def _leaf(self, value: ir.Value) -> object:
        if value.is_initializer() and not self.overridable(value):
            return None if value.const_value is None else array_of(value.const_value)
        node = value.producer()
        if node is not None and node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            return array_of_constant_node(node)
        if (
            node is not None
            and node.op_type == "Shape"
            and node.domain in ("", "ai.onnx")
            and not value.is_graph_input()
        ):
            return self._static_shape(node)
        return None

    def _constant_inputs(self, value: ir.Value) -> list[ir.Value] | None:
        """The inputs from which a node could compute the value once and for all; None where it cannot."""
        node = value.producer()
        if (
            node is None
            or node.domain not in ("", "ai.onnx")
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
        shape = self.shape(value)
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
        if self.opset(node) < 7:
            is_test = node.attributes.get("is_test")
            return is_test is not None and is_test.as_int() != 0
        told = node.inputs[2] if len(node.inputs) > 2 else None
        training = None if told is None else self._leaf(told)
        return told is None or (isinstance(training, np.ndarray) and not training.any())

    def _static_shape(self, node: ir.Node) -> object:
        shape = None if node.inputs[0] is None else self.shape(node.inputs[0])
        if shape is None or not all(isinstance(dim, int) for dim in shape):
            return None
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        return np.array(shape[start.as_int() if start else None : end.as_int() if end else None], np.int64)


def within_reach(shape: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """The shape, with extents along which no constant could vary as unknown ones."""
    for dim in shape or ():
        if isinstance(dim, int) and dim > MAX_ELEMENTS:
            return tuple(None if isinstance(each, int) and each > MAX_ELEMENTS else each for each in shape or ())
    return shape


def _owners(model: ir.Model) -> dict[ir.Graph, ir.Node]:
    if len(list(graphs_of(model))) == 1 + len(model.functions):
        return {}
    return {body: node for graph in graphs_of(model) for node in graph for body in subgraphs_of(node)}


def _all_values(model: ir.Model) -> Iterable[ir.Value]:
    for graph in graphs_of(model):
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs
