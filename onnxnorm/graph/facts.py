"""Facts about the values of a model: opsets, constants, shapes and names, behind one object.

Each subject has a file of its own (`opsets`, `constants`, `known_shapes`); `Facts` joins what passes and rules ask for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.constants import GENERATORS, Constants
from onnxnorm.graph.known_shapes import Dim, KnownShapes, within_reach
from onnxnorm.graph.opsets import Opsets
from onnxnorm.graph.size_budget import SizeBudget
from onnxnorm.graph.transformation import Transformation
from onnxnorm.io.new_weights import Spool, spool_of
from onnxnorm.model.names import fresh_name
from onnxnorm.model.walk import graphs_of

__all__ = ["GENERATORS", "Dim", "Facts", "within_reach"]


class Facts:
    """Answers about one model; holds for as long as values are replaced, not changed in place."""

    def __init__(self, model: ir.Model, transformation: Transformation | None = None, *, freezes: bool = False) -> None:
        """
        Args:
            model: the model that is asked about.
            transformation: what earlier passes over it have handed on; None where it begins here.
            freezes: whether weights that a caller may override count as constants, to know what would be if they were.
        """
        self.transformation = transformation or Transformation.of(model)
        self.read_nodes: dict[ir.Node, object] = {}
        """Results that rules read out of nodes. An entry is taken out when its node changes."""
        self._model = model
        self._main = model.graph
        self._bodies = {function.graph for function in model.functions.values()}
        self._spool = spool_of(model)
        ir_version = model.ir_version or 4
        self._nests_initializers = ir_version >= 4
        initializers = model.graph.initializers.values()
        self._lists_initializers = ir_version < 4 and (
            not initializers or any(value.is_graph_input() for value in initializers)
        )
        arrays: dict[ir.Value, object] = {}
        self._opsets = Opsets(model)
        self._shapes = KnownShapes(arrays)
        self._constants = Constants(3 if freezes else ir_version, self._opsets, self._shapes, arrays)
        self.opset = self._opsets.of_node
        self.opset_of = self._opsets.of_graph
        self.owner = self._opsets.owner
        self.shape = self._shapes.shape
        self.rank = self._shapes.rank
        self.elements = self._shapes.elements
        self.constant = self._constants.constant
        self.dequantized = self._constants.dequantized
        self.is_constant = self._constants.is_constant
        self.overridable = self._constants.overridable
        self.forget = self._constants.forget

    @property
    def initializers_are_inputs(self) -> bool:
        """Whether a new initializer is listed among the inputs too, as the letter of IR versions before 4 has it.

        Files of these versions that list none of their initializers are run by every runtime, and stay like that.
        """
        return self._lists_initializers

    def is_main(self, graph: ir.Graph) -> bool:
        """Whether this is the main graph of the model."""
        return graph is self._main

    @property
    def inputs(self) -> tuple[ir.Value, ...]:
        """The inputs of the model."""
        return tuple(self._main.inputs)

    def is_function_body(self, graph: ir.Graph) -> bool:
        """Whether this is the body of a function, which has no initializers: a constant there is a node."""
        return graph in self._bodies

    def takes_initializers(self, graph: ir.Graph) -> bool:
        """Whether a constant of the graph may be an initializer; elsewhere it is a node.

        Bodies of functions have none. Before IR version 4 each has to be an input, which a graph within a node is not
        given.
        """
        return graph is self._main or (self._nests_initializers and graph not in self._bodies)

    def new_tensor(self, array: npt.NDArray[np.generic], dtype: ir.DataType, name: str | None) -> ir.TensorProtocol:
        """Return the array as a tensor of the model: in memory, or in a file where memory holds much already."""
        return self._spool.tensor(array, dtype, name)

    @property
    def spool(self) -> Spool:
        """The place where the new weights of the model go."""
        return self._spool

    @property
    def size_budget(self) -> SizeBudget:
        """The budget of bytes by which the weights of the model may still grow."""
        return self.transformation.size_budget

    @cached_property
    def _names(self) -> set[str]:
        return {value.name for value in _all_values(self._model) if value.name}

    def fresh_name(self, wish: str) -> str:
        """Return a value name that no value of the model has; from now on this one has it.

        It ends in none of the words that onnxruntime's quantizer puts behind a name for a constant of its own, which it
        does without a look at the names that there are.
        """
        return fresh_name(f"{wish}_constant" if wish.endswith(_OF_QUANTIZERS) else wish, self._names)


_OF_QUANTIZERS = ("_scale", "_zero_point", "_quantized")


def _all_values(model: ir.Model) -> Iterable[ir.Value]:
    for graph in graphs_of(model):
        yield from graph.inputs
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs
