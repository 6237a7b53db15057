"""Asks onnxruntime whether it runs a node on operands of given types, with a session of that node alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import onnx_ir as ir
import onnxruntime  # type: ignore[import-untyped]

from onnxnorm.model.one_node import model_of_node
from onnxnorm.runtime.session import is_missing_kernel

__all__ = ["is_missing_kernel", "refusal"]

# Read by every onnxruntime that knows the operators.
_IR_VERSION = 8


def refusal(node: ir.Node, dtypes: Sequence[ir.DataType | None], opset: int) -> str | None:
    """Return what onnxruntime says against the node on operands of these types; None where it takes it.

    Args:
        node: of ONNX's own domain, without subgraphs.
        dtypes: a type for each input, None for one that is left out.
        opset: the version of the standard operators that defines it.
    """
    inputs = ["" if dtype is None else f"i{place}" for place, dtype in enumerate(dtypes)]
    outputs = ["" if value.name == "" else f"o{place}" for place, value in enumerate(node.outputs)]
    model = model_of_node(node, inputs, outputs, opset)
    model.ir_version = _IR_VERSION
    model.graph.node[0].ClearField("name")
    model.graph.node[0].ClearField("metadata_props")
    types = [dtype for dtype in dtypes if dtype is not None]
    for value, dtype in zip(model.graph.input, types, strict=True):
        value.type.tensor_type.elem_type = int(dtype)
    return _refusal(model.SerializeToString(deterministic=True))


@functools.lru_cache(maxsize=4096)
def _refusal(model: bytes) -> str | None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each kind
        return str(error)
    return None
