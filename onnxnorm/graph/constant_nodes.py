"""Computes nodes whose inputs are constants, one at a time, within a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.graph.constant_budget import ConstantBudget
from onnxnorm.model.one_node import model_of_node
from onnxnorm.model.walk import tensor_in
from onnxnorm.numerics.arrays import MAX_RANK

__all__ = ["ConstantNodes", "array_of", "array_of_constant_node", "laid_out", "tensor_of_constant_node"]


class ConstantNodes:
    """An evaluator of the nodes of one model: by ONNX's reference evaluator, the simplest without it."""

    def __init__(self) -> None:
        self._budget = ConstantBudget()

    def compute(self, node: ir.Node, arrays: Sequence[object], opset: int) -> Sequence[object]:
        """Return an array for each output of `node`; None for each that is not to be had.

        Args:
            node: of ONNX's own domain, without subgraphs.
            arrays: its inputs, None for those that are left out.
            opset: the version of the standard operators that defines it.
        """
        if node.op_type == "ConstantOfShape" and len(arrays) == 1:
            return [self._filled(node, arrays[0])]
        if len(node.outputs) == 1 and (array := laid_out(node, arrays)) is not None:
            if not self._budget.allows_elements(array.size, array.size):
                return [None]
            self._budget.spend(array)
            return [array]
        return self._evaluated(node, arrays, opset)

    def _evaluated(self, node: ir.Node, arrays: Sequence[object], opset: int) -> Sequence[object]:
        from onnx.reference import ReferenceEvaluator

        from onnxnorm.evaluate.before_opset_7 import ALIGNED
        from onnxnorm.evaluate.evaluator import evaluate_float64
        from onnxnorm.evaluate.operators import REPLACEMENTS

        nothing = [None] * len(node.outputs)
        named = [("" if array is None else f"i{index}", array) for index, array in enumerate(arrays)]
        names = [f"o{index}" if output.name else "" for index, output in enumerate(node.outputs)]
        model = model_of_node(node, [name for name, _ in named], names, opset)
        feeds = {name: array for name, array in named if name}
        if not self._budget.allows(model, feeds):
            return nothing
        # The evaluator of the package onnx has some operators wrong; those are computed as `verify` computes them.
        replaced = (*REPLACEMENTS, *ALIGNED) if opset < 7 else REPLACEMENTS
        lifted = node.op_type in {replacement.__name__ for replacement in replaced}
        made = [name for name in names if name]
        try:
            if lifted:
                results: Mapping[str, object] = evaluate_float64(model, feeds)
            else:
                with np.errstate(all="ignore"):
                    results = dict(zip(made, ReferenceEvaluator(model).run(None, feeds), strict=True))
        except Exception:
            # The evaluator lacks the operator or does not take these inputs: not a constant that we can know.
            return nothing
        return [self._kept(results.get(name), output, lifted) for name, output in zip(names, node.outputs, strict=True)]

    def _kept(self, result: object, output: ir.Value, lifted: bool) -> object:
        """Return the result in the type of the output; None where that is not known or the result is no array."""
        if not isinstance(result, (np.ndarray, np.generic)):
            return None
        self._budget.spend(np.asarray(result))
        if output.dtype is None:
            return None if lifted else np.asarray(result)
        with np.errstate(all="ignore"):
            return np.asarray(result).astype(output.dtype.numpy(), copy=False)

    def _filled(self, node: ir.Node, extents: object) -> object:
        """Compute a ConstantOfShape: models that were stripped of their weights are full of it."""
        if not isinstance(extents, np.ndarray) or extents.ndim != 1 or extents.dtype != np.int64 or (extents < 0).any():
            return None
        shape = tuple(extents.tolist())
        if not self._budget.allows_elements(math.prod(shape), extents.size):
            return None
        value = np.float32(0) if "value" not in node.attributes else tensor_in(node.attributes["value"]).numpy()
        if value.size != 1:
            return None
        array = np.broadcast_to(value.reshape(()), shape)
        self._budget.spend(array)
        return array


# As they lie in raw data, the types of nearly all constants.
_PLAIN_TYPES = {
    int(dtype): dtype.numpy().newbyteorder("<")
    for dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.INT32, ir.DataType.INT64)
}


def array_of(tensor: ir.TensorProtocol) -> object:
    """Return the elements of a tensor; None for one of strings."""
    if type(tensor) is ir.serde.TensorProtoTensor:
        # onnx-ir asks what the type is a dozen times.
        proto = tensor.raw
        dtype = _PLAIN_TYPES.get(proto.data_type)
        if dtype is not None and proto.HasField("raw_data"):
            return np.frombuffer(proto.raw_data, dtype).reshape(proto.dims)
    return None if tensor.dtype is ir.DataType.STRING else tensor.numpy()


def array_of_constant_node(node: ir.Node) -> object:
    """Return the array that a node `Constant` holds; None for strings, sparse tensors and attributes of a function."""
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            return array_of(tensor_in(attribute))
        if name in ("value_float", "value_floats"):
            return np.array(attribute.value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(attribute.value, np.int64)
    return None


def tensor_of_constant_node(node: ir.Node) -> ir.TensorProtocol | None:
    """Return what a node `Constant` holds as a tensor; None for attributes of a function, and for what is no number."""
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            tensor = tensor_in(attribute)
            return None if tensor.dtype is ir.DataType.STRING else tensor
        if name in ("value_float", "value_floats"):
            return ir.tensor(attribute.value, dtype=ir.DataType.FLOAT)
        if name in ("value_int", "value_ints"):
            return ir.tensor(attribute.value, dtype=ir.DataType.INT64)
    return None


_Array = npt.NDArray[np.generic]


def laid_out(node: ir.Node, arrays: Sequence[object]) -> _Array | None:
    """Compute a node of ONNX's own domain that only lays elements out anew; None where it is left to the evaluator.

    Args:
        node: any node with one output.
        arrays: its inputs, None for those that are left out.
    """
    if not arrays or not isinstance(arrays[0], np.ndarray):
        return None
    data: _Array = arrays[0]
    try:
        if node.op_type == "Identity":
            return data
        if node.op_type == "Transpose":
            order = node.attributes.get("perm")
            return np.transpose(data, None if order is None else tuple(order.as_ints()))
        wanted = _integers(node, arrays)
        if wanted is None:
            return None
        if node.op_type == "Unsqueeze":
            return np.expand_dims(data, wanted)
        if node.op_type == "Squeeze":
            return np.squeeze(data, wanted)
        # A zero may mean two things.
        if node.op_type == "Reshape" and 0 not in wanted:
            return data.reshape(wanted)
    except (TypeError, ValueError):
        # The evaluator says what is wrong.
        return None
    return None


def _integers(node: ir.Node, arrays: Sequence[object]) -> tuple[int, ...] | None:
    """Return the axes or extents that a node is given: the second input, or in older opsets an attribute."""
    if len(arrays) > 1:
        second = arrays[1]
        # More axes than any tensor has are no axes; as a tuple, millions of them would take their time.
        if not isinstance(second, np.ndarray) or second.ndim != 1 or second.size > MAX_RANK:
            return None
        return tuple(second.tolist())
    attribute = node.attributes.get("axes")
    return None if attribute is None else tuple(attribute.as_ints())
